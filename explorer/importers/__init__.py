"""Routing data of other systems: one module per format, read into run folders, each with a report.

Needs numpy, polars and msgspec; torch only for files with torch tensors.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError, ForeignFileError, shortened
from explorer.importers.options import Options, parse_options
from explorer.importers.registry import find_format, list_formats
from explorer.importers.source import open_source
from explorer.importers.staging import publish, refuse_existing, staging_folder
from explorer.importers.writing import Origin, write_run
from explorer.recording.listing import is_fault_of_data

__all__ = ["Imported", "detect_format", "import_path", "list_formats", "parse_options"]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run created by an import."""

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

    format: the name of one of `list_formats()`; detected from the file's head and name if None. options:
    values that the file does not state, as text. progress: called with bytes read and total bytes. Raises
    ExplorerError with one sentence (file, position, rule, remedy) and leaves no run.
    """
    runs = Path(runs_dir)
    source = open_source(Path(path), progress)
    form = find_format(source, format)
    answers = Options(options or {}, form.options, source.name)
    origin = Origin(form=form, file_name=source.name, num_bytes=source.num_bytes, options=answers)
    if answers.text("run_id"):
        refuse_existing(runs / answers.text("run_id"))
    with staging_folder(runs) as staging:
        with _one_sentence(source.name):
            written = [write_run(staging, run, origin) for run in form.read(source, answers)]
        publish(staging, runs, [run_id for run_id, _ in written])
    if progress is not None:
        progress(source.num_bytes, source.num_bytes)
    return [Imported(run_id=run_id, path=runs / run_id, report=report) for run_id, report in written]


UNFORESEEN = "in a way that no rule foresaw"


def detect_format(path: Path | str) -> str:
    """The name of the format of a file or folder, found by its head and name.

    Raises ExplorerError with one sentence for a file that shows no format's signs, or cannot be opened.
    """
    source = open_source(Path(path))
    with _one_sentence(source.name):
        return find_format(source, None).name


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Safety net below the formats: any failure on a foreign file becomes one sentence. System errors,
    missing libraries and interruptions pass through."""
    try:
        yield
    except ForeignFileError as error:
        if name in str(error):
            raise
        raise ForeignFileError(f"{name}: {error}") from error
    except (ExplorerError, OSError, ModuleNotFoundError):
        raise
    except BaseException as error:
        if not is_fault_of_data(error):
            raise
        reason = shortened(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise ForeignFileError(
            f"{name}: fails {UNFORESEEN} ({type(error).__name__}: {reason}); check the file, and report it."
        ) from error
