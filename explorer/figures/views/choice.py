"""Settings of a view whose value is one of a list, so that a link cannot ask for an hour of computing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from explorer.figures.simulation import STEP_SIZES
from explorer.figures.views.address import Address
from explorer.wording import decimal

RATES = (*(f"{m}e-{d}" for d in (5, 4, 3, 2, 1) for m in (1, 2, 5)), "1")
"""Rates u of a balancing rule, as addresses write them."""
MOST_SEED = 9999
Values = Mapping[Any, Any]
"""Key of a setting -> its value, a text."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One setting: its name in the address, what a page calls it, and what it can be."""

    key: str
    """Name of the address parameter and of the widget."""
    label: str
    options: tuple[str, ...]
    default: str
    help: str
    names: Mapping[str, str] = field(default_factory=dict)
    """Option -> what a page calls it, where that is another word."""

    def text_of(self, option: str) -> str:
        """An option as a page writes it: its name, `12 %`, `0.001`, `1,024`."""
        if option in self.names:
            return self.names[option]
        if option.endswith("%"):
            return f"{option[:-1]} %"
        if option.isdecimal():
            return f"{int(option):,}"
        return decimal(float(option)) if option in RATES else option

    @property
    def is_list(self) -> bool:
        """True for names, which need a list box; ordered values get a slider."""
        return not self.options[0][0].isdecimal()


def step_size(key: str) -> Choice:
    """How the rate of a rule shrinks."""
    return Choice(
        key=key,
        label="Step size",
        options=tuple(STEP_SIZES),
        default="constant",
        names={"sqrt": "u/√n", "harmonic": "u/n"},
        help="Constant, or smaller with the number n of updates so far: sqrt divides the rate by √n, "
        "harmonic by n.",
    )


def experts_per_token(key: str, options: tuple[str, ...], default: str) -> Choice:
    """K."""
    return Choice(
        key=key,
        label="Experts per token K",
        options=options,
        default=default,
        help="Experts that each token is routed to.",
    )


def skew(key: str, options: tuple[str, ...]) -> Choice:
    """How unequally popular the experts are."""
    return Choice(
        key=key,
        label="Skew of the experts",
        options=options,
        default="1",
        help="Spread of expert popularity: standard deviation of the logit offsets.",
    )


Offer = Callable[[Choice, Values], tuple[str, ...]]
"""The options of a setting, given the values of the settings that it depends on."""


def default_of(choice: Choice, offered: Sequence[str]) -> str:
    """The default, or the last option on offer where the default is not among them."""
    return choice.default if choice.default in offered else offered[-1]


def rule_of(choice: Choice, offered: Sequence[str]) -> str:
    """What the value must be, as the end of a sentence."""
    return f"it must be one of {', '.join(offered)}"


def defaults(choices: Iterable[Choice]) -> dict[str, str]:
    """Key -> value of every setting at its default."""
    return {choice.key: choice.default for choice in choices}


def read(address: Address, choices: Iterable[Choice], offer: Offer) -> dict[str, str]:
    """Key -> value of every setting, read in this order."""
    values: dict[str, str] = {}
    for choice in choices:
        offered = offer(choice, values)
        default = default_of(choice, offered)
        values[choice.key] = address.choice(choice.key, offered, default, rule_of(choice, offered))
    return values
