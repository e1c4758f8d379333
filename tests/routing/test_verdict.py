"""The verdict of a placement: its answer follows from the counts by the stated rule."""

import numpy as np
import pytest

from explorer.routing import placement, verdict

EXPERTS, GPUS = 16, 4
SKEW = np.array([8] * 4 + [1] * 12)
"""Contiguous experts put the four hot ones on one GPU."""


def judged(batches: np.ndarray, plan: np.ndarray | None = None, **settings: object) -> verdict.Judgement:
    """A placement planned on `plan` (default: the mean batch), judged on batches [R, L, E]."""
    counts = batches.sum(0) if plan is None else plan
    slots = placement.plan(counts, slots=EXPERTS + GPUS, gpus=GPUS)
    before = placement.gpu_shares(placement.contiguous(len(counts), EXPERTS), EXPERTS, GPUS)
    after = placement.gpu_shares(slots, EXPERTS, GPUS)
    return verdict.judge(before, after, counts, batches, **{"least": 0.05, **settings})  # type: ignore[arg-type]


def poisson(rates: np.ndarray, batches: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rates, (batches, 2, EXPERTS))


@pytest.mark.parametrize("batches", [1, 20])
def test_a_lasting_hot_set_is_worth_it(batches: int) -> None:
    result = judged(poisson(SKEW * 100, batches), plan=poisson(SKEW * 100, 1, seed=9)[0])
    assert result.answer == "worth it"
    assert result.is_by_batch == (batches >= verdict.LEAST_BATCHES)
    assert result.low <= result.saving <= result.high
    assert result.before == pytest.approx(32 / 11, rel=0.03)


@pytest.mark.parametrize("batches", [1, 20])
def test_balanced_loads_are_not_worth_it(batches: int) -> None:
    assert judged(poisson(np.full(EXPERTS, 400), batches)).answer == "not worth it"


def test_a_hot_set_that_moves_is_not_worth_it() -> None:
    moved = np.roll(SKEW, 8)
    result = judged(poisson(np.ones(EXPERTS) * 100, 20), plan=poisson(moved * 100, 1)[0])
    assert result.answer == "not worth it"


def test_few_tokens_the_same_window_and_an_open_interval_are_too_little_evidence() -> None:
    few = judged(poisson(SKEW * 0.2, 20))
    assert (few.answer, few.is_large_enough) == ("too little evidence", False)
    same = judged(poisson(SKEW * 100, 20), is_other_window=False)
    assert same.answer == "too little evidence"
    assert judged(poisson(SKEW * 100, 20), are_counts=False).answer == "too little evidence"
    batches = poisson(SKEW * 100, 20)
    middle = judged(batches).saving
    assert judged(batches, least=middle).answer == "too little evidence"


def test_the_time_is_the_sum_of_every_batchs_busiest_gpu() -> None:
    """Two batches that are each skewed look balanced in their sum; the time keeps the skew."""
    first = np.array([[4] * 4 + [1] * 12])
    both = np.stack([first, np.roll(first, 8, axis=1)] * 40)
    result = judged(both)
    assert result.before == pytest.approx((16 / 4) / (28 / 16))
    slow = sum(max(batch[0].reshape(GPUS, -1).sum(1)) for batch in both)
    assert result.before_L[0] == pytest.approx(slow / (both.sum() / GPUS))


def slow_saving(loads: list[list[list[list[float]]]]) -> float:
    """The saving by loops, from loads [placement][batch][layer][GPU]: of the sum of the layers' times."""
    times = []
    for batches in loads:
        time = 0.0
        for layer in range(len(batches[0])):
            longest = sum(max(batch[layer]) for batch in batches)
            mean = sum(sum(batch[layer]) / len(batch[layer]) for batch in batches)
            time += longest / mean if mean else 0.0
        times.append(time)
    return 1 - times[1] / times[0]


def gpu_loads_slowly(slots: list[list[int]], batch: list[list[int]]) -> list[list[float]]:
    """[layer][GPU] of one batch: every copy of an expert serves an equal share of its tokens."""
    loads = []
    for row, counts in zip(slots, batch, strict=True):
        size = len(row) // GPUS
        gpus = [row[g * size : (g + 1) * size] for g in range(GPUS)]
        loads.append([sum(counts[e] / row.count(e) for e in gpu) for gpu in gpus])
    return loads


@pytest.mark.parametrize("number", [23, 3])
def test_the_interval_is_that_of_loops_over_the_same_draws(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of batches drawn with replacement; with few batches, counts drawn anew."""
    monkeypatch.setattr(verdict, "DRAWS_OF_BATCHES", 40)
    monkeypatch.setattr(verdict, "DRAWS_OF_TOKENS", 40)
    batches = poisson(SKEW * 100, number)
    result = judged(batches)
    planned = placement.plan(batches.sum(0), slots=EXPERTS + GPUS, gpus=GPUS).tolist()
    both = ([list(range(EXPERTS))] * 2, planned)
    rng = np.random.default_rng(0)
    drawn: list[list[np.ndarray]] = []
    if number >= verdict.LEAST_BATCHES:
        blocks = np.array_split(batches, verdict.MOST_BLOCKS)
        weights = rng.multinomial(len(blocks), [1 / len(blocks)] * len(blocks), size=40)
        for row in weights.tolist():
            drawn.append([batch for n, block in zip(row, blocks, strict=True) for batch in [*block] * n])
    else:
        anew = [rng.poisson(batch, (40, *batch.shape)) for batch in batches]
        drawn = [[one[draw] for one in anew] for draw in range(40)]
    savings = [
        slow_saving([[gpu_loads_slowly(slots, one.tolist()) for one in draw] for slots in both])
        for draw in drawn
    ]
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(savings, [2.5, 97.5])))
    assert result.saving == pytest.approx(
        slow_saving([[gpu_loads_slowly(slots, one.tolist()) for one in batches] for slots in both])
    )


def test_the_interval_covers_the_true_saving_about_as_often_as_it_says() -> None:
    rates = SKEW * 40.0
    plan = poisson(rates, 1, seed=77)[0]
    truth = judged(poisson(rates, 4000, seed=5), plan=plan).saving
    covered = [
        result.low <= truth <= result.high
        for seed in range(60)
        for result in [judged(poisson(rates, 20, seed=seed), plan=plan)]
    ]
    assert np.mean(covered) > 0.8
