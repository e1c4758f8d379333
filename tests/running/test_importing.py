"""Imports in child processes: progress, the sentence of a failure, cancelling."""

import signal
from pathlib import Path
from typing import Any

import pytest
from foreign_samples import SAMPLES
from waiting import wait_for

from explorer.errors import ForeignFileError
from explorer.running import importing
from explorer.running.importing import (
    ImportProcess,
    detect_in_child,
    failure_reason,
    import_arguments,
    progress_line,
)

TIMEOUT_S = 120.0
"""Not a goal: it only ends a hanging test."""


def test_an_import_reports_its_progress_and_its_runs(tmp_path: Path) -> None:
    sample = SAMPLES["moe_routes"][1](tmp_path)
    arguments = import_arguments(sample.path, tmp_path / "runs", "moe_routes", sample.options)
    child = ImportProcess(arguments)
    child.wait(TIMEOUT_S)
    size = sample.path.stat().st_size
    assert child.progress() == (size, size)
    (run,) = child.results()
    assert Path(run["path"]) == tmp_path / "runs" / run["run_id"]
    assert run["report"]
    child.close()


def test_a_file_that_cannot_be_imported_is_one_sentence(tmp_path: Path) -> None:
    sample = SAMPLES["moe_routes"][1](tmp_path)
    child = ImportProcess(import_arguments(sample.path, tmp_path / "runs", None, {}))
    with pytest.raises(ForeignFileError, match="does not say how many experts"):
        child.results()
    child.close()
    assert not list((tmp_path / "runs").glob("*"))


def test_a_format_is_detected(tmp_path: Path) -> None:
    assert detect_in_child(SAMPLES["moe_routes"][1](tmp_path).path, TIMEOUT_S) == "moe_routes"
    (tmp_path / "notes.txt").write_text("nothing that any format knows\n")
    with pytest.raises(ForeignFileError, match="no known format"):
        detect_in_child(tmp_path / "notes.txt", TIMEOUT_S)


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_a_cancelled_import_leaves_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, on_interrupt: Any
) -> None:
    """The child sees its pipe close, and deletes what it has begun; also one that ignores Ctrl-C, as do the
    children of a script's background process."""
    before = signal.signal(signal.SIGINT, on_interrupt)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    file = tmp_path / "routes.jsonl"
    sample = SAMPLES["moe_routes"][1](tmp_path).path.read_bytes().splitlines(keepends=True)
    lines = b"".join(line for line in sample if b"topk_ids" in line and line.endswith(b"\n"))
    file.write_bytes(lines * (100_000_000 // len(lines)))
    child = ImportProcess(import_arguments(file, tmp_path / "runs", "moe_routes", {"num_experts": "8"}))
    wait_for(lambda: child.progress() != (0, 0) or not child.is_open)
    assert child.is_open, "the file is long enough to be interrupted"
    child.cancel()
    with pytest.raises(ForeignFileError, match="was cancelled"):
        child.results()
    assert not list((tmp_path / "runs").glob("*"))
    child.close()


@pytest.mark.parametrize(
    ("errors", "code", "reason"),
    [
        ("", 0, ""),
        (f"{progress_line(1, 2)}\nexplorer import: a.csv: is empty.\nbye\n", 2, "a.csv: is empty."),
        (progress_line(1, 2), 1, "The import ended with code 1 (no message); check the file, and report it."),
        ("Traceback\nKeyError: 'x'", 1, "(KeyError: 'x')"),
        ("", -signal.SIGKILL, "may have run out of memory"),
        ("", -signal.SIGSEGV, f"ended by signal {int(signal.SIGSEGV)};"),
        ("interrupted", importing.CANCELLED, importing.CANCELLED_SENTENCE),
    ],
)
def test_why_an_import_failed_is_said_in_a_sentence(errors: str, code: int, reason: str) -> None:
    assert reason in failure_reason(errors, code)
    assert bool(reason) == bool(failure_reason(errors, code))
