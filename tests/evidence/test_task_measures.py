"""Metrics from the results of tasks, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from explorer.evidence.task_measures import (
    kl_over_static,
    mean_rise,
    of_answers,
    of_completions,
    of_long_context,
    steps_to,
    target_loss,
)

STATIC = [
    {"distinct_per_layer": 8.0, "kl": 0.0},
    {"distinct_per_layer": 4.0, "kl": 0.4},
    {"distinct_per_layer": 6.0, "kl": 0.1},
]


@pytest.mark.parametrize(
    ("distinct", "kl", "expected"),
    [
        (6.0, 0.1, 0.0),
        (5.0, 0.05, 0.05 - 0.25),
        (7.0, 0.2, 0.2 - 0.05),
        # Fewer than any static k: compared with k = 1. More than full routing: with full routing.
        (2.0, 0.3, 0.3 - 0.4),
        (9.0, 0.01, 0.01),
    ],
)
def test_kl_at_equal_distinct_experts(distinct: float, kl: float, expected: float) -> None:
    row = {"distinct_per_layer": distinct, "kl": kl}
    assert kl_over_static(row, STATIC) == pytest.approx(expected)


def test_the_first_crossing_counts_and_lies_between_evaluations() -> None:
    assert steps_to(5.0, [0, 10, 20, 30], [7.0, 6.0, 4.0, 5.5]) == 15.0
    assert steps_to(5.0, [0, 10], [4.0, 3.0]) == 0.0
    assert steps_to(5.0, [0, 10], [7.0, 5.1]) is None


def test_only_rises_count() -> None:
    assert mean_rise([5.0, 4.0, 4.3, 4.2, 4.3]) == pytest.approx(0.4 / 4)
    assert mean_rise([5.0]) is None


def row(kind: str, length: int, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "length": length, "floor": 0.5, "loss": 3.0, **values}


def long_result(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"long_context": {"counts": {"training_length": 64}, "rows": list(rows)}}


def length_row(length: int, max_vio: float, excess: float | None) -> dict[str, Any]:
    gpus = {"gpu_max_vio contiguous": 0.6, "gpu_max_vio eplb": 0.2}
    return row("length", length, max_vio=max_vio, excess=excess, **gpus)


def test_lengths_are_factors_of_the_training_length() -> None:
    results = long_result(
        length_row(64, 0.7, 0.2),
        row("bucket", 64, first=0, excess=9.0),
        length_row(512, 1.0, 0.5),
        row("bucket", 512, first=256, excess=0.3),
        row("domain", 512, domain="cpp", excess=0.4),
    )
    measures = of_long_context(None, results, "quick")  # type: ignore[arg-type]
    assert measures["excess_8x"] == 0.5
    assert measures["excess_growth"] == pytest.approx(0.3)
    assert measures["max_vio_growth"] == pytest.approx(0.3)
    assert measures["eplb_gain"] == pytest.approx(-0.4)
    assert measures["excess_8x_from_4x"] == 0.3
    assert measures["excess_8x_cpp"] == 0.4
    assert 9.0 not in measures.values()


def test_a_length_that_the_text_does_not_reach_has_no_growth() -> None:
    results = long_result(length_row(64, 0.7, 0.2), length_row(128, 0.8, None))
    measures = of_long_context(None, results, "quick")  # type: ignore[arg-type]
    assert (measures["excess_2x"], measures["excess_growth"], measures["eplb_gain"]) == (None, None, None)


@pytest.mark.parametrize(("steps", "target"), [(200, 4.8), (50, 5.6), (12, 6.2)])
def test_every_share_of_the_data_has_its_target(steps: int, target: float) -> None:
    assert target_loss("quick", steps / 200) == target
    assert target_loss("standard", steps / 200) is None


def answer_row(rule: str, batch: int, share: float) -> dict[str, Any]:
    fixed = {"phase": "decode", "distinct_per_layer": 4.0, "kl": 0.0, "max_vio": 0.0}
    return {"rule": rule, "batch": batch, "exact_match": share, "f1": share / 2, **fixed}


def test_a_rule_gains_over_the_best_expert_alone_at_the_same_batch() -> None:
    rules = ("top-1", "top-2", "Lynx keep=0.75")
    rows = [answer_row(rule, 8, share) for rule, share in zip(rules, (0.25, 0.5, 0.375), strict=True)]
    rows += [answer_row(rule, 16, 0.9) for rule in rules]
    results = {
        "selection": {"rows": rows},
        "two_hop": {"metrics": {"chance_exact_match": 1 / 3, "two_hop_exact_match": 0.5}},
    }
    folder = SimpleNamespace(info=SimpleNamespace(config={"model": {"top_k": 2}}))
    metrics = of_answers(folder, results, "quick")  # type: ignore[arg-type]
    assert metrics["lynx_keep_0.75_exact_match_gain"] == pytest.approx(0.125)
    assert metrics["lynx_keep_0.75_f1_gain"] == pytest.approx(0.0625)
    assert metrics["two_hop_chance_exact_match"] == 1 / 3


def test_what_was_not_executed_has_no_value() -> None:
    results: dict[str, dict[str, Any]] = {
        "fill_in": {"metrics": {"line_match": 0.25}},
        "programs": {"metrics": {}},
        "human_eval_pass": {"metrics": {"pass@1": 0.0}},
    }
    metrics = of_completions(None, results, "quick")  # type: ignore[arg-type]
    assert metrics["fill_in_line_match"] == 0.25
    assert metrics["programs_pass@1"] is None
    assert metrics["human_eval_pass_pass@1"] == 0.0
