"""Small files of other systems: their sizes, an import of them, and what it must give."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from explorer.importers import Imported, import_path
from explorer.recording import RunFolder

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("EXPLORER_REAL_FILES", ROOT.parent / "shared" / "real"))
"""Real files of other people, beside the checkout; see the README there. Never part of the repository."""
S, L, E, K, T = 4, 3, 8, 2, 64


@dataclass
class Sample:
    """A file, what an import of it has to be told, and the counts [S, L, E] that it must give."""

    path: Path
    counts: np.ndarray
    options: dict[str, str] = field(default_factory=dict)
    scale: int = 1
    """Shares are stored times this."""
    bias: np.ndarray | None = None


def real(name: str) -> Path:
    """A real file, or a skip with the reason."""
    if not (REAL / name).exists():
        pytest.skip(f"the real file {name} is not beside the checkout")
    return REAL / name


def import_one(path: Path, folder: Path, format: str | None = None, **options: Any) -> Imported:
    """The only run of a file."""
    runs = import_path(path, folder / "runs", format, {k: str(v) for k, v in options.items()})
    assert len(runs) == 1
    return runs[0]


def loads_of(run: Imported | Path) -> np.ndarray:
    """Counts [S, L, E] as the run folder has them."""
    folder = RunFolder(run.path if isinstance(run, Imported) else run)
    rows = folder.read("expert_loads").sort("step", "layer", "expert")
    sizes = (rows["step"].n_unique(), folder.info.num_moe_layers, folder.info.num_experts)
    return rows["tokens"].to_numpy().reshape(sizes)


def entries(run: Imported, kind: str) -> list[dict[str, Any]]:
    """The entries of one kind in a report."""
    return [entry for entry in run.report if entry["kind"] == kind]


def entry(run: Imported, kind: str) -> dict[str, Any]:
    """The only entry of a kind."""
    matching = entries(run, kind)
    assert len(matching) == 1, [one["kind"] for one in run.report]
    return matching[0]


def random_counts(seed: int = 0, steps: int = S) -> np.ndarray:
    """[steps, L, E], every layer with T × K assignments."""
    return np.random.default_rng(seed).multinomial(T * K, np.ones(E) / E, size=(steps, L))


def random_routes(seed: int = 0, tokens: int = T, experts: int = E) -> np.ndarray:
    """[tokens, L, K] different ids per row, no row like the one before."""
    rng = np.random.default_rng(seed)
    return np.stack([[rng.permutation(experts)[:K] for _ in range(L)] for _ in range(tokens)])


def counts_of(routes_TLK: np.ndarray, experts: int = E) -> np.ndarray:
    """[1, L, E]"""
    return np.stack(
        [np.bincount(routes_TLK[:, n].ravel(), minlength=experts) for n in range(routes_TLK.shape[1])]
    )[None]


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def long_frame(counts: np.ndarray, **columns: np.ndarray) -> pl.DataFrame:
    steps, layers, experts = np.indices(counts.shape).reshape(3, -1)
    data = {"step": steps, "layer": layers, "expert": experts, "tokens": counts.ravel()}
    return pl.DataFrame(data | {name: values.ravel() for name, values in columns.items()})
