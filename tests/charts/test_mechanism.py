"""How rules act: the queries against numbers made by hand, the figures, and what their words say."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import vl_convert
from chart_samples import for_file, rows_of
from sentences import sentence
from store_runs import make_info, random_counts, record_steps

from explorer import metrics
from explorer.charts import mechanism as charts
from explorer.charts import mechanism_words as words
from explorer.charts import theme
from explorer.queries import mechanism
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LayerRecord, ProbeRecord
from explorer.store import Index

NAN, INF = float("nan"), float("inf")
ENDS = ("", "_min", "_max", "_not_finite")
BIN = ["run_id", "bin", "first_step", "last_step", "x"]


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def choices(seed: int) -> np.ndarray:
    """[P = 6, L = 2, K = 2]; the probe of step 4 has an empty slot in token 0 of layer 0."""
    rng = np.random.default_rng(seed)
    picked = np.array([[rng.permutation(4)[:2] for _ in range(2)] for _ in range(6)])
    if seed == 4:
        picked[0, 0, 1] = 4
    return picked


def write(base: Path, name: str, records: list[Any]) -> None:
    with RunWriter.create(base, make_info(name)) as recorder:
        by_step = {step: [r for r in records if r.step == step] for step in range(12)}
        counts = random_counts(12, 2, 4)
        for step in range(12):
            for record in by_step[step]:
                recorder.record(record)
            record_steps(recorder, counts[step : step + 1], [step])


@pytest.fixture(scope="module")
def cur(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    base = tmp_path_factory.mktemp("mechanism")
    write(
        base / "runs",
        "aux",
        [
            LayerRecord(
                step=step,
                score_margin_L=floats(0.1, 0.3) if step != 5 else None,
                router_grad_norm_lm_L=floats(2 + step, 4 + step),
                router_grad_norm_aux_L=floats(1, 3),
                router_grad_cosine_L=floats(-0.5, NAN if step == 10 else 0.25),
            )
            for step in (0, 5, 10)
        ],
    )
    probes = [ProbeRecord(step=step, router_logits_PLE=np.zeros((6, 2, 4), np.float32),
                          selected_experts_PLK=choices(step)) for step in (0, 4, 11)]  # fmt: skip
    bias = [
        LayerRecord(step=step, score_margin_L=floats(0.2, 0.4), switched_slots_L=np.array([16, 32 + step]))
        for step in (0, 10)
    ]
    lonely = [LayerRecord(step=5, router_grad_norm_lm_L=floats(1, 1))]
    write(base / "runs", "bias", [*probes, *bias, *lonely])
    write(base / "runs", "old", [])
    inf = [
        LayerRecord(
            step=s, router_grad_norm_lm_L=floats(INF, 4 if s else INF), router_grad_norm_aux_L=floats(1, 1)
        )
        for s in (0, 3, 6)
    ]
    write(base / "runs", "inf", inf)
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base / "runs"])
        with index.cursor() as cursor:
            yield cursor


def test_gradients_are_means_over_layers_with_their_range(cur: Any) -> None:
    gradients = mechanism.router_gradients(cur, ["aux", "bias", "old"])
    assert gradients.columns == [
        *BIN,
        *(f"{name}{end}" for name in ("lm", "aux", "cosine") for end in ENDS),
        "samples",
    ]
    rows = gradients.filter(pl.col("run_id") == "aux").to_dicts()
    assert [r["last_step"] for r in rows] == [r["x"] for r in rows] == [0, 5, 10]
    assert [r["lm"] for r in rows] == [3, 8, 13]
    assert [(r["lm_min"], r["lm_max"]) for r in rows] == [(2, 4), (7, 9), (12, 14)]
    assert [r["aux"] for r in rows] == [2, 2, 2]
    # A gradient of zero has no direction: that layer is left out of the mean.
    assert [r["cosine"] for r in rows] == [-0.125, -0.125, -0.5]
    (alone,) = gradients.filter(pl.col("run_id") == "bias").to_dicts()
    assert (alone["first_step"], alone["lm"], alone["aux"], alone["cosine"]) == (5, 1, None, None)
    assert gradients.filter(pl.col("run_id") == "old").is_empty()


def test_gradients_that_are_not_finite_are_counted_and_in_no_mean(cur: Any) -> None:
    gradients = mechanism.router_gradients(cur, ["inf"])
    assert gradients["lm"].to_list() == [None, 4, 4]
    assert gradients["lm_max"].to_list() == [None, 4, 4]
    assert gradients["lm_not_finite"].to_list() == [2, 1, 1]
    text = words.gradient_norms(gradients, labels={"inf": "I"})
    assert sentence("captions.gradient_share", share="25.0 %", arm="I") in text
    assert sentence("captions.gradient_not_finite", values=4, arm="I") in text
    drawn = [row for rows in charts.gradient_norms(gradients).to_dict()["datasets"].values() for row in rows]
    assert any(row.get("x") == 0.0 and row["value"] is None for row in drawn if "value" in row)


def test_one_layer_and_few_bins(cur: Any) -> None:
    gradients = mechanism.router_gradients(cur, ["aux"], layer=1, max_bins=2)
    assert gradients.select("bin", "first_step", "last_step", "samples").rows() == [
        (0, 0, 5, 2),
        (1, 10, 10, 1),
    ]
    assert gradients["lm"].to_list() == [(4 + 9) / 2, 14]
    assert gradients["lm_max"].to_list() == [9, 14]


def test_margins_and_switched_shares(cur: Any) -> None:
    choice_figures = mechanism.choices(cur, ["aux", "bias", "old"])
    figures = [f"{name}{end}" for name in ("margin", "switched") for end in ENDS]
    assert choice_figures.columns == [*BIN, *figures, "samples"]
    aux = choice_figures.filter(pl.col("run_id") == "aux")
    assert aux["last_step"].to_list() == [0, 10]
    assert aux["margin"].to_list() == pytest.approx([0.2, 0.2])
    assert aux["switched"].to_list() == [None, None]
    bias = choice_figures.filter(pl.col("run_id") == "bias")
    # 64 tokens with two experts each.
    assert bias["switched"].to_list() == pytest.approx([(16 + 32) / 2 / 128, (16 + 42) / 2 / 128])
    assert bias["switched_max"].to_list() == pytest.approx([32 / 128, 42 / 128])


def test_churn_is_that_of_the_metric(cur: Any) -> None:
    churn = mechanism.choice_churn(cur, ["aux", "bias", "old"])
    assert churn.columns == [*BIN, "churn", "churn_min", "churn_max", "chance"]
    assert churn.select("run_id", "bin", "first_step", "last_step").rows() == [
        ("bias", 1, 0, 4),
        ("bias", 2, 4, 11),
    ]
    for row, (before, after) in zip(churn.to_dicts(), [(0, 4), (4, 11)], strict=True):
        by_layer = metrics.churn(
            choices(before).transpose(1, 0, 2), choices(after).transpose(1, 0, 2), num_experts=4
        )
        assert row["churn"] == pytest.approx(by_layer.mean())
        assert (row["churn_min"], row["churn_max"]) == (
            pytest.approx(by_layer.min()),
            pytest.approx(by_layer.max()),
        )
        assert row["chance"] == 0.5
        assert 0 < row["churn"] < 1


QUERIES: list[Callable[..., pl.DataFrame]] = [
    mechanism.router_gradients,
    mechanism.choices,
    mechanism.choice_churn,
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.__name__)
def test_unknown_and_no_runs_give_the_same_columns_without_rows(cur: Any, query: Any) -> None:
    for ids in ([], ["nobody"], ["old"]):
        assert query(cur, ids).height == 0
        assert query(cur, ids).schema == query(cur, ["bias", "aux"]).schema


# Figures and words.

LABELS = {"none": "no balancing", "aux": "auxiliary loss α=0.01 (sequence scope)", "lf": "loss-free u=0.003"}
FAMILIES = {"none": "none", "aux": "aux_loss", "lf": "loss_free"}
STYLE: dict[str, Any] = {"labels": LABELS, "families": FAMILIES}


def lines(values: dict[str, dict[str, list[float | None]]]) -> pl.DataFrame:
    """A frame with the columns of the queries; steps 0, 25, 50, 75."""
    names = list(dict.fromkeys(name for columns in values.values() for name in columns))
    parts = []
    for run_id, columns in values.items():
        steps = [25 * i for i in range(4)]
        part: dict[str, Any] = {"run_id": [run_id] * 4, "bin": range(4), "x": [float(s) for s in steps]}
        part |= {"first_step": steps, "last_step": steps}
        for name in names:
            column = pl.Series(columns.get(name) or [None] * 4, dtype=pl.Float64)
            part |= {name: column, f"{name}_min": column, f"{name}_max": column}
        parts.append(pl.DataFrame(part))
    return pl.concat(parts)


GRADIENTS = lines(
    {
        "none": {"lm": [2.0, 2.0, 4.0, 4.0]},
        "aux": {"lm": [2.0, 2.0, 4.0, 4.0], "aux": [1.0, 1.0, 1.0, 1.0], "cosine": [0.1, -0.1, -0.2, -0.2]},
    }
)
CHOICES = lines({"none": {"margin": [0.1] * 4}, "lf": {"margin": [0.02] * 4, "switched": [0, 0.1, 0.2, 0.3]}})
CHURN = lines({"none": {"churn": [0.2] * 4}, "lf": {"churn": [0.6, 0.5, 0.5, 0.4]}}).with_columns(
    chance=0.875
)

FIGURES: dict[str, Callable[[], theme.Figure]] = {
    "gradient_norms": lambda: charts.gradient_norms(GRADIENTS, **STYLE),
    "gradient_cosines": lambda: charts.gradient_cosines(GRADIENTS, **STYLE),
    "score_margins": lambda: charts.score_margins(CHOICES, **STYLE),
    "switched_share": lambda: charts.switched_share(CHOICES, **STYLE),
    "churn": lambda: charts.churn(CHURN, **STYLE),
}
EMPTY: dict[str, Callable[[], theme.Figure]] = {
    "gradient_norms": lambda: charts.gradient_norms(GRADIENTS.clear(), **STYLE),
    "gradient_cosines": lambda: charts.gradient_cosines(
        GRADIENTS.filter(pl.col("run_id") == "none"), **STYLE
    ),
    "score_margins": lambda: charts.score_margins(CHOICES.clear(), **STYLE),
    "switched_share": lambda: charts.switched_share(CHOICES.filter(pl.col("run_id") == "none"), **STYLE),
    "churn": lambda: charts.churn(CHURN.clear(), **STYLE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_as_wide_as_its_place(name: str) -> None:
    figure = FIGURES[name]()
    vl_convert.vegalite_to_vega(figure.to_dict())
    assert vl_convert.vegalite_to_svg(for_file(figure).to_dict()).count("<path") > 4
    assert figure.to_dict()["width"] == "container"


@pytest.mark.parametrize("name", EMPTY)
def test_what_was_not_recorded_is_said(name: str) -> None:
    assert rows_of(EMPTY[name]())[0]["message"].startswith("no ")


def test_both_gradients_of_an_arm_have_one_colour_and_two_dashes() -> None:
    rows = [row for row in rows_of(FIGURES["gradient_norms"]()) if "source" in row]
    drawn = {(row["run_id"], row["source"]) for row in rows}
    assert drawn == {("none", "language loss"), ("aux", "language loss"), ("aux", "auxiliary losses")}
    text = str(FIGURES["gradient_norms"]().to_dict())
    assert "'type': 'log'" in text
    # The arm with two lines is named at its dashed one, the other at its only one.
    labels = {row["text"]: row["value"] for row in rows_of(FIGURES["gradient_norms"]()) if "shift" in row}
    assert labels[sentence("labels.aux_loss_broken", coeff="0.01", scope="sequence")] == pytest.approx(
        1.0, rel=0.3
    )
    assert labels[sentence("labels.none")] == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize(("name", "at"), [("gradient_cosines", 0.0), ("churn", 0.875)])
def test_a_rule_marks_what_chance_or_nothing_would_show(name: str, at: float) -> None:
    assert {"rule": at} in rows_of(FIGURES[name]())


def test_words_about_gradients() -> None:
    caption = words.gradient_norms(GRADIENTS, labels=LABELS)
    assert (
        sentence(
            "captions.gradient_share_short", share="25.0 %", arm="auxiliary loss α=0.01 (sequence scope)"
        )
        in caption
    )
    assert sentence("captions.gradient_none", arm="no balancing") in caption
    # The third arm of the page has no gradients at all, and that is said too.
    assert caption.endswith(sentence("captions.not_recorded", arm="loss-free u=0.003"))
    assert words.gradient_norms(GRADIENTS.clear(), labels=LABELS) == words.MISSING
    cosines = words.gradient_cosines(GRADIENTS, labels=LABELS)
    assert sentence("captions.cosine_mean", value="−0.10", arm="auxiliary loss") in cosines
    assert sentence("captions.cosine_below_zero", steps=3, sampled=4) in cosines
    assert sentence("captions.cosine_no_auxiliary") in words.gradient_cosines(GRADIENTS.clear())


def test_words_about_choices() -> None:
    caption = words.choices(CHOICES, labels=LABELS)
    assert (
        sentence(
            "captions.margins",
            value="0.02",
            arm="loss-free u=0.003",
            other_value="0.10",
            other="no balancing",
        )
        in caption
    )
    assert sentence("captions.switched_slots", share="25.0 %", arm="loss-free u=0.003") in words.switched(
        CHOICES, labels=LABELS
    )
    assert sentence("captions.no_bias_in_runs") in words.switched(CHOICES.filter(pl.col("run_id") == "none"))
    assert sentence(
        "captions.margins",
        value="20.0 %",
        arm="no balancing",
        other_value="40.0 %",
        other="loss-free u=0.003",
    ) in words.churn(CHURN, labels=LABELS)
    assert "random routing would give 87.5 %" in words.churn(CHURN, labels=LABELS)
    assert sentence("captions.kept_probe") in words.churn(CHURN.clear())
