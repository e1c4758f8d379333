"""Captions are computed: every number in them comes from the frame."""

from collections.abc import Callable

import chart_frames as frames
import polars as pl
import pytest
from sentences import sentence

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
    assert captions.load_heatmap(frame) == sentence(
        "captions.loads_over_steps", first=50, last=59, expert=0, times="2.00", idle=1, experts=4
    )
    assert captions.load_heatmap(frame, playhead=23).startswith("In steps 20 to 29, ")
    assert captions.load_heatmap(frame, playhead=-5).startswith("In steps 50 to 59, ")


def test_bars_speak_of_their_step() -> None:
    assert captions.load_bars(frames.loads_frame([1.5, 0.5], step=7)) == sentence(
        "captions.loads_none_idle", step=7, expert=0, times="1.50"
    )
    assert captions.load_bars(frames.loads_frame([0.0, 0.0])) == sentence("captions.loads_no_token", step=7)


def test_compared_heatmaps() -> None:
    frame = frames.heat_frame()
    text = captions.compare_heatmaps(
        {"A": frame, "B": frame.filter(pl.col("expert") > 1), "C": frame.clear()}
    )
    assert text == sentence(
        "captions.loads_of_two", step=5, times="2.00", idle=1, experts=4, other_times="1.00"
    )


def test_biases_say_who_is_helped_and_when_the_bias_decides_alone() -> None:
    text = captions.bias_trajectories(frames.bias_frame({3: 0.25, 8: -0.5}))
    assert sentence("captions.bias_span", step=49, span="0.75") in text
    assert sentence("captions.bias_extremes", most=3, highest="+0.250", least=8, lowest="−0.500") in text
    assert "alone" not in text
    wide = frames.bias_frame({3: 0.6, 8: -0.5})
    assert sentence("captions.bias_alone_decides") in captions.bias_trajectories(wide, gap=1.0)
    assert "alone" not in captions.bias_trajectories(wide, gap=1.2)
    assert "alone" not in captions.bias_trajectories(wide)


def test_max_vio_is_compared_with_every_baseline_that_is_known() -> None:
    frame = frames.vio_frame({"none": 3.4, "lf": 0.13})
    text = captions.max_vio_curves(frame, labels=LABELS, references=frames.REFERENCES)
    assert text == sentence(
        "captions.max_vio_curves", vio="0.13", independent="2.6", sequences="1.3", other="3.40"
    )
    flat = {"uniform_mean": 0.05, "uniform_p95": 0.06, "resampled_mean": None, "resampled_p95": None}
    one = captions.max_vio_curves(frame, references=flat)
    assert sentence("captions.max_vio_independent", ratio="2.6") in one
    assert "baseline" not in captions.max_vio_curves(frame)


def test_a_multiple_stands_beside_the_run_whose_baseline_it_is() -> None:
    frame = frames.vio_frame({"none": 3.4, "lf": 0.13, "even": 0.0})
    text = captions.max_vio_curves(frame, labels=LABELS, references=frames.REFERENCES, baseline_of="lf")
    assert text == sentence(
        "captions.max_vio_zero", even="0.00", vio="0.13", independent="2.6", sequences="1.3", other="3.40"
    )
    alone = captions.max_vio_curves(frames.vio_frame({"even": 0.0}), references=frames.REFERENCES)
    assert alone == sentence("captions.max_vio_zero_alone", even="0.00")


@pytest.mark.parametrize(
    ("ratio", "text"), [(2.1551, "2.2×"), (0.996, "1.0×"), (9.96, "10×"), (57.4, "57×"), (0.123, "0.12×")]
)
def test_a_multiple_of_a_baseline_has_the_two_digits_that_hold(ratio: float, text: str) -> None:
    assert captions.times(ratio) == text


def test_losses_prefer_held_out_text() -> None:
    train, held = frames.loss_frame({"lf": 2.0}), frames.eval_frame({"lf": 2.302585})
    assert captions.loss_curves(train, held, labels=LABELS) == sentence(
        "captions.held_out_perplexity", value="10.0", arm="loss-free"
    )
    assert captions.loss_curves(train, labels=LABELS) == sentence(
        "captions.training_perplexity", value="7.39", arm="loss-free"
    )


def test_differences_tell_resolved_from_open() -> None:
    text = captions.paired_differences(frames.DIFFERENCES)
    assert text == sentence(
        "captions.significance",
        yes="perplexity with loss-free (−0.3)",
        no="perplexity with auxiliary loss; MaxVio with loss-free",
    )
    assert captions.paired_differences(frames.DIFFERENCES[1:2]) == sentence(
        "captions.significance_none", no="perplexity with auxiliary loss"
    )


def test_differences_say_how_many_they_are_and_which_survive_together() -> None:
    first, second, _ = frames.DIFFERENCES
    rows = [
        {**first, "survives": True, "comparisons": 6},
        {**first, "arm": "quantile", "survives": False, "comparisons": 6},
        {**second, "survives": False, "comparisons": 6},
    ]
    assert captions.paired_differences(rows) == sentence(
        "captions.significance_family",
        pairs=6,
        yes="perplexity with loss-free (−0.3)",
        alone="perplexity with quantile (−0.3)",
        no="perplexity with auxiliary loss",
    )


def test_the_strongest_specialist() -> None:
    assert captions.domain_expert_heatmap(frames.domain_frame()) == sentence(
        "captions.loads_of_domain", expert=1, times="2.00", domain="prose"
    )


def test_equal_biases_help_nobody() -> None:
    text = captions.bias_trajectories(frames.bias_frame({0: 0.0, 1: 0.0}))
    assert text.endswith(sentence("captions.bias_all_equal", bias="+0.000"))
    assert "helped" not in text
    one = captions.bias_trajectories(frames.bias_frame({0: 0.5, 1: float("nan"), 2: 0.5}))
    assert sentence("captions.bias_finite_equal", bias="+0.500") in one


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
    assert captions.alt_text("Loads", "Expert 3 is idle.") == sentence(
        "captions.loads_subject_idle", expert=3
    )
    assert captions.alt_text("Loads", "") == "Loads: no data."
