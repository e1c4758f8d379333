"""Values that are not finite are said, marked and counted, and never taken for an end or an extreme."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rolled_up import layer_bins
from sentences import sentence
from store_runs import make_info

from explorer.charts import biases as bias_charts
from explorer.charts import captions, series, theme
from explorer.charts import losses as loss_charts
from explorer.figures import probe_sentences
from explorer.figures.biases import extremes
from explorer.figures.final import spread
from explorer.figures.quality import not_drawn
from explorer.queries import biases, comparison, events, losses
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EvalRecord, LoadRecord, StepRecord
from explorer.store import Index

NAN, INF = math.nan, math.inf
Loss = Callable[[int], float | None]


def falling(step: int) -> float:
    return 2 + 2 / (1 + step / 20)


def write(
    base: Path,
    run_id: str = "run",
    *,
    loss: Loss = falling,
    bias: Callable[[int], list[float]] | None = None,
    steps: int = 120,
    held_out: float | None = None,
    seed: int = 0,
) -> None:
    """A run of one layer with four experts."""
    recorder = RunWriter.create(base / "runs", make_info(run_id, layers=1, num_steps=steps, seed=seed))
    for step in range(steps):
        recorder.record(StepRecord(step=step, tokens_seen=64 * (step + 1), lm_loss=loss(step)))
        b = None if bias is None else np.array([bias(step)], dtype=np.float32)
        recorder.record(LoadRecord(step=step, tokens_LE=np.array([[40, 30, 30, 28]]), expert_bias_LE=b))
        recorder.step_done(step)
    if held_out is not None:
        recorder.record(
            EvalRecord(step=steps, split="held_out", domain="x", lm_loss=held_out, num_tokens=9, num_bytes=9)
        )
    recorder.finish("finished")


VALUES = {"NaN": NAN, "infinite": INF, "minus infinity": -INF}


def end_nan(step: int) -> float:
    return NAN if step >= 60 else falling(step)


def two_odd(step: int) -> list[float]:
    return [0.1, -0.1, NAN if step >= 50 else 0.3, INF if step == 20 else 0.0]


LATE = {300: NAN, 600: INF, 900: -INF}
RUNS: dict[str, dict[str, Any]] = {
    "good": {},
    "ends-nan": {"loss": end_nan},
    "spike": {"loss": lambda step: INF if step == 80 else falling(step)},
    "sparse": {"loss": lambda step: None if step % 3 else falling(step)},
    "huge": {"loss": lambda step: 5000.0 if step > 100 else falling(step), "held_out": 5000.0},
    "odd-biases": {"bias": two_odd},
    "no-bias-left": {"bias": lambda step: [NAN] * 4, "steps": 5},
    "held-nan": {"held_out": NAN},
    "held-2": {"held_out": 2.0},
    "held-2.1": {"held_out": 2.1},
    **{
        f"two {word}": {"loss": lambda step, value=value: value if step in (70, 71) else falling(step)}
        for word, value in VALUES.items()
    },
    "long": {
        "loss": lambda step: LATE.get(step, 3.0),
        "bias": lambda step: [0.1, -0.1, LATE.get(step, 0.2), 0.0],
        "steps": 1088,
    },
}


@pytest.fixture(scope="module")
def cur(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An index of all these runs."""
    base = tmp_path_factory.mktemp("not-finite")
    for name, how in RUNS.items():
        write(base, name.replace(" ", "-"), **how)
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base / "runs"])
        with index.cursor() as cursor:
            yield cursor


@pytest.mark.parametrize("word", VALUES)
def test_a_loss_that_is_not_finite_is_an_event(cur: Any, word: str) -> None:
    event_rows = events.events(cur, f"two-{word.replace(' ', '-')}").select("step", "kind", "detail").rows()
    assert event_rows == [
        (70, "loss_not_finite", sentence("events.loss_not_finite", value=word, steps=2, until=72))
    ]


def test_a_run_that_ends_in_nan_does_not_end_where_it_was_last_well(cur: Any) -> None:
    frame = losses.loss_series(cur, ["ends-nan", "good"])
    text = captions.loss_curves(frame, labels={"ends-nan": "B", "good": "G"})
    good, last = math.exp(falling(119)), math.exp(falling(59))
    assert text == sentence(
        "captions.training_not_finite_from",
        value=captions.number(good),
        arm="G",
        step=60,
        other="B",
        last=captions.number(last),
    )
    chart = loss_charts.loss_curves(frame.filter(pl.col("run_id") == "ends-nan")).to_dict()
    rows = [row for data in chart["datasets"].values() for row in data]
    shades = [(row["start"], row["end"], row["words"]) for row in rows if "named" in row]
    assert shades == [(60.0, 119.0, sentence("events.recorded_steps_of", finite=60, first=60, last=119))]
    assert max(row["x"] for row in rows if set(row) == {"x"}) == 119.0, "the axis covers all steps"


def test_a_spike_to_infinity_breaks_the_line_and_is_counted(cur: Any) -> None:
    frame = losses.loss_series(cur, ["spike"])
    ends = {"value": "lm_loss", "low": "lm_loss_min", "high": "lm_loss_max"}
    data = series.tidy(frame, theme.run_styles(["spike"]), odd=loss_charts.NOT_FINITE, **ends)
    assert data.filter(pl.col("value").is_null())["x"].to_list() == [80.0]
    assert captions.loss_curves(frame, labels={"spike": "R"}) == sentence(
        "captions.training_not_finite_once", value=captions.number(math.exp(falling(119))), arm="R"
    )


