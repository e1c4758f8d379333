"""Simulations that lessons name: the Playground's settings by their address parameters."""

from collections.abc import Mapping

from explorer.config.bounds import read_whole
from explorer.errors import ConfigError
from explorer.simulate import Simulation
from explorer.ui.playground import controls
from explorer.ui.playground import page as playground
from explorer.ui.playground.controls import BY_KEY, SIDES


def values_of(given: Mapping[str, str]) -> dict[str, str]:
    """Every control's value: what is given, else the Playground's own. Raises ConfigError for others."""
    values = {key: control.default for key, control in BY_KEY.items()} | {"seed": "0"}
    for key, value in given.items():
        control = BY_KEY.get(key)
        if key == "seed":
            values[key] = str(read_whole("training.seed", value, least=0, remedy="write seed=0"))
        elif control is None:
            raise ConfigError(key, value, "is not a control of the Playground", f"one of {', '.join(BY_KEY)}")
        elif value not in control.options:
            raise ConfigError(
                key, value, "is not offered in the Playground", f"one of {', '.join(control.options)}"
            )
        else:
            values[key] = value
    return values


def simulation(given: Mapping[str, str], side: str) -> Simulation:
    """The simulation of rule A or B, the very one that the Playground shows for these settings."""
    values = values_of(given)
    if side not in SIDES:
        raise ConfigError("side", side, "must be A or B", "choose one")
    return playground.simulated(controls.scores_of(values), controls.rule_of(values, side), int(values["S"]))
