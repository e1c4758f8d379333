"""Simulation in the browser: charts that follow a slider while it is dragged.

A worker repeats `explorer/simulate` (compared with it in `tests/browser`); the server's own result takes the
place of its rows when the slider is released.
"""

from explorer.ui.components.simulator.component import simulator
from explorer.ui.components.simulator.payload import Slider, changes, colours, plain_settings

__all__ = ["Slider", "changes", "colours", "plain_settings", "simulator"]
