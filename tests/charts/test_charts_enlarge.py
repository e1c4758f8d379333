"""Figures for the back row: everything in pixels grows by one factor, data and scales do not."""

import polars as pl
from chart_frames import bias_frame

from explorer.charts import biases, seats
from explorer.charts.enlarge import IS_PHONE, enlarged
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
    assert mark["fontSize"] == {"expr": f"{IS_PHONE} ? 10 : 15"}
    assert mark["dy"] == {"expr": "1.5 * (datum.shift)"}
    assert mark["size"] == 45, "a mark's size is its area"
    assert large["config"]["axis"]["labelFontSize"] == {"expr": f"{IS_PHONE} ? 12 : 18"}
    assert spec["height"] == 200, "the figure as usual stays what it is"


def test_font_sizes_that_a_figure_computes_stay_unchanged_on_a_phone() -> None:
    mark = enlarged({"mark": {"fontSize": {"expr": "width / 40"}}}, 1.5)["mark"]
    assert mark["fontSize"] == {"expr": f"({IS_PHONE} ? 1 : 1.5) * (width / 40)"}


def test_labels_below_the_seats_stay_below_them() -> None:
    dots, feet = (
        seats.dot_rows([8, 4]),
        pl.DataFrame({"expert": [0, 1], "tokens": [8, 4], "bias": [0.0, 0.1]}),
    )
    large = enlarged(make(seats.seats(dots, feet, 6)).at(None), 1.5)
    words = [layer for layer in large["layer"] if layer["mark"]["type"] == "text"]
    assert [layer["encoding"]["y"]["value"] for layer in words] == ["height"] * 3
    assert [layer["mark"]["dy"] for layer in words] == [9, 30, 51]


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
