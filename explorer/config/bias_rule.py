"""What rules with a step size u share: the name of their step, their labels, and the end of their updates."""

from typing import ClassVar

from explorer.config.checks import check_int, check_number
from explorer.config.rule import Rule


class BiasRule(Rule):
    """A rule that moves the bias by about u, once per optimizer step.

    Subclasses declare both fields, since their order is that of the plain form.
    """

    family: ClassVar[str | None] = "loss_free"
    moves_bias: ClassVar[bool] = True
    strength: ClassVar[tuple[str, str] | None] = ("u", "bias_update_rate")
    title: ClassVar[str]
    """How labels begin."""
    bias_update_rate: float
    freeze_after_step: int | None

    def check_step(self) -> None:
        """Raises ConfigError for a step size or a freezing step out of range."""
        check_number(f"{self.name}.bias_update_rate", self.bias_update_rate, least=0)
        if self.freeze_after_step is not None:
            check_int(f"{self.name}.freeze_after_step", self.freeze_after_step, least=0)

    def departures(self) -> list[str]:
        """Label parts for settings that are not the default, except for freezing."""
        raise NotImplementedError

    def scope_words(self) -> tuple[str, str]:
        """The count scope as `label` and `short` say it."""
        return "global batch", ""

    @property
    def bias_form(self) -> str | None:
        return "additive"

    @property
    def count_scope(self) -> str | None:
        # The bias moves once per optimizer step from the counts of the whole step.
        return "global_batch"

    @property
    def label(self) -> str:
        words = ", ".join([f"{self.scope_words()[0]} scope", *self._extras(" from")])
        return f"{self.title} u={self.bias_update_rate:g} ({words})"

    @property
    def short(self) -> str:
        scope = self.scope_words()[1]
        parts = [f"{self.title} {self.bias_update_rate:g}", scope, *self._extras("")]
        return " ".join(part for part in parts if part)

    def _extras(self, since: str) -> list[str]:
        frozen = self.freeze_after_step
        return self.departures() + ([] if frozen is None else [f"frozen{since} {frozen}"])
