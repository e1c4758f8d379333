"""Speed of importing files of other systems. Goal: at least 5 million load values per second.

    python -m benchmarks.importers [--steps 400] [--layers 61] [--experts 256] [--only npy,csv]

A load value is one (step, layer, expert); for routes, one assignment. Wall time and processor time, both
including the final compaction.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from explorer.importers import import_path

TOP_K = 8
TOKENS = 1024


def counts(steps: int, layers: int, experts: int) -> np.ndarray:
    """Loads [S, L, E] of 1,024 tokens per step."""
    rng = np.random.default_rng(0)
    popularity = rng.dirichlet(np.full(experts, 5.0), size=layers)
    return rng.poisson(TOKENS * TOP_K * popularity, size=(steps, layers, experts))


def long_frame(loads: np.ndarray) -> pl.DataFrame:
    step, layer, expert = np.indices(loads.shape).reshape(3, -1)
    return pl.DataFrame({"step": step, "layer": layer, "expert": expert, "tokens": loads.ravel()})


def write_npy(path: Path, loads: np.ndarray) -> int:
    np.save(path / "loads.npy", loads)
    return loads.size


def write_parquet(path: Path, loads: np.ndarray) -> int:
    long_frame(loads).write_parquet(path / "loads.parquet")
    return loads.size


def write_csv(path: Path, loads: np.ndarray) -> int:
    long_frame(loads).write_csv(path / "loads.csv")
    return loads.size


def write_eplb(path: Path, loads: np.ndarray) -> int:
    identity = [list(range(loads.shape[2]))] * loads.shape[1]
    with (path / "load.jsonl").open("w", encoding="utf-8") as file:
        for step, rows in enumerate(loads.tolist()):
            record = {"type": "eplb_load_stats", "step": step, "expert_load": rows, "p2l_map": identity}
            file.write(json.dumps(record) + "\n")
    return loads.size


def write_routes(path: Path, loads: np.ndarray) -> int:
    """One layer, with a tenth as many assignments as load values."""
    experts = loads.shape[2]
    rows = max(1, loads.size // 10 // TOP_K)
    ids = np.argsort(np.random.default_rng(0).random((rows, experts)), axis=1)[:, :TOP_K]
    with (path / "moe_routes.jsonl").open("w", encoding="utf-8") as file:
        for row in ids.tolist():
            file.write(
                json.dumps({"type": "route", "layer": 0, "topk_ids": row, "topk_weights": [0.125] * 8}) + "\n"
            )
    return rows * TOP_K


def write_routed_experts(path: Path, loads: np.ndarray) -> int:
    layers, experts = loads.shape[1:]
    tokens = max(1, loads.size // layers // TOP_K)
    start = np.random.default_rng(0).integers(0, experts, (tokens, layers, 1))
    np.save(path / "routes.npy", ((start + np.arange(TOP_K) * 7) % experts).astype(np.int16))
    return tokens * layers * TOP_K


FORMATS: dict[str, Callable[[Path, np.ndarray], int]] = {
    "npy": write_npy,
    "parquet": write_parquet,
    "csv": write_csv,
    "vllm_eplb": write_eplb,
    "moe_routes": write_routes,
    "routed_experts": write_routed_experts,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--layers", type=int, default=61)
    parser.add_argument("--experts", type=int, default=256)
    parser.add_argument("--only", default=",".join(FORMATS))
    options = parser.parse_args()
    loads = counts(options.steps, options.layers, options.experts)
    heads = ("values", "file MB", "wall s", "CPU s", "values/s", "per CPU s", "MB resident")
    print(f"{'format':<16}" + "".join(f"{head:>13}" for head in heads))
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            values = FORMATS[name](folder, loads)
            (path,) = folder.iterdir()
            wall, cpu = time.perf_counter(), time.process_time()
            import_path(path, folder / "runs", None, {"num_experts": str(options.experts)})
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            size = path.stat().st_size / 1e6
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            cells = (f"{values:,}", f"{size:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{values / wall:,.0f}")
            cells += (f"{values / cpu:,.0f}", f"{resident:.0f}")
            print(f"{name:<16}" + "".join(f"{cell:>13}" for cell in cells))


if __name__ == "__main__":
    main()
