"""Simulated baselines are looked up beside the index, and are the simulation's own."""

from pathlib import Path

import numpy as np
import pytest

from explorer import metrics
from explorer.queries import _baselines
from explorer.store.memo import Memo

COUNTS = np.random.default_rng(1).integers(0, 9, (12, 2, 4))
DOMAINS = ["a", "b"] * 6
TOKENS = [300, 100, 300, 0]


def uniform() -> dict[int, tuple[float, float]]:
    return _baselines.uniform(8, 2, TOKENS, 3)


def resampled() -> tuple[float, float]:
    return _baselines.resampled(COUNTS, 4, DOMAINS)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("simulated again")


def test_the_numbers_are_the_simulations_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memo.json"
    expected = (
        {n: metrics.uniform_reference(8, 2, n, 3) for n in (100, 300)},
        metrics.resampled_reference(COUNTS, 4, strata=DOMAINS),
    )
    assert (uniform(), resampled()) == expected, "without a memo"
    with _baselines.remembering(Memo(path)):
        assert (uniform(), resampled()) == expected, "for the first time"
    monkeypatch.setattr(metrics, "uniform_references", refuse)
    monkeypatch.setattr(metrics, "resampled_reference", refuse)
    with _baselines.remembering(Memo(path)):
        assert (uniform(), resampled()) == expected, "looked up"
    with pytest.raises(AssertionError, match="again"):
        uniform()


@pytest.mark.parametrize("change", ["counts", "sequences", "domains", "program"])
def test_other_input_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    path = tmp_path / "memo.json"
    with _baselines.remembering(Memo(path)):
        resampled()
        monkeypatch.setattr(metrics, "resampled_reference", refuse)
        if change == "program":
            monkeypatch.setattr(_baselines, "_program", lambda: "other")
        counts = COUNTS + 1 if change == "counts" else COUNTS
        domains = ["a"] * 12 if change == "domains" else DOMAINS
        with pytest.raises(AssertionError, match="again"):
            _baselines.resampled(counts, 5 if change == "sequences" else 4, domains)
