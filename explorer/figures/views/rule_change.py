"""A second rule for a side of the Playground, which replaces the first one from some step on.

It is one short parameter per side, `swA=400.sign.1e-3`: step, rule, rate and, where the step size shrinks,
`.sqrt` or `.harmonic`.
"""

from dataclasses import dataclass

from explorer.figures.simulation import RULE_NAMES, SIDES, STEP_SIZES
from explorer.figures.views.choice import RATES
from explorer.simulate import RuleSettings

KEYS = {side: f"sw{side}" for side in SIDES}
DEFAULT_RATE = "1e-3"
NO_RATE = ("none",)
"""Rules without a rate."""
MOST_DIGITS = 6
"""Of a step."""


@dataclass(frozen=True, kw_only=True)
class RuleChange:
    """Another rule from a step on."""

    step: int
    rule: str
    rate: str = DEFAULT_RATE
    decay: str = "constant"

    def __str__(self) -> str:
        """The parameter of the address."""
        parts = [str(self.step), self.rule]
        if self.rule not in NO_RATE:
            parts += [self.rate] if self.decay == "constant" else [self.rate, self.decay]
        return ".".join(parts)

    def settings(self, start: int) -> RuleSettings:
        """The rule; like every rule of the page it acts from step `start` on."""
        return RuleSettings(rule=self.rule, rate=float(self.rate), step_decay=self.decay, start_step=start)


def parse(text: str, steps: int) -> RuleChange | None:
    """Read the parameter; None for a text that is no change of rule within `steps` steps."""
    step, _, rest = text.partition(".")
    rule, *numbers = rest.split(".")
    options = (RATES, tuple(STEP_SIZES))
    is_step = step.isdecimal() and step.isascii() and len(step) <= MOST_DIGITS
    if not is_step or not 0 < int(step) < steps:
        return None
    if rule not in RULE_NAMES or len(numbers) > (0 if rule in NO_RATE else 2):
        return None
    if any(value not in offered for value, offered in zip(numbers, options, strict=False)):
        return None
    return RuleChange(step=int(step), rule=rule, **dict(zip(("rate", "decay"), numbers, strict=False)))


def rule_of(steps: int) -> str:
    """What the parameter must be, as the end of a sentence."""
    return (
        f"it must be a step from 1 to {steps - 1}, a point, a rule ({', '.join(RULE_NAMES)}) and optionally "
        "a rate of the list and a step size, such as 400.sign.1e-3"
    )
