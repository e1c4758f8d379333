"""What a page shows: points for the pointer come with it, and what no row changes is found once."""

import json
import re
from typing import Any

import chart_frames as frames
import vl_convert

from explorer.charts import biases, inks, linking, pointed
from explorer.charts.spec import make

CHART = {
    "layer": [
        {"name": "lines", "mark": "line"},
        {"layer": [{"name": "points", "mark": "point", "transform": [{"filter": "datum.x > 1"}]}]},
    ]
}


def test_only_the_points_wait_and_their_own_transforms_stay() -> None:
    lines, inner = pointed.waiting(CHART)["layer"]
    assert lines == CHART["layer"][0]
    assert inner["layer"][0]["transform"] == [{"filter": "isTuple(unit)"}, {"filter": "datum.x > 1"}]


def test_the_specification_of_files_is_left_alone() -> None:
    pointed.waiting(CHART)
    assert "isTuple" not in str(CHART)


def with_rows(vega: dict[str, Any]) -> str:
    """The specification with its data sets, as text."""
    rows = {name: frame.to_dicts() for name, frame in vega["datasets"].items()}
    return json.dumps({**vega, "datasets": rows})


def test_what_no_row_changes_is_a_parameter() -> None:
    figure = biases.bias_trajectories(
        frames.bias_frame({0: 0.1, 1: -0.2, 2: 0.3}), highlight=[1], scope="run"
    )
    page = pointed.on_page(make(figure).at(None))
    params = {param["name"]: param.get("expr") for param in page["params"]}
    assert params["on_dark"] == inks.IS_DARK
    assert params["any_lit"] == linking.ANY_LIT
    marks = json.dumps({**page, "params": [], "datasets": {}})
    assert inks.IS_DARK not in marks
    assert linking.ANY_LIT not in marks


def test_a_chart_without_such_expressions_has_no_parameter_more() -> None:
    assert pointed.on_page(CHART) == pointed.waiting(CHART)


def test_the_page_shows_the_picture_of_the_file() -> None:
    figure = biases.bias_trajectories(
        frames.bias_frame({0: 0.1, 1: -0.2, 2: 0.3}), highlight=[1], scope="run"
    )
    vega = make(figure).at(None)
    for background in ("white", "black"):
        file, page = (
            {**chart, "background": background} for chart in (pointed.waiting(vega), pointed.on_page(vega))
        )
        # Vega numbers the clips of all drawings.
        drawings = [
            re.sub(r"clip\d+", "clip", vl_convert.vegalite_to_svg(with_rows(chart))) for chart in (file, page)
        ]
        assert drawings[0] == drawings[1]
        assert "<path" in drawings[0]
