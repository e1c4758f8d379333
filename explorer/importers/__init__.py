"""Routing data of other systems: one module per format, read into run folders, each with a report.

Needs numpy, polars and msgspec; torch only for files that hold tensors of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.importers.options import Options, parse_options
from explorer.importers.registry import find_format, formats
from explorer.importers.source import open_source
from explorer.importers.staging import publish, refuse_existing, staging_folder
from explorer.importers.writing import Origin, write_run

__all__ = ["Imported", "formats", "import_path", "parse_options"]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run that an import has made."""

    run_id: str
    path: Path
    report: list[dict[str, Any]]
    """Entries of `explorer.importers.report.ReportEntry` as dictionaries, in order."""


def import_path(
    path: Path | str,
    runs_dir: Path | str,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Imported]:
    """Import a file (or a folder of files that belong together) as one or several runs below `runs_dir`.

    format: the name of one of `formats()`; found by the file's head and name if None. options: answers to
    what the file does not say, as texts. progress: called with bytes read and bytes in all.
    Raises ExplorerError with one sentence (file, position, rule, remedy); no run is left then.
    """
    runs = Path(runs_dir)
    source = open_source(Path(path), progress)
    form = find_format(source, format)
    answers = Options(options or {}, form.options, source.name)
    origin = Origin(form=form, file_name=source.name, num_bytes=source.num_bytes, options=answers)
    if answers.text("run_id"):
        refuse_existing(runs / answers.text("run_id"))
    with staging_folder(runs) as staging:
        written = [write_run(staging, run, origin) for run in form.read(source, answers)]
        publish(staging, runs, [run_id for run_id, _ in written])
    if progress is not None:
        progress(source.num_bytes, source.num_bytes)
    return [Imported(run_id=run_id, path=runs / run_id, report=report) for run_id, report in written]
