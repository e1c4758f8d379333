"""The course and the experiments of this checkout, read once and again when a file has changed."""

from functools import lru_cache
from pathlib import Path

from explorer.course.experiments import Experiment, load_experiments
from explorer.course.lessons import Course, Vocabulary, load_course
from explorer.metrics import glossary
from explorer.ui.lessons import facts as lesson_facts
from explorer.ui.lessons import panels_single as lesson_panels_more  # noqa: F401
from explorer.ui.lessons.panels import PANELS
from explorer.ui.server.settings import EXPERIMENTS, LESSONS

State = tuple[tuple[str, int], ...]


def vocabulary() -> Vocabulary:
    """Every panel with its keys, and every fact."""
    return Vocabulary(
        panels={name: panel.keys for name, panel in PANELS.items()},
        facts=lesson_facts.names(),
        terms=[term.key for term in glossary.TERMS],
    )


def course() -> Course:
    """The lessons, in the order of their files."""
    return _course(LESSONS, _state(LESSONS))


def experiments() -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    """The named orders of the Train page, and what is wrong with the others."""
    return _experiments(EXPERIMENTS, _state(EXPERIMENTS))


@lru_cache(maxsize=4)
def _course(folder: Path, _state: State) -> Course:
    return load_course(folder, vocabulary())


@lru_cache(maxsize=4)
def _experiments(folder: Path, _state: State) -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    return load_experiments(folder, lesson_facts.names())


def _state(folder: Path) -> State:
    """Names and times of the files: whoever writes a lesson sees it on the next look."""
    return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("*.toml")))
