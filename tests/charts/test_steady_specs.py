"""Another layer exchanges a chart's rows: a browser draws it anew where anything else changes."""

import json
from typing import Any

import chart_frames as frames
import polars as pl
import pytest

from explorer.charts import biases, domains, microscope, serving, serving_placement, theme
from explorer.charts.spec import make


def of_biases(layer: int) -> theme.Figure:
    last = {0: 0.1, 1: -0.2, 2: 0.3 * layer}
    return biases.bias_trajectories(frames.bias_frame(last), highlight=[layer, layer + 1], scope="run")


def of_domains(layer: int) -> theme.Figure:
    return domains.domain_expert_heatmap(other_loads(layer), scope="run")


def of_saturation(layer: int) -> theme.Figure:
    rows = [(step, one, step / 10, 0.1) for step in (1, 5, 10) for one in (0, 1)]
    names = ["step", "layer", "saturation", "chance"]
    return microscope.saturation(pl.DataFrame(rows, schema=names, orient="row"), layer=layer)


def of_coverage(layer: int) -> theme.Figure:
    rows = [(one, share, 4 * share, share**0.5) for one in (0, 1) for share in (0.25, 1.0)]
    names = ["layer", "share_of_experts", "number", "share_of_load"]
    return serving.coverage(pl.DataFrame(rows, schema=names, orient="row"), layer, 0.25)


def of_persistence(layer: int) -> theme.Figure:
    names = ["layer", "mean", "low", "high"]
    frame = pl.DataFrame([(0, 0.5, 0.4, 0.6), (1, 0.7, 0.6, 0.8)], schema=names, orient="row")
    return serving.persistence(frame, [0, 1], 0.25, layer)


def of_slots(layer: int) -> theme.Figure:
    names = ["gpu", "node", "expert", "copies", "load", "bottom", "upper"]
    rows = [(gpu, 0, gpu, 1, 1.0 + layer, 0.0, 1.0 + layer) for gpu in (0, 1)]
    return serving_placement.slots(pl.DataFrame(rows, schema=names, orient="row"), 2, 1, 2.0 + layer)


def of_strips(layer: int) -> theme.Figure:
    names = ["window", "rank", "expert", "tokens", "load_ratio"]
    rows = [("A", 1, 0, 4, 2.0), ("A", 2, 1, layer, layer / 2)]
    return serving.strips(pl.DataFrame(rows, schema=names, orient="row"), ["A"], stays=True)


def other_loads(layer: int) -> pl.DataFrame:
    return frames.domain_frame().with_columns(load_ratio=pl.col("load_ratio") * (1 + layer))


def without_names(figure: theme.Figure) -> Any:
    """The specification as Streamlit's page compares it: data sets count by their place."""
    spec = make(figure)
    text = json.dumps(spec.vega)
    for place, name in enumerate(spec.datasets):
        text = text.replace(name, f"data {place}")
    return json.loads(text)


SERVING = (of_coverage, of_persistence, of_slots, of_strips)


@pytest.mark.parametrize("draw", [of_biases, of_domains, of_saturation, *SERVING])
def test_the_chart_of_another_layer_differs_in_its_rows_only(draw: Any) -> None:
    assert without_names(draw(0)) == without_names(draw(1))
