"""The base class of all balancing rules."""

from dataclasses import dataclass
from typing import ClassVar

from explorer.config.model import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Metadata of a rule. A new rule is a subclass, listed in `RULES`."""

    name: ClassVar[str]
    family: ClassVar[str | None] = None
    """Colour family of runs with this rule (`charts.theme.FAMILIES`); None: it balances nothing."""
    moves_bias: ClassVar[bool] = False
    """Whether it moves the selection bias; at most one rule of a run may."""
    alone: ClassVar[bool] = False
    """Whether it excludes every other balancing rule."""
    strength: ClassVar[tuple[str, str] | None] = None
    """Symbol and name of the field that a sweep varies, e.g. ("u", "bias_update_rate")."""

    @property
    def count_scope(self) -> str | None:
        """Count scope of its loads, or None."""
        return None

    @property
    def bias_form(self) -> str | None:
        """additive or multiplicative, for a rule that moves the bias."""
        return None

    def check_model(self, model: ModelConfig) -> None:
        """Reject a model on which it cannot act. Raises ConfigError."""

    @property
    def label(self) -> str:
        """Legend label; always includes the count scope."""
        raise NotImplementedError

    @property
    def short(self) -> str:
        """Short label, for a chip or a URL."""
        raise NotImplementedError
