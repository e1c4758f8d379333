"""SMEBU: a bias rule with a soft clamp and momentum.

The arithmetic is in `explorer/model/momentum_balancer.py` and `explorer/routing/balancing.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

from explorer.config.bias_rule import BiasRule
from explorer.config.checks import check_number


@dataclass(frozen=True, kw_only=True)
class Smebu(BiasRule):
    """Soft-clamped momentum expert bias updates (arXiv 2602.17004): tanh of the load error, and momentum."""

    name: ClassVar[str] = "smebu"
    family: ClassVar[str | None] = "smebu"
    title: ClassVar[str] = "SMEBU"
    bias_update_rate: float = 0.003
    """u, the largest move of a bias per step."""
    sharpness: float = 2.0
    """κ: the relative load error is multiplied by it before the tanh; a large one gives the sign rule."""
    momentum: float = 0.5
    """β: share of the previous move in the next one; 0: no momentum."""
    freeze_after_step: int | None = None
    """From this step on the bias is frozen."""

    def __post_init__(self) -> None:
        self.check_step()
        check_number("smebu.sharpness", self.sharpness, least=0)
        check_number("smebu.momentum", self.momentum, least=0, below=1)

    def departures(self) -> list[str]:
        words = []
        if self.sharpness != type(self).sharpness:
            words.append(f"κ={self.sharpness:g}")
        if self.momentum != type(self).momentum:
            words.append(f"β={self.momentum:g}")
        return words
