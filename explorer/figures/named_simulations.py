"""Simulations that a text names: the Playground's settings by their address parameters."""

from collections.abc import Mapping
from dataclasses import replace

from explorer.config.checks import read_int
from explorer.errors import ConfigError, one_of
from explorer.figures.simulation import SIDES, TwoRules
from explorer.figures.views.choice import defaults
from explorer.figures.views.playground import rules_of
from explorer.figures.views.playground_choices import BY_KEY, CHOICES
from explorer.simulate import Simulation


def values_of(settings: Mapping[str, str]) -> dict[str, str]:
    """The value of every setting: the given one, else the Playground's default.

    Raises ConfigError for a setting or a value that the Playground does not offer.
    """
    values = defaults(CHOICES) | {"seed": "0"}
    for key, value in settings.items():
        choice = BY_KEY.get(key)
        if key == "seed":
            values[key] = str(read_int("training.seed", value, least=0, remedy="write seed=0"))
        elif choice is None:
            raise ConfigError(key, value, "is not a control of the Playground", f"one of {', '.join(BY_KEY)}")
        elif value not in choice.options:
            raise ConfigError(
                key, value, "is not offered in the Playground", f"one of {', '.join(choice.options)}"
            )
        else:
            values[key] = value
    return values


def two_rules(values: Mapping[str, str], *, still_px: int | None = None) -> TwoRules:
    """Rules A and B of these settings; still_px: height of a chart without a playhead."""
    return replace(rules_of(values_of(values)), still_px=still_px)


def simulation(values: Mapping[str, str], side: str) -> Simulation:
    """The simulation of rule A or B, the one that the Playground shows for these settings."""
    one_of("side", side, SIDES)
    return two_rules(values).simulations()[side]
