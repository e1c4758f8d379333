"""`import`: routing data of other systems into run folders."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from explorer.cli.console import say
from explorer.errors import ExplorerError
from explorer.importers import Imported, import_path, list_formats, parse_options

SIGNS = {"note": " ", "assumption": "?", "left_out": "-", "warning": "!"}


def import_command(options: argparse.Namespace) -> int:
    """Import each path; a bad one gives one sentence, and the others are still imported."""
    if options.list:
        for form in sorted(list_formats(), key=lambda form: form.name):
            print(f"{form.name:<22} {form.label}")
        return 0
    if not options.paths:
        raise ExplorerError("no file was named; give the files to import, or --list for the formats.")
    answers = parse_options(options.option)
    failed = 0
    for path in options.paths:
        try:
            runs = import_path(path, options.runs, options.format, answers, _progress(path))
        except ExplorerError as error:
            failed += 1
            if len(options.paths) == 1:
                raise
            say(f"explorer import: {error}")
            continue
        _print(runs, options.json)
    return 2 if failed else 0


def _print(runs: Sequence[Imported], as_json: bool) -> None:
    for run in runs:
        if as_json:
            line = {"run_id": run.run_id, "path": str(run.path.resolve()), "report": run.report}
            print(json.dumps(line), flush=True)
            continue
        print(f"{run.run_id}  ({run.path})")
        for entry in run.report:
            print(f"  {SIGNS[entry['severity']]} {entry['sentence']}")


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
