"""The heatmap on a canvas is sent what the chart of the files shows."""

import base64
from typing import Any

import numpy as np
import polars as pl
import pytest
from chart_frames import heat_frame

from explorer.charts import heatmaps
from explorer.charts.scales import LOAD_LIMIT
from explorer.ui.components.load_map import component
from explorer.ui.components.load_map.payload import NO_TOKENS, NOT_RECORDED, TOP, load_map_of

NO_EVENTS = pl.DataFrame(
    schema={"step": pl.Int64, "layer": pl.Int32, "expert": pl.Int32, "kind": pl.String, "detail": pl.String}
)


def numbers(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["base64"]), dtype=packed["kind"])


def test_every_cell_has_the_colour_and_the_numbers_of_the_chart() -> None:
    frame = heat_frame()
    data = load_map_of(frame, NO_EVENTS).data
    shape = (data["experts"], len(data["edges"]) - 1)
    level, ratio, tokens = (numbers(data[name]).reshape(shape) for name in ("level", "ratio", "tokens"))
    first = numbers(data["first"]).tolist()
    assert data["edges"][:-1] == first
    for cell in heatmaps.cells(frame).to_dicts():
        at = cell["expert"], first.index(cell["first_step"])
        if cell["value"] is None:
            assert level[at] == NO_TOKENS
        else:
            assert level[at] / TOP * 2 * LOAD_LIMIT - LOAD_LIMIT == pytest.approx(
                cell["value"], abs=LOAD_LIMIT / TOP
            )
        assert tokens[at] == cell["tokens"]
        assert ratio[at] / 100 == pytest.approx(cell["load_ratio"], abs=0.0051)


def test_a_layer_without_any_token_is_not_drawn_as_idle_experts() -> None:
    frame = heat_frame()
    first = int(frame["first_step"][0])
    silent = pl.col("first_step") == first
    frame = frame.with_columns(
        tokens=pl.when(silent).then(0).otherwise("tokens"),
        load_ratio=pl.when(silent).then(None).otherwise("load_ratio"),
    )
    data = load_map_of(frame, NO_EVENTS).data
    level = numbers(data["level"]).reshape(data["experts"], -1)
    assert set(level[:, 0]) == {NOT_RECORDED}
    assert NOT_RECORDED not in level[:, 1:]
    states = heatmaps.cells(frame).filter(pl.col("first_step") == first)["state"]
    assert states.unique().to_list() == ["not recorded"]


def test_marks_name_their_events_and_other_cells_are_another_version() -> None:
    frame = heat_frame()
    step = int(frame["first_step"][0])
    event = {"step": step, "layer": 0, "expert": 3, "kind": "death", "detail": "", "source": "found"}
    marked = load_map_of(frame, pl.DataFrame([event])).data
    assert [(mark["step"], mark["count"]) for mark in marked["marks"]] == [(step, 1)]
    assert "expert 3" in marked["marks"][0]["text"]
    assert marked["version"] != load_map_of(frame, NO_EVENTS).data["version"]
    assert load_map_of(frame, NO_EVENTS).data == load_map_of(frame, NO_EVENTS).data


@pytest.mark.parametrize(
    "value", [None, 3, {"expert": 1}, {"expert": True, "first_step": 0}, {"expert": "1", "first_step": 0}]
)
def test_what_a_browser_sends_is_checked(value: Any) -> None:
    assert component._cell(value) is None
    assert component._cell({"expert": 1, "first_step": 5}) == {"expert": 1, "first_step": 5}
