"""Events on the time axis: what is marked, how it looks, and that the figure stays the same."""

import json
import re
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import chart_frames as frames
import numpy as np
import polars as pl
import pytest
from chart_samples import ENDS, for_file, pixels, rows_of, structure_of
from contrast import PAGES, contrast
from hypothesis import given
from hypothesis import strategies as st
from sentences import sentence

from explorer.charts import (
    balance,
    biases,
    event_marks,
    heatmaps,
    losses,
    mechanism,
    playground,
    switches,
    theme,
)
from explorer.metrics.events import DETECTED, RECORDED

SCHEMA = {
    "step": pl.Int64,
    "layer": pl.Int32,
    "expert": pl.Int32,
    "kind": pl.String,
    "detail": pl.String,
    "source": pl.String,
}


def events(*rows: tuple[Any, ...], run_id: str | None = None) -> pl.DataFrame:
    """Rows of (step, kind) or (step, kind, layer) or (step, kind, layer, expert)."""
    full = [
        (r[0], r[2] if r[2:] else None, r[3] if r[3:] else None, r[1], "so it is", "detected") for r in rows
    ]
    frame = pl.DataFrame(full, schema=SCHEMA, orient="row")
    return frame if run_id is None else frame.with_columns(run_id=pl.lit(run_id))


SOME = events((0, "collapse", 1), (3, "death", 1, 2), (4, "revival", 1, 2), (5, "unheard_of"))
OF_RUNS = pl.concat([SOME.with_columns(run_id=pl.lit(run)) for run in ENDS])


def gradients() -> pl.DataFrame:
    columns = {f"{n}{end}": [0.5, 0.7] for n in ("lm", "aux", "cosine") for end in ("", "_min", "_max")}
    return pl.DataFrame(
        {"run_id": ["none"] * 2, "first_step": [0, 5], "last_step": [0, 5], "x": [0.0, 5.0], **columns}
    )


def churns() -> pl.DataFrame:
    return gradients().select(
        "run_id", "first_step", "last_step", "x", churn="lm", churn_min="lm", churn_max="lm", chance="aux"
    )


NO_CHANGES = switches.rows(pl.DataFrame(schema=switches.SCHEMA), 5)


def simulated() -> tuple[pl.DataFrame, ...]:
    frame = pl.DataFrame(
        {"run_id": ["A", "A"], "x": [0.0, 5.0], "value": [1.0, 2.0], "low": [1.0, 2.0], "high": [1.0, 2.0]}
    ).with_columns(first_step=pl.lit(0), last_step=pl.lit(5))
    return (*playground.line_rows(frame, {"A": "none"}, {"A": "none"}, reference=None), NO_CHANGES)


def travelled() -> tuple[pl.DataFrame, ...]:
    frame = pl.DataFrame({"step": [0, 5], "expert": pl.Series([0, 0], dtype=pl.Int32), "value": [0.0, 1.0]})
    return (*playground.trajectory_rows(frame, named=[0], limits=(0, 1)), NO_CHANGES)


AXES: dict[str, Callable[..., theme.Figure]] = {
    "load_heatmap": lambda **k: heatmaps.load_heatmap(frames.heat_frame(), **k),
    "bias_trajectories": lambda **k: biases.bias_trajectories(frames.bias_frame({0: 1.5, 1: -0.2}, 7), **k),
    "max_vio_curves": lambda **k: balance.max_vio_curves(frames.vio_frame(ENDS), **k),
    "loss_curves": lambda **k: losses.loss_curves(frames.loss_frame(ENDS), **k),
    "gradient_norms": lambda **k: mechanism.gradient_norms(gradients(), **k),
    "gradient_cosines": lambda **k: mechanism.gradient_cosines(gradients(), **k),
    "churn": lambda **k: mechanism.churn(churns(), **k),
    "lines": lambda **k: playground.lines(simulated(), {"A": "none"}, y_title="y", **k),
    "trajectories": lambda **k: playground.trajectories(travelled(), y_title="y", **k),
}
OF_ONE = ("load_heatmap", "bias_trajectories", "lines", "trajectories")


def marks_of(figure: theme.Figure) -> list[dict[str, Any]]:
    return [row for row in rows_of(figure) if "event_step" in row]


@pytest.mark.parametrize("name", AXES)
def test_events_are_drawn_and_are_a_change_of_data_only(name: str) -> None:
    given = SOME if name in OF_ONE else OF_RUNS
    without, drawn = AXES[name](), AXES[name](events=given)
    assert structure_of(without) == structure_of(drawn) == structure_of(AXES[name](events=given.clear()))
    assert not marks_of(without)
    assert marks_of(drawn)
    before, after = pixels(without), pixels(drawn)
    assert before.shape != after.shape or (np.abs(before - after).max(-1) > 30).sum() > 20


def test_a_symbol_has_a_shape_a_colour_and_words() -> None:
    rows = event_marks.mark_rows(events((10, "collapse", 3), (500, "death", 0, 7)), (0, 800)).to_dicts()
    assert [row["event_step"] for row in rows] == [10, 500]
    assert [row["event_at"] for row in rows] == ["step 10", "step 500"]
    assert [row["event_words"] for row in rows] == [
        "collapse in layer 3: so it is",
        "death of expert 7 in layer 0: so it is",
    ]
    assert [row["event_shape"] for row in rows] == [
        event_marks.GLYPHS[k].shape for k in ("collapse", "death")
    ]
    assert [row["light"] for row in rows] == [event_marks.GLYPHS[k].ink.light for k in ("collapse", "death")]
    assert [row["event_count"] for row in rows] == ["", ""]


