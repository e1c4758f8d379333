"""Captions are computed: every number in them comes from the frame."""

from collections.abc import Callable

import chart_frames as frames
import polars as pl
import pytest

from explorer.charts import captions, ranking

LABELS = {"lf": "loss-free", "none": "no balancing"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.123, "0.12"),
        (0.00123, "0.0012"),
        (3.4567, "3.46"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (-0.5, "-0.50"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert captions.number(value) == text


def test_the_heatmap_names_the_busiest_and_counts_the_idle() -> None:
    frame = frames.heat_frame(6, each=10)
    assert captions.load_heatmap(frame) == (
        "In steps 50 to 59 expert 0 takes 2.00 times its uniform share; 1 of 4 receive none."
    )
    assert captions.load_heatmap(frame, playhead=23).startswith("In steps 20 to 29 ")
    assert captions.load_heatmap(frame, playhead=-5).startswith("In steps 50 to 59 ")


def test_bars_speak_of_their_step() -> None:
    assert captions.load_bars(frames.loads_frame([1.5, 0.5], step=7)) == (
        "At step 7 expert 0 takes 1.50 times its uniform share; none of the 2 is idle."
    )
    assert captions.load_bars(frames.loads_frame([0.0, 0.0])) == "At step 7 no expert received a token."


def test_compared_heatmaps() -> None:
    frame = frames.heat_frame()
    text = captions.compare_heatmaps(
        {"A": frame, "B": frame.filter(pl.col("expert") > 1), "C": frame.clear()}
    )
    assert text == (
        "At step 5 the busiest expert takes 2.00 times uniform with A (1 of 4 experts idle in these steps) "
        "and 1.00 times uniform with B."
    )


def test_biases_say_who_is_helped_and_when_the_bias_decides_alone() -> None:
    text = captions.bias_trajectories(frames.bias_frame({3: 0.25, 8: -0.5}))
    assert "At step 49 the biases span 0.75" in text
    assert "expert 3 is helped most (+0.250), expert 8 held back most (-0.500)." in text
    assert "alone" not in text
    wide = frames.bias_frame({3: 0.6, 8: -0.5})
    assert "the bias alone decides" in captions.bias_trajectories(wide, gap=1.0)
    assert "alone" not in captions.bias_trajectories(wide, gap=1.2)
    assert "alone" not in captions.bias_trajectories(wide)


def test_max_vio_is_compared_with_every_baseline_that_is_known() -> None:
    frame = frames.vio_frame({"none": 3.4, "lf": 0.13})
    text = captions.max_vio_curves(frame, labels=LABELS, references=frames.REFERENCES)
    assert text == (
        "Over all steps loss-free sits at MaxVio 0.13, 2.6× the random-routing baseline of independent "
        "tokens and 1.3× that of whole sequences; no balancing at 3.40."
    )
    flat = {"uniform_mean": 0.05, "uniform_p95": 0.06, "resampled_mean": None, "resampled_p95": None}
    one = captions.max_vio_curves(frame, references=flat)
    assert "2.6× the random-routing baseline of independent tokens; " in one
    assert "baseline" not in captions.max_vio_curves(frame)


def test_a_multiple_stands_beside_the_run_whose_baseline_it_is() -> None:
    frame = frames.vio_frame({"none": 3.4, "lf": 0.13, "even": 0.0})
    text = captions.max_vio_curves(frame, labels=LABELS, references=frames.REFERENCES, baseline_of="lf")
    assert text == (
        "Over all steps even sits at MaxVio 0.00; loss-free at 0.13 (2.6× the random-routing baseline of "
        "independent tokens and 1.3× that of whole sequences) and no balancing at 3.40."
    )
    alone = captions.max_vio_curves(frames.vio_frame({"even": 0.0}), references=frames.REFERENCES)
    assert alone == "Over all steps even sits at MaxVio 0.00."


@pytest.mark.parametrize(
    ("ratio", "text"), [(2.1551, "2.2×"), (0.996, "1.0×"), (9.96, "10×"), (57.4, "57×"), (0.123, "0.12×")]
)
def test_a_multiple_of_a_baseline_has_the_two_digits_that_hold(ratio: float, text: str) -> None:
    assert captions.times(ratio) == text


def test_losses_prefer_held_out_text() -> None:
    train, held = frames.loss_frame({"lf": 2.0}), frames.eval_frame({"lf": 2.302585})
    assert (
        captions.loss_curves(train, held, labels=LABELS) == "Held-out perplexity ends at 10.0 with loss-free."
    )
    assert captions.loss_curves(train, labels=LABELS) == "Training perplexity ends at 7.39 with loss-free."


def test_differences_tell_resolved_from_open() -> None:
    text = captions.paired_differences(frames.DIFFERENCES)
    assert text == (
        "Significant (95 % CI excludes 0): perplexity with loss-free (-0.3). Not significant: perplexity "
        "with auxiliary loss and MaxVio with loss-free."
    )
    assert captions.paired_differences(frames.DIFFERENCES[1:2]) == (
        "Not significant: perplexity with auxiliary loss."
    )


def test_differences_say_how_many_they_are_and_which_survive_together() -> None:
    first, second, _ = frames.DIFFERENCES
    rows = [
        {**first, "survives": True, "comparisons": 6},
        {**first, "arm": "quantile", "survives": False, "comparisons": 6},
        {**second, "survives": False, "comparisons": 6},
    ]
    assert captions.paired_differences(rows) == (
        "Significant among 6 pairs of arms, figure by figure (Holm, 5 % in all): perplexity with loss-free "
        "(-0.3). Significant alone (95 % CI excludes 0) but not among 6 pairs of arms, figure by figure "
        "(Holm, 5 % in all): perplexity with quantile (-0.3). Not significant: perplexity with auxiliary "
        "loss."
    )


def test_the_strongest_specialist() -> None:
    assert captions.domain_expert_heatmap(frames.domain_frame()) == (
        "Expert 1 takes 2.00 times its uniform share of prose."
    )


def test_equal_biases_help_nobody() -> None:
    text = captions.bias_trajectories(frames.bias_frame({0: 0.0, 1: 0.0}))
    assert text.endswith("all biases are equal (+0.000).")
    assert "helped" not in text
    one = captions.bias_trajectories(frames.bias_frame({0: 0.5, 1: float("nan"), 2: 0.5}))
    assert "all finite biases are equal (+0.500)." in one


EMPTY: list[Callable[[], str]] = [
    lambda: captions.load_heatmap(frames.heat_frame().clear()),
    lambda: captions.load_bars(frames.loads_frame([1.0]).clear()),
    lambda: captions.compare_heatmaps({}),
    lambda: captions.bias_trajectories(frames.bias_frame({0: 1.0}).clear()),
    lambda: captions.max_vio_curves(frames.vio_frame({"a": 1.0}).clear()),
    lambda: captions.loss_curves(
        frames.loss_frame({"a": 1.0}).clear(), frames.eval_frame({"a": 1.0}).clear()
    ),
    lambda: ranking.dilemma_plane(frames.summary_frame(frames.SWEEP).clear()),
    lambda: ranking.dilemma_plane(frames.summary_frame([("none", "none", 0, None, None)])),
    lambda: captions.paired_differences([]),
    lambda: captions.domain_expert_heatmap(frames.domain_frame().clear()),
]


@pytest.mark.parametrize("caption", EMPTY)
def test_an_empty_frame_gives_a_sentence_without_numbers(caption: Callable[[], str]) -> None:
    text = caption()
    assert text.endswith(".")
    assert not any(character.isdigit() for character in text)


def test_the_accessible_name_says_what_and_then_the_finding() -> None:
    assert captions.alt_text("Loads", "Expert 3 is idle.") == "Loads: expert 3 is idle."
    assert captions.alt_text("Loads", "") == "Loads: no data."
