"""Experiments: named training configurations for the Train page, read from `experiments/*.toml`.

Good ones and deliberately bad ones. A comment holds no results: its numbers are placeholders for facts of
shipped runs (`explorer.course.lessons`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.config.presets import PRESETS, arm_config, get_preset
from explorer.course.lessons import check_facts, placeholders, slug_of
from explorer.course.toml_tables import FileProblem, Table
from explorer.errors import ConfigError

VERDICTS = ("good", "bad", "open")
"""Worth copying; deliberately bad; not decided by the measurements."""
MOST_WORDS = 100


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A training configuration and what it shows."""

    slug: str
    title: str
    verdict: str
    comment: str
    """The expected result and why."""
    preset: str
    arms: tuple[str, ...]
    """Balancing rules and routings, as the form and the command line take them."""
    seeds: str
    settings: dict[str, Any]
    """`model.top_k` -> value, where it differs from the preset."""


def load_experiments(folder: Path, facts: Collection[str]) -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    """Every `*.toml` of a folder, in the order of the file names, and one sentence per mistake."""
    known: list[Experiment] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            known.append(load_experiment(path, facts))
        except FileProblem as error:
            problems += error.sentences
    return tuple(known), tuple(problems)


def load_experiment(path: Path, facts: Collection[str]) -> Experiment:
    """Read one file. Raises FileProblem with one sentence per mistake."""
    table = Table.read(path)
    table.only(("title", "verdict", "comment", "preset", "arms", "seeds", "settings"))
    experiment = Experiment(
        slug=slug_of(path),
        title=table.text("title"),
        verdict=table.text("verdict"),
        comment=table.text("comment", most_words=MOST_WORDS),
        preset=table.text("preset"),
        arms=table.texts("arms"),
        seeds=table.text("seeds", needed=False) or "0",
        settings=table.plain("settings"),
    )
    check_facts(table, "comment", placeholders(experiment.comment), facts)
    if experiment.verdict not in VERDICTS:
        table.wrong("verdict", experiment.verdict, f"must be one of {', '.join(VERDICTS)}")
    if experiment.preset not in PRESETS:
        table.wrong("preset", experiment.preset, f"must be one of {', '.join(PRESETS)}")
    else:
        _check_order(table, experiment)
    table.done()
    return experiment


def _check_order(table: Table, experiment: Experiment) -> None:
    """Rules that can be read, settings that the preset has."""
    base = get_preset(experiment.preset)
    for arm in experiment.arms:
        try:
            arm_config(base, arm, experiment.preset)
        except ConfigError as error:
            table.wrong("arms", arm, f"cannot be used ({str(error).rstrip('.')})")
    for name, value in experiment.settings.items():
        section, _, field = name.partition(".")
        if field == "" or not hasattr(getattr(base, section, None), field):
            table.wrong(f'settings."{name}"', value, "is not a setting; write section.field")
