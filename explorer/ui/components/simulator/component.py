"""The component that lets the charts of a page follow its sliders; it draws nothing itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.ui.components import modules
from explorer.ui.components.simulator.payload import Slider

FOLDER = Path(__file__).parent

_SIMULATOR = st.components.v2.component("moe_simulator", js=modules.script(FOLDER / "index.js"))


def simulator(
    key: str, job: Mapping[str, Any], *, step: int, sliders: Mapping[str, Slider], charts: Mapping[str, str]
) -> None:
    """Draw it after the charts, whose rows the server has then sent.

    job: what the controls stand for now, see `worker.js`. `sliders`: key of a widget -> what its positions
    change. `charts`: name of a chart (`charts.dragged.follow`) -> key of its panel.
    """
    moves = {name: {"at": slider.at, "options": slider.options} for name, slider in sliders.items()}
    _SIMULATOR(
        key=key, data={"job": dict(job), "step": step, "sliders": moves, "charts": dict(charts)}, height=1
    )
