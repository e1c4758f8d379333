"""Every figure: compiles, says what its frame says, has a stable structure, and survives an empty frame."""

import json
import re
from collections.abc import Callable
from typing import Any

import chart_frames as frames
import numpy as np
import polars as pl
import pytest
import vl_convert
from chart_samples import ENDS, FAMILIES, FIGURES, LABELS, for_file, pixels, rows_of, structure_of
from sentences import sentence

from explorer.charts import (
    balance,
    biases,
    differences,
    domains,
    full_heatmap,
    heatmaps,
    loads,
    losses,
    microscope,
    plane,
    story,
    theme,
)
from explorer.errors import ConfigError

EMPTY: dict[str, Callable[[], theme.Figure]] = {
    "load_heatmap": lambda: heatmaps.load_heatmap(frames.heat_frame().clear()),
    "compare_heatmaps": lambda: heatmaps.compare_heatmaps({"a": frames.heat_frame().clear()}),
    "load_bars": lambda: loads.load_bars(frames.loads_frame([1.0]).clear()),
    "bias_trajectories": lambda: biases.bias_trajectories(frames.bias_frame({0: 1.0}).clear()),
    "max_vio_curves": lambda: balance.max_vio_curves(frames.vio_frame(ENDS).clear()),
    "loss_curves": lambda: losses.loss_curves(
        frames.loss_frame(ENDS).clear(), frames.eval_frame(ENDS).clear()
    ),
    "dilemma_plane": lambda: plane.dilemma_plane(
        frames.summary_frame([]).clear() if False else pl.DataFrame()
    ),
    "paired_differences": lambda: differences.paired_differences([]),
    "domain_expert_heatmap": lambda: domains.domain_expert_heatmap(frames.domain_frame().clear()),
    "story": lambda: story.story(frames.vio_frame(ENDS).clear()),
}


def share_near(image: np.ndarray, colour: str, reach: int = 12) -> float:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(image - wanted).max(-1) <= reach).mean())


@pytest.mark.parametrize("name", FIGURES)
def test_it_compiles_and_draws_in_both_themes(name: str) -> None:
    figure = FIGURES[name]()
    vl_convert.vegalite_to_vega(figure.to_dict())
    light, dark = (pixels(figure, dark=dark) for dark in (False, True))
    assert light.mean() > 128 > dark.mean()
    assert light.std() > 3, "something is drawn"


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_frame_says_so(name: str) -> None:
    figure = EMPTY[name]()
    message = rows_of(figure)[0]["message"]
    assert message.startswith("no "), message
    pixels(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_it_fills_its_container(name: str) -> None:
    spec = FIGURES[name]().to_dict()
    assert spec["width"] == "container"
    # The height is that of the plot: labels were moved apart for it.
    assert spec["autosize"]["type"] == "fit-x"


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_black_or_white(name: str) -> None:
    """Such text would vanish in one of the themes."""
    spec = structure_of(FIGURES[name]())
    assert not re.search(r'"color": "(black|white|#000000|#ffffff|#000|#fff)"', spec, re.IGNORECASE)


STABLE: dict[str, tuple[Callable[[], theme.Figure], Callable[[], theme.Figure]]] = {
    "heatmap": (
        lambda: heatmaps.load_heatmap(frames.heat_frame(5)),
        lambda: heatmaps.load_heatmap(frames.heat_frame(50), playhead=7),
    ),
    "bias": (
        lambda: biases.bias_trajectories(frames.bias_frame({0: 0.1, 1: 0.2}), highlight=[1]),
        lambda: biases.bias_trajectories(frames.bias_frame({0: 3.0, 1: -2}, 30), highlight=[1], playhead=4),
    ),
    "max_vio": (
        lambda: balance.max_vio_curves(frames.vio_frame(ENDS), references=frames.REFERENCES),
        lambda: balance.max_vio_curves(frames.vio_frame(ENDS, 40), references=frames.REFERENCES, playhead=9),
    ),
    "loss": (
        lambda: losses.loss_curves(frames.loss_frame(ENDS)),
        lambda: losses.loss_curves(frames.loss_frame(ENDS, 40), frames.eval_frame(ENDS), playhead=9),
    ),
}


@pytest.mark.parametrize("name", STABLE)
def test_more_data_or_a_playhead_is_a_change_of_data_only(name: str) -> None:
    """Otherwise a live tick would build the figure anew and lose the zoom."""
    first, second = STABLE[name]
    assert structure_of(first()) == structure_of(second())


@pytest.mark.parametrize("name", ["load_heatmap", "bias_trajectories", "max_vio_curves", "loss_curves"])
def test_the_zoom_is_along_x_and_leaves_the_wheel_to_the_page(name: str) -> None:
    assert theme.zooms(FIGURES[name]()) == ["zoom_x"]
    params = FIGURES[name]().to_dict()["params"]
    zoom = next(p for p in params if p["name"] == "zoom_x")
    assert zoom["bind"] == "scales"
    assert zoom["select"]["encodings"] == ["x"]
    assert "ctrlKey" in zoom["select"]["zoom"]


@pytest.mark.parametrize("name", ["load_bars", "dilemma_plane", "paired_differences", "story"])
def test_a_figure_without_steps_has_no_zoom(name: str) -> None:
    assert theme.zooms(FIGURES[name]()) == []


@pytest.mark.parametrize("name", ["load_heatmap", "max_vio_curves"])
def test_the_playhead_is_a_rule_at_its_step(name: str) -> None:
    rows = [row for row in rows_of(FIGURES[name]()) if "playhead" in row]
    assert {row["playhead"] for row in rows} == {2.0 if name == "load_heatmap" else 12.0}
    assert {row["name"] for row in rows} == {"step 2" if name == "load_heatmap" else "step 12"}


def test_cells_clip_mark_dead_and_fill_gaps() -> None:
    frame = frames.heat_frame(3, stride=10).with_columns(
        load_ratio=pl.when(pl.col("expert") == 0).then(64.0).otherwise(pl.col("load_ratio"))
    )
    cells = heatmaps.cells(frame)
    by_expert = {e: cells.filter(pl.col("expert") == e).row(0, named=True) for e in range(4)}
    assert by_expert[0]["value"] == 2.0, "clipped to the limit"
    assert (by_expert[1]["value"], by_expert[1]["state"]) == (None, "no tokens")
    assert by_expert[2]["value"] == 0.0, "uniform is the middle"
    spans = cells.filter(pl.col("expert") == 0).select("x", "x2").rows()
    assert spans == [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)], "a sparse log leaves no holes"


