"""SMEBU: a bias rule with a soft clamp and momentum.

The arithmetic is in `explorer/model/momentum_balancer.py` and `explorer/routing/balancing.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

from explorer.config.checks import check_int, check_number
from explorer.config.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Smebu(Rule):
    """Soft-clamped momentum expert bias updates (arXiv 2602.17004): tanh of the load error, and momentum."""

    name: ClassVar[str] = "smebu"
    family: ClassVar[str | None] = "loss_free"
    moves_bias: ClassVar[bool] = True
    strength: ClassVar[tuple[str, str] | None] = ("u", "bias_update_rate")
    bias_update_rate: float = 0.003
    """u, the largest move of a bias per step."""
    sharpness: float = 2.0
    """κ: the relative load error is multiplied by it before the tanh; a large one gives the sign rule."""
    momentum: float = 0.5
    """β: share of the previous move in the next one; 0: no momentum."""
    freeze_after_step: int | None = None
    """From this step on the bias is frozen."""

    def __post_init__(self) -> None:
        check_number("smebu.bias_update_rate", self.bias_update_rate, least=0)
        check_number("smebu.sharpness", self.sharpness, least=0)
        check_number("smebu.momentum", self.momentum, least=0, below=1)
        if self.freeze_after_step is not None:
            check_int("smebu.freeze_after_step", self.freeze_after_step, least=0)

    @property
    def bias_form(self) -> str | None:
        return "additive"

    @property
    def count_scope(self) -> str | None:
        # One move per optimizer step, from the counts of the whole step.
        return "global_batch"

    @property
    def label(self) -> str:
        words = ", ".join(["global batch scope", *self._extras(" from")])
        return f"SMEBU u={self.bias_update_rate:g} ({words})"

    @property
    def short(self) -> str:
        return " ".join([f"SMEBU {self.bias_update_rate:g}", *self._extras("")])

    def _extras(self, since: str) -> list[str]:
        """Label parts for settings that are not the default."""
        words = []
        if self.sharpness != type(self).sharpness:
            words.append(f"κ={self.sharpness:g}")
        if self.momentum != type(self).momentum:
            words.append(f"β={self.momentum:g}")
        if self.freeze_after_step is not None:
            words.append(f"frozen{since} {self.freeze_after_step}")
        return words
