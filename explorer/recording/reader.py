"""Reading run folders. Nothing here ever writes."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.recording.checksums import check_file
from explorer.recording.damage import damaged, reading
from explorer.recording.files import cannot_read, read_json, read_parsed
from explorer.recording.folder_schema import (
    COMPACTED_FILE,
    LARGEST_ATTEMPT,
    LARGEST_STEP,
    AttemptsFile,
    ManifestFile,
)
from explorer.recording.forks import refuse_broken_pool
from explorer.recording.info import RunInfo, read_info
from explorer.recording.parts import (
    ATTEMPTS_FILE,
    MANIFEST_FILE,
    Attempt,
    Part,
    parse_part,
    superseded_from,
    without_contained,
)
from explorer.recording.row_rules import wrong_type, wrong_value
from explorer.recording.schema import KEYS, SCHEMAS
from explorer.recording.status import RunStatus, read_recorded_status, read_status
from explorer.records.tables import TABLES

TABLE_FILE = re.compile(rf"[a-z_]+-\d+-\d+-\d+\.parquet|{COMPACTED_FILE}")
TRIES = 20
PAUSE_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A consistent snapshot of a folder: a step is in all of its tables or in none."""

    generation: int
    attempts: list[Attempt]
    status: RunStatus | None
    """As recorded; None when it cannot be read."""
    parts: dict[str, list[Part]]
    """For every table the files with valid rows, in order of attempt and step."""


class RunFolder:
    """A run folder, for reading; cheap to make, and safe beside an active writer.

    Raises UnreadableRunError (naming the file and the reason) from the member that needs the file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.name in ("", ".."):  # given relative to itself; the folder's name is the run's id
            self.path = self.path.resolve()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @cached_property
    def info(self) -> RunInfo:
        """run.json, cached on first access; a rule change during training replaces the file."""
        return read_info(self.path)

    @property
    def status(self) -> RunStatus:
        """The current status; `interrupted` if it says running but its process is gone."""
        status = read_status(self.path)
        return replace(status, last_step=self._without_superseded(status))

    @property
    def last_step(self) -> int:
        """The last step whose rows are all on disk, -1 before the first."""
        status = read_recorded_status(self.path)
        if status is not None:
            return self._without_superseded(status)
        return max((part.last for part in self.parts("steps")), default=-1)

    def snapshot(self) -> Snapshot:
        """The valid files of the folder. Lists it until two consecutive listings agree.

        A single listing may miss a file that was made while it ran and, by then, the ones that the
        file replaced. A second listing that begins after the first one has ended must see it.
        The status is read first: steps that it calls committed are then on disk.
        """
        before = None
        for _ in range(TRIES):
            status = read_recorded_status(self.path)
            state = (self._manifest(), self.attempts, self._names())
            if state == before:
                return self._count(status, *state)
            before = state
        raise UnreadableRunError(f"{self.path} changes faster than it can be listed; try again in a moment.")

    @property
    def generation(self) -> int:
        """Number of compactions; 0 before the first."""
        manifest = self._manifest()
        return 0 if manifest is None else manifest.generation

    @property
    def attempts(self) -> list[Attempt]:
        """attempts.json; a folder without one has the single attempt 0."""
        path = self.path / ATTEMPTS_FILE
        if not path.exists():
            return [Attempt(attempt=0, first_step=0)]
        lines = read_parsed(AttemptsFile, path, "attempts").attempts
        return [Attempt(**msgspec.structs.asdict(line)) for line in lines]

    def document(self, name: str) -> Any:
        """A document saved by `Recorder.save_json`, e.g. `probe`."""
        return read_json(self.path / (name if name.endswith(".json") else f"{name}.json"))

    def parts(self, table: str) -> list[Part]:
        """The files of `table` with valid rows, in order of attempt and step."""
        _check_table(table)
        return self.snapshot().parts[table]

    def read(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The valid rows of `table`, in unspecified order; `columns` selects some of its columns.

        Columns that a file lacks are NULL, columns not in `explorer/records/tables.py` are
        dropped. Raises UnreadableRunError naming a damaged file.
        """
        _check_table(table)
        names = list(SCHEMAS[table]) if columns is None else list(columns)
        for name in names:
            if name not in SCHEMAS[table]:
                raise RunFolderError(
                    f"columns = {name!r}: is not a column of {table}; "
                    f"choose among {', '.join(SCHEMAS[table])}."
                )
        missing = ""
        for _ in range(TRIES):
            try:
                frames = [read_part(part, names) for part in self.parts(table)]
            except FileNotFoundError as error:  # merged or compacted since the listing
                missing = str(error)
                time.sleep(PAUSE_S)
                continue
            schema = {name: SCHEMAS[table][name] for name in names}
            return pl.concat([pl.DataFrame(schema=schema), *frames])
        raise UnreadableRunError(
            f"{self.path}: a file of {table} is missing ({missing}); restore it from a copy."
        )

    def _without_superseded(self, status: RunStatus) -> int:
        """The status's last step, limited to the steps before a later attempt without a status yet."""
        below = superseded_from(status.attempt, self.attempts)
        return status.last_step if below is None else min(status.last_step, below - 1)

    def _manifest(self) -> ManifestFile | None:
        path = self.path / MANIFEST_FILE
        if not path.exists():
            return None
        manifest = read_parsed(ManifestFile, path)
        names = [name for table in manifest.files.values() for name in table]
        if len(names) > len(set(names)):
            raise UnreadableRunError(f"{path}: files names a file twice; restore it from a copy.")
        return manifest

    def _count(
        self,
        status: RunStatus | None,
        manifest: ManifestFile | None,
        attempts: list[Attempt],
        names: frozenset[str],
    ) -> Snapshot:
        """Select the valid files."""
        covered = -1 if manifest is None else manifest.attempt
        starts = {attempt.attempt: attempt.first_step for attempt in attempts}
        listed = (parse_part(self.path / name) for name in sorted(names))
        valid = [p for p in listed if p is not None and p.attempt > covered and _is_committed(p, status)]
        for part in valid:
            _check_range(part, starts.get(part.attempt, 0))
        compacted = [] if manifest is None else self._compacted(manifest)
        parts: dict[str, list[Part]] = {table: [] for table in TABLES}
        for part in compacted + without_contained(valid):
            below = superseded_from(part.attempt, attempts)
            if below is None or below > part.last:
                parts[part.table].append(part)
            elif below > part.first:
                parts[part.table].append(replace(part, below=below))
        generation = 0 if manifest is None else manifest.generation
        return Snapshot(generation=generation, attempts=attempts, status=status, parts=parts)

    def _compacted(self, manifest: ManifestFile) -> list[Part]:
        committed = -1 if manifest.committed_step is None else manifest.committed_step
        return [
            Part(
                path=self.path / name,
                table=table,
                attempt=manifest.attempt,
                first=0,
                last=max(manifest.last_step, committed),
                generation=manifest.generation,
            )
            for table, names in manifest.files.items()
            if table in TABLES
            for name in names
        ]

    def _names(self) -> frozenset[str]:
        try:
            with os.scandir(self.path) as entries:
                tables = [entry for entry in entries if TABLE_FILE.fullmatch(entry.name)]
                for entry in tables:
                    _check_regular(entry)
        except OSError as error:
            if self.path.exists():
                raise cannot_read(self.path, error) from error
            raise UnreadableRunError(
                f"{self.path} cannot be listed ({error.strerror}); check that the folder exists."
            ) from error
        return frozenset(entry.name for entry in tables)


