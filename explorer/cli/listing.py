"""`runs` and `ingest`."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer.cli.arguments import RUNS
from explorer.cli.settings import arm_names
from explorer.config.places import SHIPPED_RUNS
from explorer.errors import ConfigError
from explorer.recording import RunInfo, RunListing, list_runs
from explorer.recording.info import given_name

NO_RUNS = "No runs yet; python -m explorer compare --preset quick makes three in a minute."


def runs_folders(folders: list[Path] | None) -> list[Path]:
    """The given folders, or the default and the shipped one."""
    for path in folders or []:
        if path.exists() and not path.is_dir():
            raise ConfigError("--runs", str(path), "is not a folder", "give the folder that holds the runs")
    return folders or [RUNS, SHIPPED_RUNS]


def runs_command(options: argparse.Namespace) -> int:
    rows = [_row(listing) for listing in list_runs(*runs_folders(options.runs))]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        state = row["state"] if not row["problem"] else f"unreadable: {row['problem']}"
        rule = row["balancer"] if row["arm"] else row["label"] or "?"
        name = f"  {row['name']}" if row["name"] else ""
        print(f"{row['run_id']:<64} {rule:<24} seed {row['seed']!s:<5} {state}{name}")
    if not rows:
        print(NO_RUNS)
    return 0


def _row(listing: RunListing) -> dict[str, Any]:
    info, status = listing.info, listing.status
    return {
        "run_id": listing.run_id,
        "path": str(listing.path.resolve()),
        "balancer": arm_names(info.balancer) if info else None,
        "arm": info.balancer if info else None,
        "label": info.balancer_label if info else None,
        "name": _name(info) if info else None,
        "count_scope": info.count_scope if info else None,
        "seed": info.seed if info else None,
        "state": status.state if status and not listing.problem else "unreadable",
        "last_step": status.last_step if status else None,
        "problem": listing.problem,
    }


def _name(info: RunInfo) -> str | None:
    """None for a default name: label and seed have their own columns."""
    return given_name(info.name, run_id=info.run_id, label=info.balancer_label, seed=info.seed) or None


def ingest_command(options: argparse.Namespace) -> int:
    from explorer.store import Index

    with Index.open(options.index) as index:
        report = index.ingest(runs_folders(options.runs))
        notice = index.notice
    print(
        json.dumps({**asdict(report), "notice": notice})
        if options.json
        else f"{notice or ''}\n{report}".strip()
    )
    return 0
