"""Intervals against SciPy and by simulation; verdicts by table."""

import math

import numpy as np
import pytest
from scipy import stats

from explorer.evidence import statistics
from explorer.evidence.statistics import (
    ABOVE,
    BELOW,
    CONTRADICTED,
    NEVER,
    NOT_RESOLVED,
    NOT_RUN,
    SUPPORTED,
    Region,
    bootstrap_interval,
    combined,
    effect_of,
    family_of,
    verdict_of,
)

EXPERIMENTS = 2000
TRUTH = 0.3


@pytest.fixture
def without_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of effects need no bootstrap interval beside each."""
    monkeypatch.setattr(statistics, "LEAST_FOR_BOOTSTRAP", 10**9)


def samples(pairs: int, mean: float = TRUTH, seed: int = 0) -> np.ndarray:
    """Paired differences of 2,000 experiments, [2000, pairs]."""
    return np.random.default_rng(seed).normal(mean, 1.0, size=(EXPERIMENTS, pairs))


def t_bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The t interval of every row, by SciPy."""
    mean, error = values.mean(-1), stats.sem(values, axis=-1)
    half = stats.t.ppf(0.975, values.shape[-1] - 1) * error
    return mean - half, mean + half


def covered(low: np.ndarray, high: np.ndarray) -> float:
    return float(((low <= TRUTH) & (high >= TRUTH)).mean())


@pytest.mark.parametrize("pairs", [5, 48])
@pytest.mark.usefixtures("without_bootstrap")
def test_the_t_interval_is_scipys_and_covers_the_truth(pairs: int) -> None:
    values = samples(pairs)
    low, high = t_bounds(values)
    for row in range(20):
        effect = effect_of(values[row].tolist(), BELOW)
        assert effect is not None
        assert (effect.low, effect.high) == pytest.approx((low[row], high[row]))
    ours = [effect_of(row, BELOW) for row in values.tolist()]
    bounds = np.array([(effect.low, effect.high) for effect in ours if effect is not None])
    assert covered(bounds[:, 0], bounds[:, 1]) == pytest.approx(0.95, abs=0.02)


def test_the_bootstrap_covers_the_truth_at_48_pairs() -> None:
    low, high = bootstrap_interval(samples(48))
    assert covered(low, high) == pytest.approx(0.95, abs=0.02)


def test_the_bootstrap_is_scipys() -> None:
    values = samples(48)[0]
    low, high = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=1)
    interval = theirs.confidence_interval
    assert (float(low), float(high)) == pytest.approx((interval.low, interval.high), abs=0.03)


def test_the_bootstrap_stands_beside_the_interval_from_20_pairs_on() -> None:
    few, many = effect_of(samples(19)[0].tolist(), BELOW), effect_of(samples(20)[0].tolist(), BELOW)
    assert few is not None
    assert few.bootstrap is None
    assert many is not None
    assert many.bootstrap is not None


@pytest.mark.parametrize("pairs", [5, 48])
@pytest.mark.usefixtures("without_bootstrap")
def test_an_effect_of_zero_is_not_resolved_at_the_stated_rate(pairs: int) -> None:
    verdicts = []
    for row in samples(pairs, mean=0.0).tolist():
        effect = effect_of(row, BELOW)
        verdicts.append(verdict_of(row, effect, BELOW, family_of([effect])[0]))
    assert verdicts.count(NOT_RESOLVED) / EXPERIMENTS == pytest.approx(0.95, abs=0.02)
    # Half of the false alarms in each direction.
    assert verdicts.count(SUPPORTED) / EXPERIMENTS == pytest.approx(0.025, abs=0.012)


@pytest.mark.usefixtures("without_bootstrap")
def test_a_family_of_zero_effects_is_wrong_once_in_twenty() -> None:
    family = 10
    effects = [effect_of(row, BELOW) for row in samples(8, mean=0.0).tolist()]
    groups = [effects[first : first + family] for first in range(0, EXPERIMENTS, family)]
    # 2,000 comparisons are only 200 families: draw more.
    more = [effect_of(row, BELOW) for seed in (1, 2, 3) for row in samples(8, 0.0, seed).tolist()]
    groups += [more[first : first + family] for first in range(0, len(more), family)]
    wrong = np.mean([any(family_of(group)) for group in groups])
    assert wrong == pytest.approx(0.05, abs=0.025)
    uncorrected = np.mean([any(e is not None and e.p is not None and e.p < 0.05 for e in g) for g in groups])
    assert uncorrected > 0.3


def test_the_p_value_agrees_with_the_interval() -> None:
    regions = (BELOW, ABOVE, Region(low=-0.2, high=0.5), Region(low=0.9), Region(high=0.0063))
    for row in samples(6, mean=0.2)[:100].tolist():
        for region in regions:
            effect = effect_of(row, region)
            assert effect is not None
            assert effect.p is not None
            inside = region.low < effect.low and effect.high < region.high
            outside = effect.high < region.low or effect.low > region.high
            assert (effect.p < 0.05) == (inside or outside)


EXACT = [-1.0, -1.1, -0.9, -1.05, -0.95]
VERDICTS = [
    (EXACT, BELOW, True, SUPPORTED),
    (EXACT, ABOVE, True, CONTRADICTED),
    (EXACT, BELOW, False, NOT_RESOLVED),
    (EXACT[:4], BELOW, True, NOT_RUN),
    ([], BELOW, True, NOT_RUN),
    ([1.0, -1.0, 2.0, -2.0, 0.5], BELOW, True, NOT_RESOLVED),
    (EXACT, Region(low=-1.5, high=-0.5), True, SUPPORTED),
    (EXACT, Region(low=-0.5, high=0.5), True, CONTRADICTED),
    (EXACT, Region(low=-1.05, high=0.5), True, NOT_RESOLVED),
    ([0.0] * 5, NEVER, False, SUPPORTED),
    ([0.0, 0.0, 0.0, 0.0, 1.0], NEVER, False, CONTRADICTED),
    ([0.0] * 4, NEVER, False, NOT_RUN),
    ([0.0, 0.0, math.nan, 0.0, 0.0], BELOW, True, NOT_RUN),
]


@pytest.mark.parametrize(("values", "region", "survives", "verdict"), VERDICTS)
def test_verdict(values: list[float], region: Region, survives: bool, verdict: str) -> None:
    assert verdict_of(values, effect_of(values, region), region, survives) == verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, NOT_RESOLVED], NOT_RESOLVED),
        ([NOT_RESOLVED, CONTRADICTED], CONTRADICTED),
        ([SUPPORTED, NOT_RUN], NOT_RUN),
        ([CONTRADICTED, NOT_RUN], CONTRADICTED),
        ([], NOT_RUN),
    ],
)
def test_a_claim_needs_all_of_its_comparisons(parts: list[str], verdict: str) -> None:
    assert combined(parts) == verdict