def test_cells_of_a_step_without_tokens_are_dead_not_an_error() -> None:
    frame = frames.heat_frame(2).with_columns(load_ratio=pl.lit(None, dtype=pl.Float64), is_dead=pl.lit(None))
    assert set(heatmaps.cells(frame)["state"]) == {"no tokens"}


def test_the_heatmap_shows_over_even_and_dead_in_their_colours() -> None:
    image = pixels(heatmaps.load_heatmap(frames.heat_frame(8)))
    plot = image[: int(len(image) * 0.75)]
    assert share_near(plot, theme.DEAD.light) > 0.1
    assert share_near(plot, "#F7F7F7") > 0.2
    assert share_near(plot, "#FDB863", reach=40) > 0.1, "twice its share is orange"


def test_compared_heatmaps_are_one_view_with_one_scale_and_zoom() -> None:
    spec = FIGURES["compare_heatmaps"]().to_dict()
    assert [p["name"] for p in spec["params"]].count("zoom_x") == 1
    coloured = [
        layer for layer in spec["layer"] if layer["encoding"].get("color", {}).get("field") == "value"
    ]
    assert len(coloured) == 1
    rows = [row for row in rows_of(FIGURES["compare_heatmaps"]()) if "run" in row]
    tops = {run: min(row["y"] for row in rows if row["run"] == run) for run in ("a", "b")}
    bottoms = {run: max(row["y2"] for row in rows if row["run"] == run) for run in ("a", "b")}
    assert tops["b"] >= bottoms["a"] + 20, "room for the second title"
    assert {
        row["label"]: row["y"] for row in rows_of(FIGURES["compare_heatmaps"]()) if "label" in row
    } == tops


def test_the_order_of_experts_can_be_given() -> None:
    rows = rows_of(heatmaps.load_heatmap(frames.heat_frame(), expert_order=[3, 1, 0, 2]))
    places = {row["expert"]: row["y"] for row in rows if "expert" in row}
    assert sorted(places, key=lambda e: places[e]) == [3, 1, 0, 2]


def test_the_full_heatmap_holds_every_cell_and_the_dead_apart() -> None:
    tokens = np.array([[4, 0, 4], [12, 0, 0]])
    figure = full_heatmap.full_heatmap(frames.load_matrix(tokens, each=5), playhead=5)
    live, dead = figure.data[0], figure.data[1]
    assert np.asarray(live.z)[0].tolist() == pytest.approx([np.log2(1.5), np.log2(3)])
    assert np.isnan(np.asarray(dead.z)).tolist() == [[True, True], [False, False], [True, False]]
    assert np.asarray(live.customdata).T.tolist() == tokens.tolist()
    assert (live.zmin, live.zmax) == (-2, 2)
    assert figure.layout.shapes[0].x0 == 5


