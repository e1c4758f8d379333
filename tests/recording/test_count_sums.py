"""Counts that do not add up to K x tokens are told once, with the ratio and its cause; others never are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layered_runs import record_layered
from sentences import sentence

from explorer.metrics.sums import CountSums, is_off, likely_cause, nearest_ratio
from explorer.queries import sums
from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord
from explorer.store import Index

L, E, K, T, STEPS = 3, 8, 2, 1024, 70
EVEN = np.full(E, 1 / E)
Counts = Callable[[np.random.Generator, int], Any]


def whole(rng: np.random.Generator, tokens: int) -> Any:
    return rng.multinomial(tokens * K, EVEN, size=L)


def write(
    folder: Path,
    run_id: str,
    counts: Counts = whole,
    tokens: Callable[[int], int] = lambda step: T,
    every: int = 1,
    dropped: Counts | None = None,
    **info: Any,
) -> None:
    """A run with these counts; `tokens`: T of each step as tokens_seen tells it."""
    values = {"num_moe_layers": L, "num_experts": E, "top_k": K, "tokens_per_step": T, "num_steps": 400}
    rng, seen = np.random.default_rng(0), 0
    with RunWriter.create(folder, RunInfo(run_id=run_id, name=run_id, **(values | info))) as recorder:
        for step in range(0, STEPS * every, every):
            now = tokens(step)
            seen += now * every if step else now
            recorder.record(StepRecord(step=step, tokens_seen=seen, lm_loss=1.0))
            recorder.record(
                LoadRecord(
                    step=step,
                    tokens_LE=counts(rng, now),
                    dropped_tokens_LE=None if dropped is None else dropped(rng, now),
                )
            )
            recorder.step_done(step)


SumsByCase = dict[str, tuple[CountSums | None, int | None]]


@pytest.fixture(scope="module")
def sums_by_case(tmp_path_factory: pytest.TempPathFactory) -> SumsByCase:
    """Name of a case -> what is said of its run; one index for all."""
    folder = tmp_path_factory.mktemp("sums")
    ids = {}
    for number, (name, case) in enumerate(CASES.items()):
        ids[name] = f"case-{number}"
        write(folder, ids[name], **case)
    record_layered(folder)
    ids[sentence("count_sums.different_width")] = "layered"
    with Index.open(folder / "index.duckdb") as index:
        assert not index.ingest([folder]).problems
        with index.cursor() as cur:
            return {
                name: (sums.count_sums(cur, run_id), sums.shared_expert(cur, run_id))
                for name, run_id in ids.items()
            }


def ragged(rng: np.random.Generator, tokens: int) -> Any:
    """Of each step a different share was dropped and is not recorded."""
    return rng.multinomial(int(tokens * K * rng.uniform(0.8, 1.0)), EVEN, size=L)


def shared(rng: np.random.Generator, tokens: int) -> Any:
    return np.concatenate([rng.multinomial(tokens * K, EVEN, size=L), np.full((L, 1), tokens)], -1)


def collapsed(rng: np.random.Generator, tokens: int) -> Any:
    """In every layer another expert has every token."""
    loads = np.zeros((L, E), dtype=int)
    loads[range(L), range(L)] = tokens
    loads[:, -1] = tokens
    loads[0, -1], loads[0, -2] = 0, tokens
    return loads


OFF: dict[str, tuple[Counts, float, str]] = {
    "one rank": (
        lambda rng, t: rng.multinomial(t * K // 8, EVEN, size=L),
        1 / 8,
        sentence("count_sums.one_of_ranks", ranks=8),
    ),
    "twice": (lambda rng, t: 2 * whole(rng, t), 2.0, sentence("count_sums.counted_times", times=2)),
    "shared": (lambda rng, t: whole(rng, t * 3 // 2), 1.5, sentence("count_sums.shared_expert")),
    "first choice": (
        lambda rng, t: rng.multinomial(t, EVEN, size=L),
        0.5,
        sentence("count_sums.first_choices_only", choices=2),
    ),
    "nothing": (lambda rng, t: np.zeros((L, E), int), 0.0, "nothing was counted"),
    "no plain cause": (lambda rng, t: rng.multinomial(int(t * K * 0.7), EVEN, size=L), 0.7, ""),
}


def one_layer_twice(rng: np.random.Generator, tokens: int) -> Any:
    return whole(rng, tokens) * np.array([[1], [2], [1]])


SILENT: dict[str, dict[str, Any]] = {
    "whole steps": {},
    "a collapse": {"counts": collapsed},
    "a batch that grows": {"tokens": lambda step: 256 if step < STEPS / 2 else T},
    "a batch that grows, logged sparsely": {"tokens": lambda step: T + step, "every": 10},
    "no planned tokens": {"tokens_per_step": 0},
    "tokens dropped without a record": {"counts": ragged},
    "dropped tokens not among the counts": {
        "counts": lambda rng, t: rng.multinomial(t * K - 200, EVEN, size=L),
        "dropped": lambda rng, t: np.full((L, E), 25),
    },
    "capacity": {"counts": ragged, "config": {"model": {"capacity_factor": 1.0}}},
    "top-p": {"counts": lambda rng, t: 2 * whole(rng, t), "config": {"model": {"top_p": 0.5}}},
    "expert choice": {
        "counts": lambda rng, t: 3 * whole(rng, t),
        "config": {"model": {"routing": "expert_choice"}},
    },
    "expert choice of another project": {
        "counts": lambda rng, t: 3 * whole(rng, t),
        "balancer_family": "expert_choice",
    },
    "a second expert by chance": {
        "counts": lambda rng, t: rng.multinomial(t * 3 // 2, EVEN, size=L),
        "config": {"model": {"random_second": True}},
    },
    "unknown sizes": {"top_k": 0},
}


CASES: dict[str, dict[str, Any]] = {
    **SILENT,
    **{name: {"counts": counts} for name, (counts, _, _) in OFF.items()},
    "one layer": {"counts": one_layer_twice},
    "a shared expert": {"counts": shared, "num_experts": E + 1, "top_k": K + 1},
}


@pytest.mark.parametrize("name", OFF)
def test_counts_that_do_not_add_up_are_told_with_their_cause(sums_by_case: SumsByCase, name: str) -> None:
    _, ratio, cause = OFF[name]
    count_sums, _ = sums_by_case[name]
    assert count_sums is not None
    assert (count_sums.ratio, count_sums.promised) == (pytest.approx(ratio, abs=0.01), K * T)
    assert count_sums.counted == pytest.approx(ratio * K * T, abs=1)
    assert (count_sums.layers, count_sums.all_layers) == ((0, 1, 2), True)
    assert count_sums.cause.startswith(cause)
    assert bool(count_sums.cause) == bool(cause)


def test_the_layer_that_is_off_is_named(sums_by_case: SumsByCase) -> None:
    count_sums, _ = sums_by_case["one layer"]
    assert count_sums is not None
    assert (count_sums.layers, count_sums.all_layers) == ((1,), False)


def test_a_shared_expert_among_the_routed_ones_is_named(sums_by_case: SumsByCase) -> None:
    assert sums_by_case["a shared expert"] == (None, E)


@pytest.mark.parametrize("name", [*SILENT, sentence("count_sums.different_width")])
def test_what_is_as_it_should_be_raises_no_alarm(sums_by_case: SumsByCase, name: str) -> None:
    assert sums_by_case[name] == (None, None)


def test_the_best_promise_counts() -> None:
    ratio, promise = nearest_ratio(
        [[100.0, 50, 0, 7]], [[100.0, np.nan, 100, 0], [10.0, 100, np.nan, np.nan]]
    )
    assert np.array_equal(ratio, [1.0, 0.5, 0.0, np.nan], equal_nan=True)
    assert np.array_equal(promise, [100.0, 100, 100, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("ratios", "wanted"),
    [
        ([1.0] * 9, False),
        ([1.005] * 9, False),
        ([0.9] * 9, True),
        (np.linspace(0.8, 1.0, 9), False),
        (np.linspace(0.1, 0.4, 9), True),
        (np.linspace(1.6, 2.4, 9), True),
        ([np.nan] * 9, False),
        ([], False),
    ],
)
def test_a_steady_or_a_far_ratio_is_off(ratios: list[float], wanted: bool) -> None:
    assert is_off(ratios) is wanted


@pytest.mark.parametrize(
    ("ratio", "top_k", "says"),
    [
        (1 / 3, 8, "one of 3 ranks"),
        (9 / 8, 8, "a shared expert"),
        (2.0, 1, sentence("count_sums.shared_or_counted_times", times=2)),
        (100.0, 8, sentence("count_sums.counted_times", times=100)),
        (0.37, 8, ""),
        (1.37, 8, ""),
    ],
)
def test_a_ratio_has_a_likely_cause(ratio: float, top_k: int, says: str) -> None:
    cause = likely_cause(ratio, top_k)
    assert cause.startswith(says)
    assert bool(cause) == bool(says)
