"""Time to ingest a run into the index, and time per query.

    python -m benchmarks.store                        10^6 rows of expert_loads
    python -m benchmarks.store --rows 1e6 1e7 1e8     side by side, as multiples of the first
    python -m benchmarks.store --live                 as parts of a running run instead of compacted files

Synthetic run folders with 8 layers of 64 experts (--layers, --experts change that) are written to a temporary
folder. Reports wall time, and processor time of all threads, which a busy machine affects less. The time of a
query is the best of several, including the cursor; nothing is cached between them. "Replay" and "Compare" are
sums: every query of the first visit of that page, with a single run.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from explorer.queries import (
    balance,
    bias_step,
    biases,
    comparison,
    diagnosis,
    domains,
    events,
    loads,
    losses,
    probe,
    runs,
    steps,
    sums,
)
from explorer.store import Index

REPEATS = 9
CHUNK_STEPS = 4096
Times = tuple[float, float]


def main() -> None:
    """Build, ingest and measure; prints one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6], help="rows of expert_loads")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--live", action="store_true", help="parts in step order, not compacted")
    parser.add_argument("--folder", type=Path, help="where to put the run folders (default: temporary)")
    options = parser.parse_args()
    times: dict[str, list[Times]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for rows in options.rows:
            for name, seconds in measure(Path(folder), int(rows), options).items():
                times.setdefault(name, []).append(seconds)
    print("  ".join([f"{'wall / processor, ms':24}", *(f"{rows:>17.0e}" for rows in options.rows), "ratios"]))
    for name, values in times.items():
        cells = (f"{1000 * wall:>8.1f} {1000 * cpu:>8.1f}" for wall, cpu in values)
        ratios = (f"{wall / values[0][0]:.2f} {cpu / values[0][1]:.2f}" for wall, cpu in values[1:])
        print("  ".join([f"{name:24}", *cells, *ratios]))
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def measure(folder: Path, rows: int, options: argparse.Namespace) -> dict[str, Times]:
    """Seconds by name for one size."""
    base = folder / f"runs-{rows}"
    num_steps = max(1, rows // (options.layers * options.experts))
    write_run(base / "synthetic", num_steps, options.layers, options.experts, options.live)
    with Index.open(folder / f"index-{rows}.duckdb") as index:
        begun = now()
        report = index.ingest([base])
        result = {"ingest": since(begun)}
        assert not report.problems, report.problems
        begun = now()
        index.ingest([base])
        result["ingest, nothing new"] = since(begun)
        for name, view in views(num_steps, options.layers).items():
            result[name] = best(index, view)
        for page, queries in pages("synthetic", num_steps - 1).items():
            each = [best(index, query) for query in queries]
            result[page] = (sum(wall for wall, _ in each), sum(cpu for _, cpu in each))
        size = index.path.stat().st_size
    print(f"{rows:.0e}: {num_steps} steps, index {size / 2**20:.0f} MiB, ingest {result['ingest'][0]:.1f} s")
    return result


def now() -> Times:
    """Wall and processor time of all threads, in seconds."""
    return time.perf_counter(), time.process_time()


def since(begun: Times) -> Times:
    """Seconds since `begun`."""
    wall, cpu = now()
    return wall - begun[0], cpu - begun[1]


def best(index: Index, view: Callable[[Any], object]) -> Times:
    """Minimum over several calls, for wall and processor time separately."""
    found = []
    for _ in range(REPEATS):
        begun = now()
        with index.cursor() as cur:
            view(cur)
        found.append(since(begun))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


def views(num_steps: int, layers: int) -> dict[str, Callable[[Any], object]]:
    """Every query that reads a run, for the last layer."""
    run, layer = "synthetic", layers - 1
    return {
        "list_runs": runs.list_runs,
        "load_heatmap": lambda cur: loads.load_heatmap(cur, run, layer),
        "load_matrix": lambda cur: loads.load_matrix(cur, run, layer),
        "loads_at": lambda cur: loads.loads_at(cur, run, layer, num_steps * 2 // 3),
        "bias_trajectories": lambda cur: biases.bias_trajectories(cur, run, layer),
        "max_vio_series": lambda cur: balance.max_vio_series(cur, [run]),
        "max_vio_series, layer": lambda cur: balance.max_vio_series(cur, [run], layer=layer),
        "max_vio_series, time": lambda cur: balance.max_vio_series(cur, [run], x="time"),
        "layer_balance": lambda cur: balance.layer_balance(cur, [run]),
        "loss_series": lambda cur: losses.loss_series(cur, [run]),
        "eval_series": lambda cur: losses.eval_series(cur, [run], x="tokens"),
        "summary": comparison.summary,
        "domain_expert": lambda cur: domains.domain_expert(cur, run, layer),
        "nearest_step": lambda cur: steps.nearest_step(cur, run, num_steps // 3),
        "step_row": lambda cur: steps.step_row(cur, run, num_steps // 3),
        "events": lambda cur: events.events(cur, run),
        "event_counts": lambda cur: events.event_counts(cur, [run]),
    }


def pages(run: str, last: int) -> dict[str, list[Callable[[Any], object]]]:
    """Page -> what it asks of a run when it is opened: the first layer, the last step."""
    both: list[Callable[[Any], object]] = [
        lambda cur: sums.count_sums(cur, run),
        lambda cur: sums.shared_expert(cur, run),
        lambda cur: events.events(cur, run),
        lambda cur: losses.eval_series(cur, [run]),
    ]
    replay: list[Callable[[Any], object]] = [
        lambda cur: diagnosis.findings(cur, run),
        lambda cur: loads.load_matrix(cur, run, 0),
        lambda cur: loads.loads_at(cur, run, 0, last),
        lambda cur: biases.bias_trajectories(cur, run, 0, 80),
        lambda cur: bias_step.bias_step(cur, run, 0, last),
        lambda cur: losses.loss_series(cur, [run], 80),
        lambda cur: steps.step_row(cur, run, last),
        lambda cur: domains.domain_expert(cur, run, 0),
    ]
    compare: list[Callable[[Any], object]] = [
        lambda cur: loads.load_heatmap(cur, run, 0, 150),
        lambda cur: biases.bias_trajectories(cur, run, 0, 150),
        lambda cur: balance.max_vio_series(cur, [run]),
        lambda cur: balance.uniform_series(cur, run),
        lambda cur: balance.references(cur, run),
        lambda cur: balance.layer_balance(cur, [run]),
        lambda cur: losses.loss_series(cur, [run]),
        lambda cur: comparison.summary(cur, [run]),
        lambda cur: events.events_of_runs(cur, [run]),
        lambda cur: events.event_counts(cur, [run]),
        lambda cur: probe.probes(cur, [run]),
    ]
    return {"Replay": both + replay, "Compare": both + compare}


def write_run(folder: Path, num_steps: int, layers: int, experts: int, live: bool) -> None:
    """A run folder with random loads and biases, compacted or as parts in step order."""
    folder.mkdir(parents=True)
    info = {
        "format_version": 1,
        "run_id": folder.name,
        "name": "synthetic",
        "created_at": "2026-01-01T00:00:00+00:00",
        "num_moe_layers": layers,
        "num_experts": experts,
        "top_k": 2,
        "tokens_per_step": 2048,
        "num_steps": num_steps,
    }
    status = {"state": "finished", "last_step": num_steps - 1, "committed_step": num_steps, "heartbeat": 0}
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "status.json").write_text(json.dumps(status))
    chunks = list(_load_chunks(num_steps, layers, experts, live))
    tables = {"steps": [_steps(num_steps)], "expert_loads": chunks, **_evaluation(num_steps, layers, experts)}
    files = {}
    for table, parts in tables.items():
        if live and table == "expert_loads":
            for part, make in enumerate(parts):
                first = part * CHUNK_STEPS
                last = min(num_steps, first + CHUNK_STEPS) - 1
                pq.write_table(make(), folder / f"{table}-0-{first}-{last}.parquet")
        elif live:
            pq.write_table(parts[0](), folder / f"{table}-0-0-{num_steps}.parquet")
        else:
            files[table] = [f"{table}-g1.parquet"]
            _write_all(folder / f"{table}-g1.parquet", parts)
    if not live:
        manifest = {"generation": 1, "files": files, "attempt": 0, "last_step": num_steps}
        (folder / "manifest.json").write_text(json.dumps(manifest))


def _write_all(path: Path, parts: list[Callable[[], pa.Table]]) -> None:
    writer = None
    for make in parts:
        table = make()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=262_144)
    assert writer is not None
    writer.close()


def _load_chunks(num_steps: int, layers: int, experts: int, live: bool) -> Iterator[Callable[[], pa.Table]]:
    """Functions that make the rows: one per chunk of steps, or one per layer and half of its experts."""
    if live:
        for first in range(0, num_steps, CHUNK_STEPS):
            steps_here = np.arange(first, min(num_steps, first + CHUNK_STEPS))
            yield lambda s=steps_here: _loads(s, np.arange(layers), np.arange(experts), by_step=True)
        return
    for layer in range(layers):
        for half in np.array_split(np.arange(experts), 2):
            yield lambda one=layer, e=half: _loads(np.arange(num_steps), np.array([one]), e, by_step=False)


def _loads(s: np.ndarray, layer: np.ndarray, expert: np.ndarray, by_step: bool) -> pa.Table:
    axes = (s, layer, expert) if by_step else (layer, expert, s)
    grids = [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]
    step, layers, experts = grids if by_step else (grids[2], grids[0], grids[1])
    rng = np.random.default_rng(int(step[0]) + 7 * int(layers[0]) + int(experts[0]))
    bias = 0.02 * np.sin(experts) * (1 - np.exp(-step / (1 + step.max()))) + rng.normal(0, 1e-3, len(step))
    return pa.table(
        {
            "run_id": pa.array(["synthetic"] * len(step)).dictionary_encode(),
            "step": step,
            "layer": layers.astype(np.int32),
            "expert": experts.astype(np.int32),
            "tokens": rng.poisson(64, len(step)).astype(np.int64),
            "dropped_tokens": np.zeros(len(step), dtype=np.int64),
            "expert_bias": bias.astype(np.float32),
            "mean_score": rng.random(len(step), dtype=np.float32),
            "mean_normalised_score": rng.random(len(step), dtype=np.float32),
        }
    )


def _steps(num_steps: int) -> Callable[[], pa.Table]:
    step = np.arange(num_steps)
    columns = {
        "step": step,
        "tokens_seen": (step + 1) * 2048,
        "lm_loss": 7 * (step + 1.0) ** -0.1,
        "wall_time_s": step * 0.1,
    }
    return lambda: pa.table(columns)


def _evaluation(num_steps: int, layers: int, experts: int) -> dict[str, list[Callable[[], pa.Table]]]:
    names = ["austen", "python"]
    evals = pa.table(
        {
            "step": [num_steps] * 2,
            "split": ["held_out"] * 2,
            "domain": names,
            "lm_loss": [3.0, 2.5],
            "num_tokens": [18432] * 2,
            "num_bytes": [60000] * 2,
        }
    )
    grids = [
        g.ravel() for g in np.meshgrid(np.arange(2), np.arange(layers), np.arange(experts), indexing="ij")
    ]
    eval_loads = pa.table(
        {
            "step": np.full(len(grids[0]), num_steps),
            "split": ["held_out"] * len(grids[0]),
            "domain": [names[d] for d in grids[0]],
            "layer": grids[1].astype(np.int32),
            "expert": grids[2].astype(np.int32),
            "tokens": 500 + grids[2],
        }
    )
    return {"evals": [lambda: evals], "eval_loads": [lambda: eval_loads]}


if __name__ == "__main__":
    main()
