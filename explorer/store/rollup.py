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
    by = ", ".join(("bin", *pyramid.key_names))
    into = f"run_key, level, bin, {pyramid.names()}"
    for where in _groups(cur, pyramid, run_id, start, stop):
        cur.execute(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT 1 AS level, {pyramid.merges()}, bin FROM ("
            f"SELECT ordinal // 4 AS bin, {pyramid.singles()} FROM ({pyramid.source}) WHERE {where}) "
            f"GROUP BY {by}",
            {"run_id": run_id, "start": start, "stop": stop},
        )
        for level in range(2, LEVELS + 1):
            cur.execute(
                f"INSERT INTO fresh SELECT {level} AS level, {pyramid.merges()}, bin FROM ("
                f"SELECT bin // 4 AS bin, {pyramid.names()} FROM fresh WHERE level = {level - 1}) "
                f"GROUP BY {by}"
            )
        order = ", ".join(("level", *pyramid.key_names[:1], "bin", *pyramid.key_names[1:]))
        cur.execute(
            f"INSERT INTO raw.{pyramid.table} ({into}) "
            f"SELECT {run_key}, level, bin, {pyramid.names()} FROM fresh ORDER BY {order}"
        )
    cur.execute("DROP TABLE IF EXISTS fresh")


def _groups(
    cur: duckdb.DuckDBPyConnection, pyramid: Pyramid, run_id: str, start: int, stop: int
) -> list[str]:
    """Conditions on the layer that split the work into pieces of about GROUP_ROWS rows."""
    if "layer" not in pyramid.key_names:
        return ["true"]
    counts = cur.execute(
        f"SELECT layer, count(*) FROM ({pyramid.source}) GROUP BY layer ORDER BY layer",
        {"run_id": run_id, "start": start, "stop": stop},
    ).fetchall()
    groups: list[list[int]] = []
    rows = 0
    for layer, count in counts:
        if not groups or rows + count > GROUP_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(int(layer))
        rows += count
    return [f"layer BETWEEN {group[0]} AND {group[-1]}" for group in groups]
