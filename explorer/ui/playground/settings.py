"""The current values of the Playground's widgets."""

from explorer.figures.views import playground_choices as choices
from explorer.figures.views import rule_change
from explorer.figures.views.playground import PlaygroundSettings, settings_of
from explorer.ui.shared import state


def values() -> dict[str, str]:
    """Current values of all controls."""
    return state.values((*choices.KEYS, *rule_change.KEYS.values()))


def current() -> PlaygroundSettings:
    """The settings of both simulations, and the playhead."""
    return settings_of(values())
