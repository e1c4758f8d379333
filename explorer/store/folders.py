"""Access to run folders: the only module of the store that reads them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.config.places import signature
from explorer.errors import UnreadableRunError
from explorer.recording import Part, RunFolder, RunInfo, RunListing, list_runs
from explorer.recording.listing import printable
from explorer.records.tables import TABLES

SETTLED = ("manifest.json", "attempts.json")


@dataclass(frozen=True, kw_only=True)
class RunsBelow:
    """The runs below some folders, and those rejected because of a duplicate id."""

    runs: tuple[RunListing, ...]
    notices: tuple[str, ...]


def find_runs(dirs: Iterable[Path]) -> RunsBelow:
    """One listing per run id; of two folders with the same id the one in the earlier directory counts.

    In the order of ingest, see `_urgency`.
    """
    folders = [Path(d) for d in dirs]
    rank = {str(folder): position for position, folder in reversed(list(enumerate(folders)))}
    by_id: dict[str, list[RunListing]] = {}
    for listing in list_runs(*folders):
        by_id.setdefault(listing.run_id, []).append(listing)
    runs, notices = [], []
    for run_id in sorted(by_id):
        first, *others = sorted(by_id[run_id], key=lambda x: rank.get(str(x.path.parent), len(rank)))
        runs.append(first)
        notices += [
            f"{other.path}: the run id {run_id} is taken by {first.path}; rename or delete one of the two."
            for other in others
            if other.path.resolve() != first.path.resolve()
        ]
    return RunsBelow(runs=tuple(sorted(runs, key=_urgency)), notices=tuple(map(printable, notices)))


def _urgency(listing: RunListing) -> tuple[bool, int, int, str]:
    """Live runs first, then first seeds, then short names: those are the plain arms, which a new index
    should show before their variants."""
    running = listing.status is not None and listing.status.state == "running"
    seed = listing.info.seed if listing.info is not None else None
    return (not running, seed or 0, len(listing.run_id), listing.run_id)


def read_parts(path: Path) -> tuple[int, tuple[Part, ...]] | None:
    """Generation and valid parts of every table, as a consistent snapshot.

    None if the folder was compacted, resumed or deleted while it was listed: retry later.
    Raises `UnreadableRunError` if its documents cannot be read.
    """
    folder = RunFolder(path)
    before = signature(path, SETTLED)
    try:
        generation = folder.generation
        parts = tuple(part for table in TABLES for part in folder.parts(table))
    except UnreadableRunError:
        if not path.exists():
            return None
        raise
    return (generation, parts) if signature(path, SETTLED) == before else None


OF_A_TRAINING = {"unit": "assignments", "scope": "global", "phase": "training"}
"""Labels of a run that a training loop records, which its run.json leaves out."""


def _labels(info: RunInfo) -> dict[str, str | None]:
    """Unit, scope and phase of a run's loads."""
    missing = {} if info.source.startswith("imported:") else OF_A_TRAINING
    return {name: getattr(info, name) or missing.get(name) for name in OF_A_TRAINING}


def run_row(listing: RunListing) -> dict[str, Any]:
    """Values of the table `runs` for a listing, `generation` aside; missing ones are NULL."""
    row: dict[str, Any] = {
        "run_id": listing.run_id,
        "path": printable(str(listing.path)),
        "dir_kind": "shipped" if listing.path.resolve().parts[-3:-1] == ("data", "runs") else "own",
        "name": listing.run_id,
        "state": "unreadable",
        "problem": listing.problem,
    }
    info, status = listing.info, listing.status
    if info is not None:
        row |= {
            "name": info.name,
            "created_at": info.created_at,
            "source": info.source,
            "preset": info.preset,
            "seed": info.seed,
            "balancer": info.balancer,
            "balancer_label": info.balancer_label,
            "balancer_family": info.balancer_family,
            "count_scope": info.count_scope,
            "config": json.dumps(info.config),
            "pair_key": info.pair_key or None,  # unknown, so it matches no other run
            "config_digest": info.config_digest,
            "versions": json.dumps(info.versions),
            "device": info.device,
            "corpus_digest": info.corpus.get("digest"),
            **_labels(info),
            "num_moe_layers": info.num_moe_layers,
            "num_experts": info.num_experts,
            "layers": None if info.layers is None else list(info.layers),
            "experts_per_layer": None if info.is_even else list(info.layer_widths),
            "top_k": info.top_k,
            "tokens_per_step": info.tokens_per_step,
            "num_steps": info.num_steps,
        }
    if status is not None:
        row |= {
            "state": status.state,
            "message": printable(status.message) or None,
            "last_step": status.last_step,
            "heartbeat": status.heartbeat or None,
            "wall_time_s": status.wall_time_s,
            "tokens_per_second": status.tokens_per_second,
        }
    return row