def test_the_full_heatmap_survives_no_steps() -> None:
    figure = full_heatmap.full_heatmap(frames.load_matrix(np.zeros((0, 4), int)))
    assert figure.layout.annotations[0].text.startswith("no expert loads")


def test_plotly_files_offer_no_upload() -> None:
    figure = full_heatmap.full_heatmap(frames.load_matrix(np.ones((2, 2), int)))
    html = figure.to_html(include_plotlyjs=False, config=full_heatmap.PLOTLY_CONFIG)
    assert re.search(r'"modeBarButtonsToRemove":\s*\["sendChartToCloud"', html)


def test_bars_can_be_sorted_and_name_the_uniform_line() -> None:
    figure = loads.load_bars(frames.loads_frame([0.5, 2.0, 1.0]), sort="load")
    assert figure.to_dict()["layer"][0]["encoding"]["x"]["sort"] == [1, 2, 0]
    assert {"load_ratio": 1.0, "name": "uniform"} in rows_of(figure)
    with pytest.raises(ConfigError, match="expert, load"):
        loads.load_bars(frames.loads_frame([1.0]), sort="colour")


def test_bars_leave_out_figures_that_were_not_recorded() -> None:
    titles = [
        t.get("title")
        for t in loads.load_bars(frames.loads_frame([1.0])).to_dict()["layer"][0]["encoding"]["tooltip"]
    ]
    assert "bias" not in titles
    assert "mean score" in titles


def test_a_line_shows_which_experts_no_score_can_lift() -> None:
    def limits(ends: dict[int, float], gap: float | None) -> list[float | None]:
        rows = rows_of(biases.bias_trajectories(frames.bias_frame(ends), gap=gap))
        return [row["expert_bias"] for row in rows if set(row) == {"x", "expert_bias"}]

    assert limits({0: 0.4, 1: -0.4}, 1.0) == []
    assert limits({0: 1.2, 1: -0.4}, None) == []
    # The level says nothing: far from zero there is no line either while the biases are close.
    assert limits({0: 7.1, 1: 6.9}, 1.0) == []
    ends = limits({0: 7.4, 1: 5.9, 2: 6.0}, 1.0)
    assert ends[-1] == pytest.approx(6.4)
    assert None in ends, "the line is broken where no bias lies under it"


def test_a_run_without_biases_says_so() -> None:
    frame = frames.bias_frame({0: 1.0}).with_columns(bias_mean=pl.lit(None, dtype=pl.Float64))
    assert sentence("labels.no_bias_rule") in rows_of(biases.bias_trajectories(frame))[0]["message"]


def test_highlighted_experts_are_named_in_their_colour() -> None:
    rows = rows_of(
        biases.bias_trajectories(frames.bias_frame({0: 0.2, 7: 0.5, 9: -0.3}), highlight=[7, 9, 7, 42])
    )
    named = {row["text"]: row["light"] for row in rows if "text" in row}
    assert named == {"expert 7": theme.EXPERT_INKS[0].light, "expert 9": theme.EXPERT_INKS[1].light}


@pytest.mark.parametrize(
    "given",
    [
        frames.REFERENCES,
        {"uniform_mean": 0.05, "uniform_p95": 0.06, "resampled_mean": 0.10, "resampled_p95": 0.13},
    ],
)
def test_references_are_drawn_and_named(given: dict[str, Any]) -> None:
    rows = rows_of(balance.max_vio_curves(frames.vio_frame(ENDS), references=given))
    drawn = {row["name"]: (row["value"], row["p95"]) for row in rows if "p95" in row}
    assert drawn == {"random routing": (0.05, 0.06), "random routing (whole sequences)": (0.10, 0.13)}
    assert {"random routing", "random routing\nwhole sequences"} <= {row.get("text") for row in rows}


CURVE = pl.DataFrame(
    {"x": [0.0, 39.0], "tokens": [64, 4096], "uniform_mean": [0.4, 0.05], "uniform_p95": [0.6, 0.07]}
)


