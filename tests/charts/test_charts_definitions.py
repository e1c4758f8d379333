"""The figure of the worked example: it compiles in both themes and says what its frame says."""

import io

import numpy as np
import polars as pl
import pytest
import vl_convert
from chart_samples import for_file
from PIL import Image

from explorer.charts import definitions, theme


def rows(*positions: float | None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "figure": [f"figure {i}" for i in range(len(positions))],
            "position": positions,
            "value": [f"{i}.5" for i in range(len(positions))],
        },
        schema={"figure": pl.String, "position": pl.Float64, "value": pl.String},
    )


def drawn(figure: theme.Figure, dark: bool) -> np.ndarray:
    file = io.BytesIO()
    for_file(figure, width=400, dark=dark).save(file, format="png", ppi=72)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


@pytest.mark.parametrize("positions", [(0.0, 0.4, 1.0), (0.0, 2.5), (0.0,)])
def test_it_compiles_and_draws_in_both_themes(positions: tuple[float, ...]) -> None:
    figure = definitions.severity(rows(*positions))
    vl_convert.vegalite_to_vega(figure.to_dict())
    assert drawn(figure, dark=False).mean() > 128 > drawn(figure, dark=True).mean()


def test_every_figure_has_its_row_in_its_order_and_what_cannot_move_is_left_out() -> None:
    spec = definitions.severity(rows(0.9, None, 0.1)).to_dict()
    (data,) = spec["datasets"].values()
    assert [row["figure"] for row in data] == ["figure 0", "figure 2"]
    assert [row["position"] for row in data] == [0.9, 0.1]
    assert {row["value"] for row in data} == {"0.5", "2.5"}
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["figure 0", "figure 2"]


def test_values_beyond_the_worst_case_stay_inside_the_plot() -> None:
    spec = definitions.severity(rows(0.5, 3.0)).to_dict()
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"][1] > 3.0


def test_nothing_to_show_is_said() -> None:
    spec = definitions.severity(rows(None, None)).to_dict()
    assert "K = N" in str(spec["datasets"])
