"""What an index holds of a run, and ways to damage a run folder."""

from pathlib import Path
from typing import Any

import polars as pl

from explorer.recording import RunFolder
from explorer.store import Index
from explorer.store.schema import data_tables


def loads_in(index: Index, run_id: str = "run") -> list[tuple[Any, ...]]:
    with index.cursor() as cur:
        return cur.execute(
            "SELECT step, layer, expert, tokens FROM expert_loads WHERE run_id = ? ORDER BY ALL", [run_id]
        ).fetchall()


def loads_on_disk(path: Path) -> list[tuple[Any, ...]]:
    return sorted(RunFolder(path).read("expert_loads", ["step", "layer", "expert", "tokens"]).rows())


def counts_of(index: Index) -> dict[str, int]:
    with index.cursor() as cur:
        return {t: cur.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in data_tables()}


def problem_of(index: Index, run_id: str) -> str | None:
    with index.cursor() as cur:
        return cur.execute("SELECT problem FROM runs WHERE run_id = ?", [run_id]).fetchone()[0]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, change: Any) -> None:
    change(pl.read_parquet(path)).write_parquet(path)