def _check_table(table: str) -> None:
    if table not in TABLES:
        raise RunFolderError(
            f"table = {table!r}: is not a table of a run; choose one of {', '.join(TABLES)}."
        )


def _check_regular(entry: os.DirEntry[str]) -> None:
    """A table must be a file, or a link to one: reading a named pipe would block."""
    if not entry.is_file() and os.path.lexists(entry.path):
        raise UnreadableRunError(f"{entry.path} is not a regular file; restore it from a copy.")


def _check_range(part: Part, first_step: int) -> None:
    """The numbers in a part's name: an attempt begins at `first_step`, and later ones continue."""
    if not first_step <= part.first <= part.last <= LARGEST_STEP or part.attempt > LARGEST_ATTEMPT:
        raise UnreadableRunError(
            f"{part.path}: its name must be {part.table}-ATTEMPT-FIRST-LAST.parquet with FIRST at least "
            f"{first_step}, where the attempt began, LAST from FIRST to {LARGEST_STEP} and ATTEMPT at most "
            f"{LARGEST_ATTEMPT}; restore it from a copy."
        )


def _is_committed(part: Part, status: RunStatus | None) -> bool:
    """A flush writes several tables and commits them together with the next status."""
    if status is None or part.attempt < status.attempt:
        return True
    return part.attempt == status.attempt and part.last <= status.committed_step


def read_part(part: Part, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
    """The valid rows of one part for which `where` (on key columns) holds.

    The part's checksums are verified first, except with `where`: a caller that reads a part in pieces
    verifies them once itself. Raises FileNotFoundError when a merge has replaced it, UnreadableRunError when
    it is damaged, and RunFolderError in a forked process where Polars would hang.
    """
    refuse_broken_pool()
    schema = SCHEMAS[part.table]
    names = list(schema) if columns is None else list(columns)
    if where is None:
        check_file(part.path, values_are_enough=True)
    with reading(part.path):
        # Digests of values do not cover statistics, and damaged ones must not skip a row group.
        lazy = pl.scan_parquet(part.path, glob=False, use_statistics=False)
        present = lazy.collect_schema()
        lacking = [name for name in KEYS[part.table] if name not in present]
        if lacking:
            raise damaged(part.path, f"lacks the column {', '.join(lacking)}")
        reason = wrong_type(part.table, lazy)
        if reason is not None:
            raise damaged(part.path, reason)
        if part.below is not None:
            lazy = lazy.filter(pl.col("step") < part.below)
        if where is not None:
            lazy = lazy.filter(where)
        absent = [pl.lit(None).alias(name) for name in names if name not in present]
        lazy = lazy.with_columns(absent).select(pl.col(name).cast(schema[name]) for name in names)
        frame = lazy.collect()
    reason = wrong_value(part.table, frame)
    if reason is not None:
        raise damaged(part.path, reason)
    return frame