def test_the_baseline_of_a_growing_batch_is_a_curve_and_no_level_line() -> None:
    frame = frames.vio_frame(ENDS, 40)
    given = {"uniform": (0.05, 0.06), "resampled": (0.10, 0.13)}
    rows = rows_of(balance.max_vio_curves(frame, references=given, curve=CURVE))
    assert [row["value"] for row in rows if row.get("name") == "random routing"] == []
    assert [row["value"] for row in rows if row.get("name") == "random routing (whole sequences)"] == [0.10]
    assert [row["value"] for row in rows if "tokens" in row] == [0.4, 0.05]
    story_rows = rows_of(story.story(frame, reference=0.05, curve=CURVE))
    assert [row["value"] for row in story_rows if "tokens" in row] == [0.4, 0.05]
    assert [row for row in story_rows if set(row) == {"value"}] == []
    level = rows_of(story.story(frame, reference=0.05))
    assert [row["value"] for row in level if set(row) == {"value"}] == [0.05]


def test_unknown_references_are_left_out() -> None:
    given = {"uniform_mean": 0.05, "uniform_p95": None, "resampled_mean": None, "resampled_p95": None}
    assert balance.reference_pairs(given) == {"uniform": (0.05, 0.05)}
    assert balance.reference_pairs(None) == {}
    # With K = E every routing is even: a line at zero would only hide the axis.
    assert balance.reference_pairs({"uniform_mean": 0.0, "uniform_p95": 0.0}) == {}


def test_few_runs_are_labelled_at_their_ends_and_many_in_a_legend() -> None:
    few = balance.max_vio_curves(frames.vio_frame(ENDS), labels=LABELS, families=FAMILIES)
    assert {row["text"] for row in rows_of(few) if "text" in row} == {
        sentence("labels.none"),
        sentence("labels.aux_loss_broken", coeff="0.01", scope="sequence"),
        sentence("labels.loss_free_broken", rate="0.003", scope="global batch"),
    }
    many = balance.max_vio_curves(frames.vio_frame({f"r{i}": float(i) for i in range(6)}))
    assert not [row for row in rows_of(many) if "text" in row]
    assert '"legend": {"columns": 2' in structure_of(many)


def test_a_logarithmic_axis_leaves_zeros_out() -> None:
    frame = frames.vio_frame({"a": 0.0})
    rows = [row for row in rows_of(balance.max_vio_curves(frame, log_y=True)) if "low" in row]
    assert rows
    assert all(row["value"] > 0 and row["low"] > 0 for row in rows)


def test_missing_values_are_skipped_not_drawn() -> None:
    frame = frames.vio_frame({"a": 1.0}).with_columns(
        max_vio=pl.when(pl.col("bin") == 1).then(float("nan")).otherwise(pl.col("max_vio"))
    )
    steps = {row["first_step"] for row in rows_of(balance.max_vio_curves(frame)) if "low" in row}
    assert steps == {0, 20, 30, 40}


def test_the_end_of_the_losses_joins_the_held_out_points_without_bands() -> None:
    train, held = frames.loss_frame({"a": 2.0}, 40), frames.eval_frame({"a": 3.0})
    whole = losses.loss_curves(train, held).to_dict()
    end = losses.loss_curves(train, held, since=50.0).to_dict()
    marks = [layer["mark"]["type"] for layer in end["layer"]]
    assert "area" not in marks
    assert "area" in [layer["mark"]["type"] for layer in whole["layer"]]
    assert marks.count("line") == 2
    steps = [row["x"] for rows in end["datasets"].values() for row in rows if "x" in row]
    assert min(steps) == 50


def test_loss_curves_show_perplexity_of_the_chosen_domain() -> None:
    figure = losses.loss_curves(frames.loss_frame({"a": 2.0}), frames.eval_frame({"a": 3.0}), domain="code")
    values = [row["value"] for row in rows_of(figure) if row.get("x") == 50.0]
    assert values == pytest.approx([np.exp(3.0)])
    with pytest.raises(ConfigError, match="perplexity, lm_loss"):
        losses.loss_curves(frames.loss_frame({"a": 2.0}), metric="accuracy")


def test_held_out_points_alone_are_enough() -> None:
    figure = losses.loss_curves(frames.loss_frame({"a": 2.0}).clear(), frames.eval_frame({"a": 3.0}))
    assert [row["value"] for row in rows_of(figure) if "run" in row] == pytest.approx([np.exp(6), np.exp(3)])


