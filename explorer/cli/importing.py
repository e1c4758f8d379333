"""`import`: routing data of other systems into run folders."""

import _thread
import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from explorer.cli.console import say
from explorer.errors import ExplorerError
from explorer.importers import Imported, detect_format, import_path, list_formats, parse_options
from explorer.running.importing import CANCELLED, ERROR_PREFIX, progress_line

GRACE_S = 5.0
"""Time that an interrupted import has to delete what it has written."""
PROGRESS_INTERVAL_S = 0.25
SIGNS = {"note": " ", "assumption": "?", "left_out": "-", "warning": "!"}


def import_command(options: argparse.Namespace) -> int:
    """Import each path; a bad one gives one sentence, and the others are still imported."""
    if options.list:
        for form in sorted(list_formats(), key=lambda form: form.name):
            print(f"{form.name:<22} {form.label}")
        return 0
    if not options.paths:
        raise ExplorerError("no file was named; give the files to import, or --list for the formats.")
    if options.control_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if options.detect:
        for path in options.paths:
            _print_format(path, detect_format(path), options.json)
        return 0
    answers = parse_options(options.option)
    progress = _report_progress if options.control_stdin else _progress
    failed = 0
    for path in options.paths:
        try:
            runs = import_path(path, options.runs, options.format, answers, progress(path))
        except ExplorerError as error:
            failed += 1
            if len(options.paths) == 1:
                raise
            say(f"{ERROR_PREFIX}{error}")
            continue
        _print(runs, options.json)
    return 2 if failed else 0


def _print_format(path: Path, name: str, as_json: bool) -> None:
    print(json.dumps({"path": str(path), "format": name}) if as_json else f"{path}: {name}", flush=True)


def _print(runs: Sequence[Imported], as_json: bool) -> None:
    for run in runs:
        if as_json:
            line = {"run_id": run.run_id, "path": str(run.path.resolve()), "report": run.report}
            print(json.dumps(line), flush=True)
            continue
        print(f"{run.run_id}  ({run.path})")
        for entry in run.report:
            print(f"  {SIGNS[entry['severity']]} {entry['sentence']}")


def _end_with_stdin() -> None:
    """Interrupt the import when the pipe closes: the process that asked for it has ended or cancelled it.

    Read without Python's file object: a thread that waits inside one aborts the process at its end.
    """
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    # Not SIGINT, which is ignored in all children of a server that a script has started with `&`.
    _thread.interrupt_main(signal.SIGTERM)
    # A parser that does not return to Python never sees the interruption; the next import cleans up.
    time.sleep(GRACE_S)
    os._exit(CANCELLED)


def _report_progress(path: Path) -> Callable[[int, int], None]:
    """Lines for the process that started this one, a few per second."""
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last > PROGRESS_INTERVAL_S:
            last = time.monotonic()
            say(progress_line(done, total))

    return report


def _progress(path: Path) -> Callable[[int, int], None] | None:
    """A progress line on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"\r{path.name}: {done / max(1, total):4.0%} of {total / 1e6:,.1f} MB{end}")
            sys.stderr.flush()

    return show
