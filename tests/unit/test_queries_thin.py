"""Each query answers for a recorded run and gives the same columns for an unknown one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from store_runs import write_run

from explorer.queries import balance, biases, comparison, loads, losses
from explorer.store import Index

QUERIES: dict[str, Callable[[Any, str], pl.DataFrame]] = {
    "load_heatmap": lambda cur, run: loads.load_heatmap(cur, run, 0),
    "bias_trajectories": lambda cur, run: biases.bias_trajectories(cur, run, 1),
    "max_vio_series": lambda cur, run: balance.max_vio_series(cur, [run], x="tokens"),
    "layer_balance": lambda cur, run: balance.layer_balance(cur, [run]),
    "loss_series": lambda cur, run: losses.loss_series(cur, [run], x="time"),
    "eval_series": lambda cur, run: losses.eval_series(cur, [run]),
    "summary": lambda cur, run: comparison.summary(cur, [run]),
}


@pytest.mark.parametrize("name", QUERIES)
def test_an_unknown_run_gives_the_same_columns_without_rows(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "runs")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            known, unknown = QUERIES[name](cur, "run"), QUERIES[name](cur, "nobody")
    assert known.height > 0
    assert unknown.height == 0
    assert known.schema == unknown.schema