def test_differences_say_what_is_not_significant() -> None:
    rows = rows_of(differences.paired_differences(frames.DIFFERENCES))
    verdicts = {(row["arm"], row["verdict"]) for row in rows if "verdict" in row}
    narrow = {(row["arm"], row["numbers"]) for row in rows if "verdict" in row}
    assert narrow == {("loss-free", "−0.3 ± 0.1"), ("auxiliary loss", "−0.05 ± 0.2"), ("loss-free", "−2")}
    assert verdicts == {
        ("loss-free", "−0.3 ± 0.1"),
        ("auxiliary loss", "−0.05 ± 0.2, " + sentence("captions.not_significant")),
        ("loss-free", "−2, one seed"),
    }
    alone = {**frames.DIFFERENCES[0], "survives": False, "comparisons": 6}
    (verdict,) = (r["verdict"] for r in rows_of(differences.paired_differences([alone])) if "verdict" in r)
    assert verdict == sentence("captions.significance_cell", value="−0.3 ± 0.1", pairs=6)
    seeds = sorted(row["value"] for row in rows if "value" in row)
    assert seeds == [-2.0, -0.35, -0.25, -0.14, 0.04]


def test_domains_that_never_use_an_expert_show_it_as_dead() -> None:
    rows = rows_of(domains.domain_expert_heatmap(frames.domain_frame()))
    assert {(r["domain"], r["expert"]) for r in rows if r["state"] == "no tokens"} == {("prose", 0)}
    assert next(r["value"] for r in rows if r["domain"] == "prose" and r["expert"] == 1) == 1.0


def test_the_story_is_large() -> None:
    text = structure_of(FIGURES["story"]())
    assert '"strokeWidth": 4' in text
    assert '"fontSize": {"expr": "width < 420 ? 12 : 17"}' in text
    assert "width < 420 ? 12 : 15" in text


def test_a_file_gets_a_width_and_keeps_the_original_as_it_was() -> None:
    figure = FIGURES["max_vio_curves"]()
    before = json.dumps(figure.to_dict(), sort_keys=True)
    assert for_file(figure, width=640).to_dict()["width"] == 640
    assert for_file(figure, dark=True).to_dict()["background"] != "#FFFFFF"
    assert json.dumps(figure.to_dict(), sort_keys=True) == before


def test_large_figures_can_be_written() -> None:
    """Altair's limit of 5,000 rows would refuse a heatmap of ordinary size."""
    figure = heatmaps.load_heatmap(frames.heat_frame(200, 64))
    assert max(len(rows) for rows in figure.to_dict()["datasets"].values()) == 12_800


def y_scales(figure: theme.Figure, field: str) -> list[dict[str, Any]]:
    """The scales that layers give to the y axis of this field."""
    encodings = [layer.get("encoding", {}).get("y", {}) for layer in figure.to_dict()["layer"]]
    return [y["scale"] for y in encodings if y.get("field") == field and "scale" in y]


def test_biases_far_from_zero_fill_their_axis() -> None:
    figure = biases.bias_trajectories(frames.bias_frame({0: 7.1, 1: 6.9, 2: 7.0}), highlight=[0, 1])
    scales = y_scales(figure, "expert_bias")
    assert scales
    assert all(scale["zero"] is False and scale["nice"] is False for scale in scales)
    history = pl.DataFrame({"x": [0.0, 1.0], "value": [6.9, 7.0], "expert": [0, 0]})
    one = history.with_columns(low="value", high="value")
    free = microscope.expert_history(history, one, y_title="bias")
    assert [scale["zero"] for scale in y_scales(free, "value")] == [False] * 2
    load = microscope.expert_history(history, one, y_title="load", level=1.0)
    assert [scale["zero"] for scale in y_scales(load, "value")] == [True] * 2


def test_names_at_line_ends_are_a_line_apart_on_the_axis_that_is_drawn() -> None:
    """The axis spans the data, so distances in the data are distances on the screen."""
    height = 300
    frame = frames.bias_frame({0: 7.0, 1: 6.999, 2: 6.9}).with_columns(
        pl.when(pl.col("bin") == 0).then(7.1).otherwise("bias_mean").alias("bias_mean")
    )
    rows = rows_of(biases.bias_trajectories(frame, highlight=[0, 1], height=height))
    drawn = [row["expert_bias"] for row in rows if row.get("name", "").startswith("expert")]
    names = sorted(row["expert_bias"] for row in rows if "text" in row)
    pixels = (names[1] - names[0]) / (max(drawn) - min(drawn)) * height
    assert pixels >= 14


def test_the_step_of_the_widest_biases_is_marked_with_their_difference() -> None:
    frame = frames.bias_frame({0: 0.2, 7: 0.5})
    widest = biases.Widest(step=4, low=-0.2, high=0.5)
    words = [
        row["words"] for row in rows_of(biases.bias_trajectories(frame, widest=widest)) if "words" in row
    ]
    assert words == ["0.70 apart at step 4"]
    assert not [row for row in rows_of(biases.bias_trajectories(frame)) if "words" in row]
