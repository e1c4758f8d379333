"""The rows that finished runs leave: `data/evidence/*.parquet`, one row per run.

Run folders are large and may be gone tomorrow; a row is what a verdict needs. A file is replaced as a whole
and under a lock, so a killed runner loses no row, and two runners may write into one file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from explorer.config.places import ROOT
from explorer.errors import ExplorerError
from explorer.evidence.experiment import Metrics, Run
from explorer.files import write_whole

FOLDER = ROOT / "data" / "evidence"
FILE = "results.parquet"
SCHEMA = {
    "digest": pl.String,
    "experiment": pl.String,
    "arm": pl.String,
    "scale": pl.String,
    "seed": pl.Int64,
    "text": pl.String,
    "config": pl.String,
    "metrics": pl.String,
    "series": pl.String,
    "seconds": pl.Float64,
    "versions": pl.String,
    "device": pl.String,
    "finished_at": pl.String,
}


class EvidenceError(ExplorerError):
    """A file of results cannot be read, or an experiment cannot be run."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one run left."""

    digest: str
    experiment: str
    """The experiment that made it; others may use it, too."""
    arm: str
    scale: str
    seed: int
    text: str
    config: Mapping[str, Any]
    metrics: Metrics
    series: Sequence[float] = ()
    """MaxVio over training, in bins."""
    seconds: float
    """Wall time of the run, evaluations included."""
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    finished_at: str = ""


def row_of(
    run: Run,
    metrics: Metrics,
    *,
    seconds: float,
    series: Sequence[float] = (),
    versions: Mapping[str, str] | None = None,
    device: str = "",
    finished_at: str = "",
) -> Row:
    """The row of a finished run."""
    return Row(
        digest=run.digest,
        experiment=run.experiment,
        arm=run.arm,
        scale=run.scale,
        seed=run.seed,
        text=run.text,
        config=run.config,
        metrics=metrics,
        series=series,
        seconds=seconds,
        versions=versions or {},
        device=device,
        finished_at=finished_at,
    )


def files_of(place: Path) -> list[Path]:
    """The files of results in a folder, or the one file."""
    return sorted(place.glob("*.parquet")) if place.is_dir() else [place] if place.exists() else []


def fingerprint(place: Path | None = None) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files: equal ones hold equal rows."""
    return tuple((file.name, (s := file.stat()).st_size, s.st_mtime_ns) for file in files_of(place or FOLDER))


def read_frame(place: Path | None = None) -> pl.DataFrame:
    """All rows as they are stored. Raises EvidenceError for a file that is no table of results."""
    frames = [pl.DataFrame(schema=SCHEMA)]
    for file in files_of(place or FOLDER):
        try:
            frame = pl.read_parquet(file)
            frames.append(frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise EvidenceError(
                f"{file}: is not a table of results ({type(error).__name__}); restore it from git."
            ) from error
    return pl.concat(frames).unique("digest", keep="last", maintain_order=True)


def read_rows(place: Path | None = None) -> dict[str, Row]:
    """Digest -> row."""
    try:
        return {row["digest"]: _row(row) for row in read_frame(place).iter_rows(named=True)}
    except (ValueError, TypeError) as error:
        raise EvidenceError(
            f"{place or FOLDER}: holds a row that cannot be read; restore it from git."
        ) from error


def _row(stored: Mapping[str, Any]) -> Row:
    parsed = {name: json.loads(stored[name]) for name in ("config", "metrics", "series", "versions")}
    return Row(**{**stored, **parsed})


def append_row(file: Path, row: Row) -> None:
    """Add a row, or replace the one of the same digest. Raises OSError."""
    texts = {
        name: json.dumps(getattr(row, name), sort_keys=True) for name in ("config", "metrics", "versions")
    }
    texts["series"] = json.dumps(list(row.series))
    new = pl.DataFrame([{**{name: getattr(row, name) for name in SCHEMA}, **texts}], schema=SCHEMA)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file):
        frame = pl.concat([read_frame(file), new]).unique("digest", keep="last", maintain_order=True)
        buffer = BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=19)
        write_whole(file, buffer.getvalue())


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One writer at a time; the lock ends with its process. Where there are no such locks, none is taken."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with file.with_name(f".{file.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
