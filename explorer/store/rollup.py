"""Build the roll-ups of new samples, inside the transaction that adds them."""

import duckdb

from explorer.store.pyramids import ALIGN, LEVELS, PYRAMIDS, ROLL_FROM, Pyramid

GROUP_ROWS = 4_000_000
"""Rows rolled up at once, so that sorting them fits into memory."""


def roll_up(cur: duckdb.DuckDBPyConnection, run_id: str, run_key: int) -> None:
    """Bring every pyramid of a run up to date with its tables."""
    progress = {
        table: (samples, rolled)
        for table, samples, rolled in cur.execute(
            "SELECT table_name, samples, rolled FROM raw.progress WHERE run_key = ?", [run_key]
        ).fetchall()
    }
    for pyramid in PYRAMIDS:
        samples, rolled = progress.get(pyramid.counted, (0, 0))
        stop = samples - samples % ALIGN
        if samples > ROLL_FROM and stop > rolled:
            _extend(cur, pyramid, run_id, run_key, rolled, stop)
    for table, (samples, _) in progress.items():
        if samples > ROLL_FROM:
            cur.execute(
                "UPDATE raw.progress SET rolled = ? WHERE run_key = ? AND table_name = ?",
                [samples - samples % ALIGN, run_key, table],
            )


def _extend(
    cur: duckdb.DuckDBPyConnection, pyramid: Pyramid, run_id: str, run_key: int, start: int, stop: int
) -> None:
    """Add the bins of the samples from `start` to `stop`, both multiples of ALIGN, at every level."""
    columns = ", ".join(("level", "bin", pyramid.names()))
    by = ", ".join(("bin", *pyramid.key_names))
    cur.execute(f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {columns} FROM raw.{pyramid.table} LIMIT 0")
    for where in _groups(cur, pyramid, run_key, start, stop):
        cur.execute(
            f"INSERT INTO fresh BY NAME SELECT {pyramid.finest} AS level, {pyramid.merges()}, bin FROM ("
            f"SELECT ordinal // {4**pyramid.finest} AS bin, {pyramid.singles()} "
            f"FROM ({pyramid.source}) WHERE {where}) GROUP BY {by}",
            {"run_id": run_id, "start": start, "stop": stop},
        )
    for level in range(pyramid.finest + 1, LEVELS + 1):
        cur.execute(
            f"INSERT INTO fresh BY NAME SELECT {level} AS level, {pyramid.merges()}, bin FROM ("
            f"SELECT bin // 4 AS bin, {pyramid.names()} FROM fresh WHERE level = {level - 1}) "
            f"GROUP BY {by}"
        )
    # All layers at once: a layer's bins of one level then lie together, and a view skips the others.
    order = ", ".join(("level", *pyramid.key_names[:1], "bin", *pyramid.key_names[1:]))
    cur.execute(
        f"INSERT INTO raw.{pyramid.table} BY NAME SELECT {run_key} AS run_key, * FROM fresh ORDER BY {order}"
    )
    cur.execute("DROP TABLE fresh")


def _groups(
    cur: duckdb.DuckDBPyConnection, pyramid: Pyramid, run_key: int, start: int, stop: int
) -> list[str]:
    """Conditions on the layer that split the work into pieces of about GROUP_ROWS rows."""
    if "expert" not in pyramid.key_names:
        return ["true"]
    rows = cur.execute(
        "SELECT DISTINCT layer, num_experts FROM raw.layer_metrics JOIN raw.runs USING (run_key) "
        "WHERE run_key = ? AND ordinal >= ? AND ordinal < ? ORDER BY layer",
        [run_key, start, stop],
    ).fetchall()
    layers = [layer for layer, _ in rows]
    width = max((experts for _, experts in rows), default=1)
    most = max(1, GROUP_ROWS // ((stop - start) * width))
    return [f"layer BETWEEN {layers[i]} AND {layers[i : i + most][-1]}" for i in range(0, len(layers), most)]
