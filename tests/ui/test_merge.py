"""Several seeds become one line: means over seeds, and the end that sentences quote."""

import polars as pl
import pytest
from arm_runs import run

from explorer.figures import merge
from explorer.figures.arms import Arm


def test_the_end_of_an_arm_is_the_mean_over_its_seeds() -> None:
    runs = (run("a", seed=0), run("b", seed=1))
    frame = pl.DataFrame(
        {
            "run_id": ["a", "b"],
            "bin": [0, 0],
            "first_step": [0, 0],
            "last_step": [9, 9],
            "x": [9.0, 9.0],
            "max_vio": [1.0, 3.0],
            "max_vio_min": [0.5, 2.0],
            "max_vio_max": [1.5, 4.0],
            "max_vio_mean100": [0.2, 0.6],
        }
    )
    merged = merge.series(frame, [Arm(token="both", label="both", runs=runs)], ["max_vio"], merge.ENDS)
    row = merged.row(0, named=True)
    assert row["max_vio_mean100"] == pytest.approx(0.4)
    assert (row["max_vio"], row["max_vio_min"], row["max_vio_max"]) == (2.0, 1.0, 3.0)


def test_an_arm_has_no_mean_loss_where_a_seed_has_diverged() -> None:
    runs = (run("a", seed=0), run("b", seed=1))
    frame = pl.DataFrame(
        {
            "run_id": ["a", "a", "b", "b"],
            "bin": [0, 1, 0, 1],
            "first_step": [0, 10, 0, 10],
            "last_step": [9, 19, 9, 19],
            "x": [9.0, 19.0, 9.0, 19.0],
            "lm_loss": [2.0, 1.0, 4.0, None],
            "lm_loss_min": [2.0, 1.0, 4.0, None],
            "lm_loss_max": [2.0, 1.0, 4.0, None],
            "lm_loss_not_finite": [0, 0, 0, 10],
            "not_finite_from": [None, None, 10, 10],
        }
    )
    merged = merge.series(frame, [Arm(token="both", label="both", runs=runs)], ["lm_loss"])
    assert merged["lm_loss"].to_list() == [3.0, None]
    assert merged["lm_loss_not_finite"].to_list() == [0, 10]
    assert merged["not_finite_from"].to_list() == [10, 10]
