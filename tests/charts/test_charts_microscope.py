"""Figures of the Microscope: valid, right on an empty frame, and able to take the rows of another click."""

from collections.abc import Callable

import polars as pl
import pytest
import vl_convert
from chart_samples import for_file

from explorer.charts import microscope, theme
from explorer.charts.enlarge import enlarged
from explorer.charts.order import with_places
from explorer.charts.spec import make


def scores(values: list[float], bias: list[float], marked: int = 1) -> pl.DataFrame:
    states = list(microscope.STATES)
    return pl.DataFrame(
        {
            "expert": pl.Series(range(len(values)), dtype=pl.Int32),
            "score": values,
            "compared": [v + b for v, b in zip(values, bias, strict=True)],
            "bias": bias,
            "state": [states[i % 4] for i in range(len(values))],
            "before": [i % 2 == 0 for i in range(len(values))],
            "after": [i % 3 == 0 for i in range(len(values))],
            "marked": [i == marked for i in range(len(values))],
        }
    )


SCORES = scores([0.1, 0.9, 0.4, 0.6], [0.2, -0.3, 0.0, 0.1])
CUTS = microscope.cut_rows(0.5, 0.52, 0.0, 1.0)
SHARED = with_places(
    pl.DataFrame(
        {"name": ["expert 3", "expert 0"], "share": [0.4, 0.1], "expected": [0.2, 0.2], "tokens": [4, 1]}
    )
)
TEXTS = with_places(
    pl.DataFrame({"label": ["␣the", "⏎"], "tokens": [4, 1], "occurrences": [5, 9], "share": [0.8, 0.1]})
)
SERVED = pl.DataFrame({"domain": ["b", "a"], "tokens": [3, 0], "load_ratio": [1.5, None]})
EVERYONE = pl.DataFrame({"x": [0.0, 1.0] * 2, "value": [1.0, 2.0, 0.5, 0.1], "expert": [0, 0, 1, 1]})
ONE = pl.DataFrame({"x": [0.0, 1.0], "value": [1.0, 2.0], "low": [0.9, 1.5], "high": [1.2, 2.5]})
SETTLING = pl.DataFrame(
    {"step": [8, 8, 80, 80], "layer": [0, 1, 0, 1], "saturation": [0.2, 0.3, 1.0, 1.0], "chance": [0.25] * 4}
)
FIGURES: dict[str, Callable[[], theme.Figure]] = {
    "token_scores": lambda: microscope.token_scores(SCORES, CUTS),
    "token_scores without bias": lambda: microscope.token_scores(SCORES, CUTS, biased=False),
    "shared_tokens": lambda: microscope.shared_tokens(SHARED, even=0.1, title="share"),
    "favourite_texts": lambda: microscope.favourite_texts(TEXTS),
    "served_domains": lambda: microscope.served_domains(SERVED),
    "expert_history": lambda: microscope.expert_history(EVERYONE, ONE, y_title="load", level=1.0),
    "saturation": lambda: microscope.saturation(SETTLING, layer=1),
}
EMPTY: dict[str, Callable[[], theme.Figure]] = {
    "token_scores": lambda: microscope.token_scores(SCORES.clear(), CUTS),
    "shared_tokens": lambda: microscope.shared_tokens(SHARED.clear(), even=0.1, title="share"),
    "favourite_texts": lambda: microscope.favourite_texts(TEXTS.clear()),
    "served_domains": lambda: microscope.served_domains(SERVED.clear()),
    "expert_history": lambda: microscope.expert_history(EVERYONE.clear(), ONE.clear(), y_title="load"),
    "saturation": lambda: microscope.saturation(SETTLING.head(2), layer=1),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_valid_and_can_be_drawn(name: str) -> None:
    spec = for_file(FIGURES[name]()).to_dict()
    assert "<svg" in vl_convert.vegalite_to_svg(spec)


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_recorded_is_a_sentence(name: str) -> None:
    rows = [row for part in EMPTY[name]().to_dict()["datasets"].values() for row in part]
    assert [list(row) for row in rows] == [["message"]]


def rows_of(spec: object, columns: set[str]) -> list[list[dict[str, object]]]:
    return [part.to_dicts() for part in spec.datasets.values() if set(part.columns) == columns]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("token_scores", scores([0.3, 0.2, 0.7, 0.1], [0.0, 0.1, 0.1, 0.1], marked=3)),
        ("token_scores", microscope.cut_rows(None, 0.3, 0.0, 1.0)),
        ("shared_tokens", SHARED.with_columns(share=pl.lit(0.9))),
        ("favourite_texts", TEXTS.head(1)),
        ("served_domains", SERVED.with_columns(load_ratio=pl.lit(0.5))),
        ("expert_history", ONE.with_columns(value=pl.lit(0.0))),
    ],
    ids=str,
)
def test_a_kept_figure_takes_the_rows_of_another_click(name: str, rows: pl.DataFrame) -> None:
    before = make(FIGURES[name]())
    after = before.with_rows(rows)
    columns = set(rows.columns)
    assert rows_of(before, columns) != [rows.to_dicts()]
    # Exactly one part of the figure is this kind of data, and nothing else of it changes.
    assert rows_of(after, columns) == [rows.to_dicts()]
    assert after.vega == before.vega
    others = [k for k, part in before.datasets.items() if set(part.columns) != columns]
    assert all(after.datasets[k].equals(before.datasets[k]) for k in others)


def test_the_names_of_close_cut_offs_do_not_cover_each_other() -> None:
    near = microscope.cut_rows(0.5, 0.501, 0.0, 1.0, height=280)
    assert near["cut"].to_list() == [0.501, 0.5]
    places = near["place"].to_list()
    assert abs(places[0] - places[1]) * 280 >= 14
    assert microscope.cut_rows(None, None, 0.0, 1.0).is_empty()
    assert microscope.cut_rows(None, 0.4, 0.0, 1.0)["name"].to_list() == ["cut-off"]


def test_the_band_of_the_marked_expert_is_as_high_as_the_plot_of_a_lecture() -> None:
    large = enlarged(make(FIGURES["token_scores"]()).at(None), 1.5)
    (band,) = (layer for layer in large["layer"] if layer.get("transform") == [{"filter": "datum.marked"}])
    assert (band["encoding"]["y"]["value"], band["encoding"]["y2"]["value"]) == (0, "height")
