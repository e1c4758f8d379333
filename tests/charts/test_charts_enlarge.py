"""Figures for the back row: everything in pixels grows by one factor, data and scales do not."""

import polars as pl
from chart_frames import bias_frame

from explorer.charts import biases
from explorer.charts.enlarge import enlarged
from explorer.charts.spec import make


def test_letters_marks_and_height_grow_together() -> None:
    spec = {
        "height": 200,
        "width": "container",
        "layer": [{"mark": {"type": "text", "fontSize": 10, "dy": {"expr": "datum.shift"}, "size": 20}}],
    }
    large = enlarged(spec, 1.5)
    assert large["height"] == 300
    assert large["width"] == "container"
    mark = large["layer"][0]["mark"]
    assert mark["fontSize"] == 15
    assert mark["dy"] == {"expr": "1.5 * (datum.shift)"}
    assert mark["size"] == 45, "a mark's size is its area"
    assert large["config"]["axis"]["labelFontSize"] == 18
    assert spec["height"] == 200, "the figure as usual stays what it is"


def test_values_of_a_channel_grow_and_fields_and_conditions_stay_what_they_mean() -> None:
    channel = {"condition": {"param": "hover", "value": 2}, "value": 1}
    size = {"field": "n", "type": "quantitative"}
    large = enlarged({"encoding": {"strokeWidth": channel, "size": size}}, 2)
    assert large["encoding"]["strokeWidth"] == {"condition": {"param": "hover", "value": 4}, "value": 2}
    assert large["encoding"]["size"] == size


def test_the_data_are_left_alone() -> None:
    vega = make(biases.bias_trajectories(bias_frame({0: 0.1, 1: -0.2}))).at(None)
    large = enlarged(vega, 1.45)
    assert large["datasets"].keys() == vega["datasets"].keys()
    for name, rows in vega["datasets"].items():
        assert isinstance(rows, pl.DataFrame)
        assert large["datasets"][name] is rows
