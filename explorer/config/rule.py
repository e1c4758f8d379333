"""The base class of all balancing rules."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from explorer.config.model import ModelConfig


def later(default: Any) -> Any:
    """A field that came after runs were recorded: left out of the plain form at its default.

    So the digest and the pair key of older runs stay what they were.
    """
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Properties that every rule declares. A new one is a subclass, listed in `RULES` below."""

    name: ClassVar[str]
    family: ClassVar[str | None] = None
    """Colour family of a run with this rule (`charts.theme.FAMILIES`); None: it does not balance."""
    moves_bias: ClassVar[bool] = False
    """Whether it moves the selection bias; at most one rule of a run may."""
    alone: ClassVar[bool] = False
    """Whether it refuses every other balancing rule beside it."""
    strength: ClassVar[tuple[str, str] | None] = None
    """Symbol and field of what a sweep varies, e.g. ("u", "bias_update_rate")."""

    @property
    def count_scope(self) -> str | None:
        """Over which tokens loads are counted for it, or None."""
        return None

    @property
    def bias_form(self) -> str | None:
        """additive or multiplicative, for a rule that moves the bias."""
        return None

    def check_model(self, model: "ModelConfig") -> None:
        """Refuse a model on which it cannot act, in one sentence (ConfigError)."""

    @property
    def label(self) -> str:
        """The label in legends; it always includes the count scope."""
        raise NotImplementedError

    @property
    def short(self) -> str:
        """The same in a few words, for a chip or a URL."""
        raise NotImplementedError