def test_a_mark_knows_the_next_one_in_its_row() -> None:
    """A number that stands beside its symbol must not stand on the next one."""
    given = OF_RUNS.filter(pl.col("kind").is_in(event_marks.IMPORTANT))
    styles = theme.run_styles(given["run_id"].unique(maintain_order=True))
    rows = event_marks.mark_rows(given, (0, 2000), styles)
    assert rows.height > 1
    for _, row in rows.group_by("event_y"):
        assert row["event_next"].to_list() == [*row["event_step"].to_list()[1:], None]


def test_neighbours_share_a_mark_that_says_how_many() -> None:
    near = events((10, "collapse", 0), (12, "collapse", 2), (20, "death", 1, 0), (400, "loss_spike"))
    first, last = event_marks.mark_rows(near, (0, 800)).to_dicts()
    assert (first["event_at"], first["event_count"]) == ("steps 10 to 20", "3")
    assert first["event_words"] == sentence(
        "events.two_kinds", collapses=2, collapse_layers="layers 0 and 2", deaths=1, death_layers="layer 1"
    )
    assert first["event_shape"] == event_marks.MIXED.shape
    assert last["event_words"] == "loss spike: so it is"
    same = event_marks.mark_rows(near.head(2), (0, 800)).to_dicts()
    assert same[0]["event_shape"] == event_marks.GLYPHS["collapse"].shape


@given(steps=st.lists(st.integers(0, 1000), min_size=1, max_size=200))
def test_every_event_is_in_one_group(steps: list[int]) -> None:
    groups = event_marks.grouped(events(*((step, "death", 0, 0) for step in steps)), 1000.0)
    assert [step for group in groups for step in group["step"]] == sorted(steps)
    assert 1 <= len(groups) <= event_marks.MOST_MARKS
    firsts = [group["step"][0] for group in groups]
    assert all(b - a > event_marks.NEAR * 1000 for a, b in pairwise(firsts))


def test_what_the_figure_does_not_show_is_left_out() -> None:
    outside = events((5, "collapse"), (50, "collapse"), (500, "collapse"))
    assert event_marks.mark_rows(outside, (10, 100))["event_step"].to_list() == [50]
    assert event_marks.mark_rows(outside, (600, 700)).is_empty()


def test_several_runs_have_their_important_events_in_their_colours() -> None:
    styles = theme.run_styles(["a", "b"], {"a": "one", "b": "two"}, {"a": "none", "b": "loss_free"})
    both = pl.concat(
        [
            events((5, "collapse", 0), (300, "death", 0, 1), run_id="a"),
            events((5, "balancer_changed"), run_id="b"),
            events((5, "collapse"), run_id="elsewhere"),
        ]
    )
    rows = event_marks.mark_rows(both, (0, 800), styles).to_dicts()
    assert [(row["event_run"], row["event_words"].split(":")[0]) for row in rows] == [
        ("one", "collapse in layer 0"),
        ("two", sentence("events.rule_change")),
    ]
    assert [row["dark"] for row in rows] == [style.ink.dark for style in styles]
    assert rows[0]["event_y"] < rows[1]["event_y"], "marks at the same step do not cover each other"
    alone = event_marks.mark_rows(both, (0, 800), styles[:1])
    assert alone["event_words"].to_list() == [
        "collapse in layer 0: so it is",
        "death of expert 1 in layer 0: so it is",
    ]
    assert alone["light"][0] == event_marks.GLYPHS["collapse"].ink.light


def test_the_events_of_a_layer_are_its_own_and_those_of_the_run() -> None:
    mixed = events((1, "collapse", 0), (2, "collapse", 1), (3, "loss_spike"))
    assert event_marks.of_layer(mixed, 1)["step"].to_list() == [2, 3]


def test_every_kind_has_a_look_of_its_own() -> None:
    assert set(event_marks.GLYPHS) == {kind.key for kind in (*DETECTED, *RECORDED)}
    looks = [*event_marks.GLYPHS.values(), event_marks.OTHER, event_marks.MIXED]
    for one, other in combinations(looks, 2):
        assert one.shape != other.shape
        assert one.letter != other.letter


@pytest.mark.parametrize("dark", [False, True])
def test_symbols_stand_out_from_the_page(dark: bool) -> None:
    for kind, look in event_marks.GLYPHS.items():
        assert contrast(look.ink.pick(dark), PAGES[dark]) >= 3, kind


def test_layers_are_named_until_they_are_too_many() -> None:
    assert event_marks.listed("layer", [2]) == "layer 2"
    assert event_marks.listed("layer", [0, 2, 3]) == "layers 0, 2 and 3"
    assert event_marks.listed("layer", list(range(9))) == "layers 0, 1, 2 and 6 more"


def test_a_file_of_a_figure_with_events_needs_no_page() -> None:
    text = json.dumps(for_file(AXES["max_vio_curves"](events=OF_RUNS)).to_dict())
    assert not re.search(r'"fill": "(black|white)"', text)
