"""What is run: arms, seeds fixed in advance, and settings, as frozen values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Metrics = dict[str, float | None]
"""What one run measures, by name; None where the run has no such quantity (a dense model's loads)."""
Trial = Callable[[Mapping[str, Any], int, str], Metrics]
"""A simulated run: settings of the arm, seed and scale in, metrics out."""

SCALES = ("tiny", "quick", "standard", "long")
"""Smallest first; a verdict is taken from the largest scale that has enough pairs."""
LEAST_PAIRS = 5
"""A verdict needs at least so many paired seeds."""


@dataclass(frozen=True)
class Times:
    """A setting relative to that of the scale's preset."""

    factor: float


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration of an experiment."""

    key: str
    label: str
    """As a figure names it."""
    text: str = "none"
    """The arm as `explorer train --balancer` takes it; `{10%}` stands for that share of the steps."""
    settings: tuple[tuple[str, Any], ...] = ()
    """`section.field` and value; of a simulated run, the settings of its trial."""
    candidates: tuple[str, ...] = ()
    """Texts among which the tuning seeds choose, instead of `text`."""


def arm_of_trial(key: str, label: str, text: str, *settings: tuple[str, Any]) -> Arm:
    """An arm whose trial trains a model itself and therefore finds the arm's text among its settings."""
    return Arm(key=key, label=label, settings=(("text", text), *settings))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question, and the runs that answer it."""

    id: str
    title: str
    question: str
    arms: tuple[Arm, ...]
    settings: tuple[tuple[str, Any], ...] = ()
    """Settings of every arm."""
    pairs: Mapping[str, int] = field(
        default_factory=lambda: {"tiny": 2, "quick": 5, "standard": 5, "long": 5}
    )
    """Seeds of the comparison by scale, from 0, fixed before any run."""
    tuning_seeds: tuple[int, ...] = ()
    """Seeds on which candidates compete; the comparison never uses them."""
    trial: Trial | None = None
    """None: every run trains a model."""
    trains: bool = False
    """Whether the trial trains a model, which its budget must expect to take as long as a training run."""
    priority: int = 4
    """1 runs first."""
    note: str = ""
    """What to know about the choice of arms."""

    def arm(self, key: str) -> Arm:
        """The arm of this key. Raises KeyError."""
        return {arm.key: arm for arm in self.arms}[key]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One planned run of an experiment."""

    experiment: str
    arm: str
    scale: str
    seed: int
    text: str
    digest: str
    """Identity: equal digests are the same run, whichever experiment asks for it."""
    config: Mapping[str, Any]
    """The complete configuration, as `RunConfig.to_dict` or the settings of a trial."""
    tuning: bool = False

    @property
    def run_id(self) -> str:
        """Name of its folder."""
        return f"{self.scale}-{self.experiment}-{self.arm}-seed{self.seed}-{self.digest[:8]}"
