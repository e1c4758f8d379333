"""Simulations that lessons name: the Playground's settings by their address parameters."""

from collections.abc import Mapping

from explorer.config.bounds import read_whole
from explorer.errors import ConfigError
from explorer.figures.simulation import SIDES, simulated
from explorer.figures.views.playground_choices import BY_KEY, rule_of, scores_of
from explorer.simulate import Simulation


def values_of(given: Mapping[str, str]) -> dict[str, str]:
    """Every control's value: what is given, else the Playground's own. Raises ConfigError for others."""
    values = {key: choice.default for key, choice in BY_KEY.items()} | {"seed": "0"}
    for key, value in given.items():
        choice = BY_KEY.get(key)
        if key == "seed":
            values[key] = str(read_whole("training.seed", value, least=0, remedy="write seed=0"))
        elif choice is None:
            raise ConfigError(key, value, "is not a control of the Playground", f"one of {', '.join(BY_KEY)}")
        elif value not in choice.options:
            raise ConfigError(
                key, value, "is not offered in the Playground", f"one of {', '.join(choice.options)}"
            )
        else:
            values[key] = value
    return values


def simulation(given: Mapping[str, str], side: str) -> Simulation:
    """The simulation of rule A or B, the very one that the Playground shows for these settings."""
    values = values_of(given)
    if side not in SIDES:
        raise ConfigError("side", side, "must be A or B", "choose one")
    return simulated(scores_of(values), rule_of(values, side), int(values["S"]))
