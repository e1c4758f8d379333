"""Rows of the shipped runs, read from their folders: no index, no SQL."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from explorer.recording import RunFolder

SHIPPED = Path(__file__).parents[2] / "data" / "runs"
SEEDS = range(5)


@cache
def table(run: str, name: str) -> pl.DataFrame:
    """A table of the run `standard-…`, e.g. `none-seed0`."""
    return RunFolder(SHIPPED / f"standard-{run}").read(name)


def held_out(run: str) -> np.ndarray:
    """[L, E] tokens of the last evaluation."""
    rows = table(run, "eval_loads")
    rows = rows.filter(pl.col("step") == rows["step"].max())
    counts = rows.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
    return counts["tokens"].to_numpy().reshape(4, 16)
