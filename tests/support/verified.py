"""Runs to verify, and ways to change what they state."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from tiny import make_tiny_config, make_tiny_corpus

from explorer.recording import RunFolder, run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.training import train
from explorer.verify import Check, verify_runs

NAMES = ["documents", "checksums", "keys", "sums", "biases", "results", "figures"]


STEPS = 12


def record(runs: Path, arm: str, run_id: str = "run", stop: int | None = None, **changes: Any) -> Path:
    """Train the tiny model into a run folder; `stop`: stop there and resume from a checkpoint."""
    config, corpus = make_tiny_config(arm, probe_tokens=32, **changes), make_tiny_corpus()
    recorder = RunWriter.create(runs, run_info_from_config(config, run_id=run_id))
    first = None
    if stop is not None:
        given = iter(range(stop + 1))
        checkpoints = runs / "checkpoints"
        train(config, recorder, lambda: next(given) == stop, corpus=corpus, checkpoint_dir=checkpoints)
        recorder.finish("stopped")
        recorder, first = RunWriter.resume(recorder.path, stop), stop
    folder = None if first is None else runs / "checkpoints"
    result = train(config, recorder, corpus=corpus, checkpoint_dir=folder, resume_from=first)
    recorder.set_results(result.figures)
    recorder.finish("finished")
    return recorder.path


def verify(path: Path) -> dict[str, Check]:
    (report,) = verify_runs([path])
    assert [check.name for check in report.checks] == NAMES
    return {check.name: check for check in report.checks}


def rewrite(run: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change rows as older software would have written them: without checksums."""
    (path,) = run.glob(f"{table}-*.parquet")
    change(pl.read_parquet(path)).write_parquet(path)


def edit(run: Path, name: str, **fields: Any) -> None:
    document = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**document, **fields}))


def cell(**keys: Any) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in keys.items())


def value_at(run: Path, table: str, column: str, **keys: Any) -> Any:
    return RunFolder(run).read(table).filter(cell(**keys))[column].item()


def setter(column: str, value: Any, **keys: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(
        pl.when(cell(**keys)).then(pl.lit(value)).otherwise(column).cast(rows.schema[column]).alias(column)
    )
