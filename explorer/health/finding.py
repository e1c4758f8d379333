"""What a check of the router's health finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Count = int | float

TITLES = {
    "bad_counts": "Counts that do not add up",
    "collapse": "Collapsed layer",
    "dead_experts": "Dead experts",
    "no_balancing": "No balancing at work",
    "weak_loss": "Auxiliary loss too weak",
    "hot_expert": "Expert hot throughout",
    "wrong_sign": "Bias with the wrong sign",
    "frozen_bias": "Frozen bias",
    "bias_lost": "Bias lost",
    "uncaused_moves": "Bias moves without a cause",
    "bias_runaway": "Bias running away",
    "several_updates": "Several bias updates per step",
    "u_too_small": "Update rate too small",
    "u_too_large": "Update rate too large",
    "constant_aux_loss": "Constant auxiliary loss",
    "sequence_imbalance": "Imbalance within sequences or domains",
    "odd_layer": "Layer that differs from the rest",
}
"""Every kind of finding -> its title, in the order in which findings are listed."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a router."""

    kind: str
    """A key of `TITLES`."""
    layer: int | None
    """The model's own number of the MoE layer; None: the run as a whole."""
    first_step: int
    """Since when: a recorded step."""
    counts: Mapping[str, Count] = field(default_factory=dict)
    """The numbers that show it."""
    threshold: float
    """Up to or from which value of `measured` on it is a finding."""
    measured: float
    sentence: str
    try_this: str
    """One thing to try."""

    @property
    def title(self) -> str:
        """What lists call it."""
        return TITLES[self.kind]

    @property
    def severity(self) -> float:
        """How far beyond its threshold, 1 at the threshold: for comparing findings of one kind."""
        low, high = sorted((max(abs(self.measured), 1e-12), max(abs(self.threshold), 1e-12)))
        return high / low

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "first_step": self.first_step,
            "counts": dict(self.counts),
            "measured": self.measured,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "try_this": self.try_this,
        }
