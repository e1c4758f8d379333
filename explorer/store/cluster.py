"""Cluster rows by layer, so that DuckDB skips the others when a view queries one layer.

A live run adds a few steps at a time, each with every layer. Once there are enough of them they are
rewritten, sorted by layer; a run that was complete when first ingested is already sorted.
"""

import duckdb

from explorer.store.pyramids import LOADS

SEGMENT_ROWS = 4_000_000
"""Rows of `expert_loads` that are sorted together: a layer of 64 experts then fills several row groups."""


def cluster(cur: duckdb.DuckDBPyConnection, run_key: int, start: int) -> None:
    """Sort the latest rows of a run if there are enough, inside the open transaction.

    start: samples before this transaction, whose own rows were sorted when they were inserted.
    """
    row = cur.execute(
        "SELECT samples, clustered, num_moe_layers * num_experts "
        "FROM raw.progress JOIN raw.runs USING (run_key) WHERE run_key = ? AND table_name = 'expert_loads'",
        [run_key],
    ).fetchone()
    if row is None or (row[0] - row[1]) * row[2] < SEGMENT_ROWS:
        return
    samples, clustered, cells = row
    if clustered == start and (samples - start) * cells >= SEGMENT_ROWS:
        _set_clustered(cur, run_key, samples)
        return
    first = cur.execute(
        "SELECT min(step) FROM raw.layer_metrics WHERE run_key = ? AND ordinal >= ?", [run_key, clustered]
    ).fetchone()
    assert first is not None
    _rewrite(
        cur,
        "expert_loads",
        f"run_key = {run_key} AND ordinal >= {clustered}",
        "SELECT * FROM tail ORDER BY layer, ordinal, expert",
    )
    _rewrite(
        cur,
        "load_bins",
        f"run_key = {run_key} AND first_step >= {first[0]}",
        f"SELECT {run_key} AS run_key, level, bin, {LOADS.merges()} FROM tail "
        f"GROUP BY level, bin, layer, expert ORDER BY level, layer, bin, expert",
    )
    _set_clustered(cur, run_key, samples)


def _set_clustered(cur: duckdb.DuckDBPyConnection, run_key: int, samples: int) -> None:
    cur.execute(
        "UPDATE raw.progress SET clustered = ? WHERE run_key = ? AND table_name = 'expert_loads'",
        [samples, run_key],
    )


def _rewrite(cur: duckdb.DuckDBPyConnection, table: str, where: str, select: str) -> None:
    """Replace the rows of a raw table that meet a condition by a query over them (`tail`)."""
    cur.execute(f"CREATE OR REPLACE TEMP TABLE tail AS SELECT * FROM raw.{table} WHERE {where}")
    cur.execute(f"DELETE FROM raw.{table} WHERE {where}")
    cur.execute(f"INSERT INTO raw.{table} BY NAME {select}")
    cur.execute("DROP TABLE tail")
