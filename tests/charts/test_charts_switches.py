"""Marks where a run changed its rule: where they stand, what they say, and that they fit into a figure."""

import altair as alt
import chart_frames as frames
import polars as pl
import pytest
from sentences import sentence

from explorer.charts import balance, labels, losses, switches, theme


def changes(*rows: tuple[str, str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=switches.SCHEMA, orient="row")


ONE = changes(("a", "scheduled", 40, "loss-free 0.003"))


def test_a_figure_without_changes_is_left_as_it_is() -> None:
    figure = balance.max_vio_curves(frames.vio_frame({"a": 0.5}))
    before = figure.to_dict()
    assert switches.with_changes(lambda: figure, changes(), 100).to_dict() == before


@pytest.mark.parametrize("kind", ["max_vio", "loss"])
def test_a_change_is_a_rule_and_a_word_in_the_figures_of_the_live_page(kind: str) -> None:
    def build() -> theme.Figure:
        if kind == "max_vio":
            return balance.max_vio_curves(frames.vio_frame({"a": 0.5}))
        return losses.loss_curves(frames.loss_frame({"a": 2.0}), metric="lm_loss", log_y=False)

    plain, marked = build().to_dict(), switches.with_changes(build, ONE, 100).to_dict()
    added = marked["layer"][len(plain["layer"]) :]
    assert [layer["mark"]["type"] for layer in added] == ["rule", "text"]
    assert marked["layer"][: len(plain["layer"])] == plain["layer"]
    assert added[0]["encoding"]["x"]["field"] == "step"
    assert added[1]["encoding"]["text"]["field"] == "words"
    assert added[1]["mark"]["clip"] is False
    (data,) = [d for d in marked["datasets"].values() if d and "words" in d[0]]
    assert [(d["step"], d["words"]) for d in data] == [(40, "loss-free 0.003")]


def test_nothing_recorded_yet_gets_no_marks() -> None:
    empty = frames.vio_frame({"a": 0.5}).clear()
    figure = switches.with_changes(lambda: balance.max_vio_curves(empty), ONE, 100)
    assert isinstance(figure, alt.LayerChart | alt.Chart)


def test_words_close_to_each_other_take_another_row() -> None:
    near = switches.rows(changes(*[("a", "scheduled", 10 + 2 * i, "loss-free 0.003") for i in range(3)]), 100)
    assert sorted(near["row"]) == [0, 1, 2]
    far = switches.rows(changes(("a", "scheduled", 5, "none"), ("a", "scheduled", 90, "none")), 100)
    assert far["row"].to_list() == [0, 0]


def test_words_stand_where_there_is_room() -> None:
    placed = switches.rows(changes(("a", "none", 10, "x"), ("a", "none", 90, "y")), 100)
    assert placed["side"].to_list() == ["left", "right"]


def test_the_colour_is_that_of_the_family_and_an_unknown_one_is_grey() -> None:
    placed = switches.rows(changes(("a", "scheduled", 1, "x"), ("b", "unheard of", 2, "y")), 100)
    assert placed["light"].to_list() == [theme.FAMILY_TEXT["scheduled"].light, theme.NEUTRAL_TEXT.light]


def test_end_labels_of_a_schedule_have_a_line_for_each_rule() -> None:
    text = "no balancing, from step 400 loss-free u=0.003 (global batch scope), from step 500 no balancing"
    assert labels.break_label(text).split("\n") == [
        sentence("labels.none"),
        sentence("labels.from_step_loss_free", step=400, rate="0.003"),
        "global batch scope",
        sentence("labels.from_step_none", step=500),
    ]
