"""Experiments: named training configurations for the Train page, read from `experiments/*.toml`.

Good ones and deliberately bad ones. A comment holds no results: its numbers are placeholders for facts of
shipped runs (`explorer.course.facts`).
"""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from explorer.config.presets import PRESETS, arm_config, get_preset
from explorer.course.cards import slug_of
from explorer.course.facts import placeholders, wrong_facts
from explorer.course.files import Mistake
from explorer.course.model import AnyText, FileModel, Text, at_most, load, load_folder, refuse
from explorer.errors import ConfigError

MOST_WORDS = 100


class Experiment(FileModel):
    """A named training configuration and the result it shows."""

    slug: str
    """From the name of its file."""
    title: Text
    verdict: Literal["good", "bad", "open"]
    """Worth copying; deliberately bad; not decided by the measurements."""
    comment: Annotated[Text, AfterValidator(at_most(MOST_WORDS))]
    """The expected result and why."""
    preset: Text
    arms: tuple[AnyText, ...]
    """Balancing rules and routings, as the form and the command line take them."""
    seeds: Text = "0"
    settings: Mapping[str, Any] = Field(default={})
    """`model.top_k` -> value, where it differs from the preset."""

    @field_validator("comment")
    @classmethod
    def _known_facts(cls, comment: str, info: ValidationInfo) -> str:
        if info.context is not None:
            refuse(wrong_facts(placeholders(comment), info.context))
        return comment

    @field_validator("preset")
    @classmethod
    def _is_preset(cls, preset: str) -> str:
        wrong = Mistake(preset, f"must be one of {', '.join(PRESETS)}")
        refuse([] if preset in PRESETS else [wrong])
        return preset

    @field_validator("arms")
    @classmethod
    def _are_rules(cls, arms: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        preset = info.data.get("preset")
        refuse([] if preset is None else _wrong_arms(arms, preset))
        return arms

    @field_validator("settings")
    @classmethod
    def _of_the_preset(cls, settings: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        preset = info.data.get("preset")
        refuse([] if preset is None else _wrong_settings(settings, preset))
        return settings


def load_experiments(folder: Path, facts: Collection[str]) -> tuple[tuple[Experiment, ...], tuple[str, ...]]:
    """Every `*.toml` of a folder, in the order of the file names, and one sentence per mistake."""
    return load_folder(folder, partial(load_experiment, facts=facts))


def load_experiment(path: Path, facts: Collection[str]) -> Experiment:
    """Read one file. Raises FileProblem with one sentence per mistake."""
    return load(path, Experiment, facts, slug=slug_of(path))


def _wrong_arms(arms: Collection[str], preset: str) -> list[Mistake]:
    """Rules that cannot be read or do not fit the preset."""
    base, mistakes = get_preset(preset), []
    for arm in arms:
        try:
            arm_config(base, arm, preset)
        except ConfigError as error:
            mistakes.append(Mistake(arm, f"cannot be used ({str(error).rstrip('.')})"))
    return mistakes


def _wrong_settings(settings: Mapping[str, Any], preset: str) -> list[Mistake]:
    """Settings that the preset does not have."""
    base, mistakes = get_preset(preset), []
    for name, value in settings.items():
        section, _, field = name.partition(".")
        if field == "" or not hasattr(getattr(base, section, None), field):
            rule = "is not a setting; write section.field"
            mistakes.append(Mistake(value, rule, f'."{name}"'))
    return mistakes
