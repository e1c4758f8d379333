"""Layers without rows stand on the axes of the others: Vega warns of an axis with an extent from nothing."""

from typing import Any

import altair as alt
import polars as pl
import pytest
from chart_samples import FIGURES

from explorer.charts import spec
from explorer.charts.anchored import anchored

PLACES = ("x", "x2", "y", "y2")


def layers_of(vega: dict[str, Any]) -> list[dict[str, Any]]:
    """Every layer, also those inside of others."""
    if "layer" not in vega:
        return [vega]
    return [inner for layer in vega["layer"] for inner in layers_of(layer)]


@pytest.mark.parametrize("name", FIGURES)
def test_a_layer_without_rows_has_no_say_in_an_axis(name: str) -> None:
    figure = spec.make(FIGURES[name]())
    empty = {key for key, rows in figure.datasets.items() if rows.is_empty()}
    for layer in layers_of(figure.vega):
        if layer.get("data", {}).get("name") in empty:
            fields = [place for place in PLACES if "field" in layer.get("encoding", {}).get(place, {})]
            assert fields == [], layer


@pytest.mark.parametrize(
    "name",
    ["load_heatmap", "compare_heatmaps", "bias_trajectories", "max_vio_curves", "loss_curves", "story"],
)
def test_a_layer_that_a_filter_may_empty_has_no_say_in_an_axis(name: str) -> None:
    """Points under the pointer, names of lines, cells without tokens; cells with tokens make the axes."""
    layers = [layer for layer in layers_of(FIGURES[name]().to_dict()) if "transform" in layer]
    filtered = [layer for layer in layers if layer["mark"]["type"] != "rect" or "no tokens" in str(layer)]
    assert filtered
    for layer in filtered:
        assert not [place for place in PLACES if "field" in layer["encoding"].get(place, {})], layer


def test_a_rule_across_the_plot_stays_one() -> None:
    rows = alt.Chart(pl.DataFrame({"step": [1.0]}))
    encoding = anchored(rows.mark_rule().encode(x=alt.X("step:Q"))).to_dict()["encoding"]
    assert encoding == {
        "x": {"value": {"expr": "scale('x', datum.step)"}},
        "y": {"value": 0},
        "y2": {"value": "height"},
    }


def test_a_rule_with_both_ends_stays_as_long_as_it_is() -> None:
    rows = alt.Chart(pl.DataFrame({"value": [1.0]}))
    rule = rows.mark_rule().encode(y=alt.Y("value:Q"), x=alt.XValue(3), x2=alt.X2Value(9))
    encoding = anchored(rule).to_dict()["encoding"]
    assert (encoding["x"], encoding["x2"]) == ({"value": 3}, {"value": 9})


def test_what_is_no_place_keeps_its_field() -> None:
    rows = alt.Chart(pl.DataFrame({"value": [1.0], "name": ["a"]}))
    chart = rows.mark_text().encode(x=alt.XValue(3), y=alt.Y("value:Q"), text=alt.Text("name:N"))
    encoding = anchored(chart).to_dict()["encoding"]
    assert encoding["text"]["field"] == "name"
    assert encoding["x"] == {"value": 3}
    assert encoding["y"] == {"value": {"expr": "scale('y', datum.value)"}}
