"""The lessons and experiments of this checkout, read again when a file has changed."""

from functools import lru_cache
from pathlib import Path

from explorer.config.places import ROOT
from explorer.course.cards import LESSONS
from explorer.course.experiments import Experiment, load_experiments
from explorer.course.lessons import Course, Vocabulary, load_course
from explorer.figures.facts import catalogue
from explorer.figures.views.lesson_panels import PANELS
from explorer.metrics import glossary

EXPERIMENTS = ROOT / "experiments"
State = tuple[tuple[str, int], ...]


def vocabulary() -> Vocabulary:
    """Every panel with its keys, every fact and every term of the Glossary."""
    return Vocabulary(
        panels={name: panel.keys for name, panel in PANELS.items()},
        facts=catalogue.names(),
        terms=[term.key for term in glossary.TERMS],
    )


def course() -> Course:
    """The lessons, in the order of their files."""
    return _course(LESSONS, _state(LESSONS))


def experiments() -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    """The named experiments of the Train page, and a sentence for every mistake in the others."""
    return _experiments(EXPERIMENTS, _state(EXPERIMENTS))


@lru_cache(maxsize=4)
def _course(folder: Path, _state: State) -> Course:
    return load_course(folder, vocabulary())


@lru_cache(maxsize=4)
def _experiments(folder: Path, _state: State) -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    return load_experiments(folder, catalogue.names())


def _state(folder: Path) -> State:
    """Names and times of the files, so that an edit appears on reload."""
    return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("*.toml")))
