"""`diagnose`: what is wrong with the routers of recorded runs?"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from explorer.cli.console import say
from explorer.cli.listing import NO_RUNS
from explorer.cli.run_paths import run_paths
from explorer.errors import ExplorerError
from explorer.health import Finding, RunRows, diagnose, read_folder
from explorer.health.loads import few_steps_note
from explorer.recording import RunFolder, list_runs
from explorer.recording.files import plain
from explorer.recording.info import REPLICAS
from explorer.recording.layer_names import name_of
from explorer.wording import listed

PLACEMENT = "its numbers are replicas per expert and no loads, so there is nothing to diagnose"


def diagnose_command(options: argparse.Namespace) -> int:
    """Print the findings of each run; a run that cannot be read is one sentence, and the others follow."""
    paths = _run_paths(options.run, options.runs)
    if not paths and not options.json:
        print(NO_RUNS)
    failed = 0
    for path in paths:
        try:
            rows = read_folder(RunFolder(path))
            findings = diagnose(rows)
        except ExplorerError as error:
            failed += 1
            if len(paths) == 1:
                raise
            say(f"explorer diagnose: {error}")
            continue
        if options.json:
            print(json.dumps(plain(_document(path.name, rows, findings)), allow_nan=False), flush=True)
        else:
            is_placement = rows.info.unit == REPLICAS
            text = [f"{path.name}: {PLACEMENT}"] if is_placement else lines(path.name, findings, rows)
            print("\n".join(text), flush=True)
    return 2 if failed else 0


def _run_paths(texts: Sequence[str], folders: list[Path] | None) -> list[Path]:
    """As `run_paths`, and of a folder that holds runs all of them."""
    if not texts:
        return run_paths(texts, folders)
    return list(dict.fromkeys(path for text in texts for path in _runs_of(text, folders)))


def _runs_of(text: str, folders: list[Path] | None) -> Iterator[Path]:
    held = [run for run in list_runs(Path(text)) if not run.is_group] if len(text) < 4096 else []
    if held and not (Path(text) / "run.json").exists():
        yield from (run.path for run in sorted(held, key=lambda run: run.run_id))
    else:
        yield from run_paths([text], folders)


def _document(run_id: str, rows: RunRows, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "run_id": run_id,
        "last_step": rows.last_step,
        "is_sampled": rows.is_sampled,
        "findings": [finding.to_dict() | _layer_name(rows, finding) for finding in findings],
    }


def _layer_name(rows: RunRows, finding: Finding) -> dict[str, str]:
    """What the model calls the layer of a finding; empty where the run does not say."""
    if finding.layer is None:
        return {}
    name = name_of(rows.info.config, rows.info.layer_numbers, finding.layer)
    return {"layer_name": name} if name else {}


def lines(run_id: str, findings: Sequence[Finding], rows: RunRows | None = None) -> list[str]:
    """The run, then each kind of finding with its layers, its worst sentence and one thing to try.

    rows: of the run, for the names of its layers.
    """
    if not findings:
        steps = 0 if rows is None else max((len(layer.steps) for layer in rows.layers), default=0)
        return [f"{run_id}: nothing found{few_steps_note(steps)}"]
    result = [f"{run_id}:"]
    for _, group in groupby(findings, key=lambda finding: finding.kind):
        same = list(group)
        worst = most_telling(same)
        layers = [finding.layer for finding in same if finding.layer is not None]
        where = f" (layers {listed(layers)})" if len(layers) > 1 else ""
        name = "".join(f" [{n}]" for n in _layer_name(rows, worst).values()) if rows is not None else ""
        result.append(f"  {worst.kind}{where}: {worst.sentence}{name}")
        result.append(f"    try: {worst.try_this}")
    return result


def most_telling(findings: Sequence[Finding]) -> Finding:
    """Of findings of one kind the one that is furthest beyond its threshold; the first of equal ones."""
    return max(findings, key=lambda finding: finding.severity)
