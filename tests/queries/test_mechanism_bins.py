"""Bins of router gradients and margins: equally many sampled steps in each, against loops."""

import math

import polars as pl
import pytest

from explorer.queries import mechanism

STEPS = [0, 3, 4, 10, 11, 20, 40]
VALUES = [1.0, math.nan, 5.0, 2.0, math.inf, 7.0, 8.0]


@pytest.mark.parametrize(("most", "width"), [(7, 1), (300, 1), (4, 2), (3, 3), (1, 7)])
def test_every_bin_holds_equally_many_steps(most: int, width: int) -> None:
    rows = pl.DataFrame(
        {"step": [*STEPS, *STEPS], "layer": [0] * 7 + [1] * 7, "lm": [*VALUES, *(2 * v for v in VALUES)]}
    )
    bins = mechanism._binned(rows, "run", ("lm",), most)
    expected = []
    for bin_, start in enumerate(range(0, len(STEPS), width)):
        steps, values = STEPS[start : start + width], VALUES[start : start + width]
        finite = [factor * v for v in values if math.isfinite(v) for factor in (1, 2)]
        expected.append(
            {
                "run_id": "run",
                "bin": bin_,
                "first_step": steps[0],
                "last_step": steps[-1],
                "x": float(steps[-1]),
                "lm": sum(finite) / len(finite) if finite else None,
                "lm_min": min(finite, default=None),
                "lm_max": max(finite, default=None),
                "lm_not_finite": 2 * len(values) - len(finite),
                "samples": len(steps),
            }
        )
    assert bins.to_dicts() == [pytest.approx(row) for row in expected]