def test_losses_that_were_not_recorded_are_no_break(cur: Any) -> None:
    frame = losses.loss_series(cur, ["sparse"])
    assert events.events(cur, "sparse").is_empty()
    assert frame["lm_loss_not_finite"].sum() == 0
    assert "not finite" not in captions.loss_curves(frame)


def test_one_value_does_not_blank_the_bins_of_a_long_run(cur: Any) -> None:
    """Rolled up: the bin keeps mean and extremes of its finite samples and counts the other one."""
    loss = losses.loss_series(cur, ["long"], max_bins=20)
    lines = biases.bias_trajectories(cur, "long", 0, max_bins=20).filter(pl.col("expert") == 2)
    spreads = layer_bins(cur, "long", "bias_spread", None, max_bins=20)
    rolled = "SELECT sum(lm_loss_not_finite) FROM step_bins WHERE level = 4 AND run_id = 'long'"
    assert cur.execute(rolled).fetchone() == (3,)
    assert loss["lm_loss"].to_list() == pytest.approx([3.0] * loss.height)
    assert loss["lm_loss_max"].to_list() == [3.0] * loss.height
    assert loss["lm_loss_not_finite"].sum() == 3
    assert lines["bias_mean"].to_list() == pytest.approx([0.2] * lines.height)
    assert lines["bias_not_finite"].sum() == 3
    assert [row["value"] for row in spreads] == pytest.approx([0.3] * len(spreads))


def test_a_bias_that_is_not_finite_is_named_and_no_extreme(cur: Any) -> None:
    frame = biases.bias_trajectories(cur, "odd-biases", 0)
    event_rows = events.events(cur, "odd-biases").select("step", "layer", "expert", "kind", "detail").rows()
    assert captions.bias_trajectories(frame) == sentence(
        "captions.bias_finite_span",
        step=119,
        span="0.20",
        most=0,
        highest="+0.100",
        least=1,
        lowest="−0.100",
        end=2,
        way=3,
    )
    assert extremes(frame) == [0, 1]
    assert event_rows == [
        (20, 0, 3, "bias_not_finite", sentence("events.bias_infinite", steps=1, until=21)),
        (50, 0, 2, "bias_not_finite", sentence("events.bias_nan_to_the_end", steps=70)),
    ]
    rows = bias_charts.bias_trajectories(frame, highlight=[2]).to_dict()["datasets"].values()
    crosses = [data for data in rows if data and set(data[0]) == {"x", "expert", "expert_bias", "name"}]
    assert [(row["x"], row["expert"]) for row in min(crosses, key=len)] == [(49.0, 2), (19.0, 3)]
    at = pl.col("first_step").cast(pl.Float64)
    one = frame.filter(pl.col("expert") == 2).select(x=at, value="bias_mean")
    assert probe_sentences.history(one, 2, 10, quantity="bias") == sentence(
        "captions.bias_not_finite_from", expert=2, bias="+0.300", step=10, since=50
    )


def test_biases_of_which_none_is_finite_are_not_called_missing(cur: Any) -> None:
    frame = biases.bias_trajectories(cur, "no-bias-left", 0)
    assert captions.bias_trajectories(frame) == sentence(
        "captions.bias_none_finite", step=4, experts="0, 1, 2 and 3"
    )
    assert extremes(frame) == []
    message = next(iter(bias_charts.bias_trajectories(frame).to_dict()["datasets"].values()))[0]["message"]
    assert message == sentence("captions.bias_none_finite_short")


def test_a_final_evaluation_that_is_not_finite_is_in_no_ranking_and_no_pair(cur: Any) -> None:
    ids = ["held-nan", "held-2", "huge"]
    train, held = losses.loss_series(cur, ids), losses.eval_series(cur, ids)
    summary = comparison.summary(cur, ids)
    broken = comparison.paired(cur, ["held-nan"], ["held-2"], "perplexity")
    assert (broken.differences, broken.unpaired_runs) == ({}, ("held-nan", "held-2"))
    whole = comparison.paired(cur, ["held-2.1"], ["held-2"], "lm_loss")
    assert whole.differences == pytest.approx({0: 0.1})
    assert captions.loss_curves(train, held) == sentence(
        "captions.held_out_not_finite", value="7.39", arm="held-2", others="held-nan and huge"
    )
    assert spread(summary["perplexity"]) == sentence("captions.not_finite_seeds", bad=2, seeds=3)
    assert spread(summary["perplexity"][:1]) == "not finite"
    assert not_drawn(summary) == sentence("captions.metric_not_drawn", arms="held-nan, huge")
    assert not_drawn(summary[1:2]) == ""
    loss_charts.loss_curves(train, held)


def test_a_loss_beyond_what_a_perplexity_can_hold_is_drawn_as_a_loss(cur: Any) -> None:
    frame = losses.loss_series(cur, ["huge"])
    assert sentence("captions.training_not_finite_at_end", arm="huge") in captions.loss_curves(frame)

    def shades(**how: Any) -> list[tuple[float, float]]:
        chart = loss_charts.loss_curves(frame, **how).to_dict()
        rows = [row for data in chart["datasets"].values() for row in data]
        return [(row["start"], row["end"]) for row in rows if "named" in row]

    assert shades(metric="lm_loss", log_y=False) == []
    assert shades() == [(101.0, 119.0)]


def test_a_number_in_a_sentence() -> None:
    assert [captions.number(value) for value in (NAN, INF, -INF, 0.0)] == [*["not finite"] * 3, "0.00"]
