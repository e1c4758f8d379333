"""Small files of other systems, made here, each with the counts that an import of it must give."""

import base64
import io
import json
import os
import pickle
import struct
from collections import Counter
from collections.abc import Callable
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
    found = entries(run, kind)
    assert len(found) == 1, [one["kind"] for one in run.report]
    return found[0]


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


def sample_csv(folder: Path) -> Sample:
    counts = random_counts()
    long_frame(counts).write_csv(folder / "loads.csv")
    return Sample(folder / "loads.csv", counts, {"num_experts": "8"})


def sample_parquet(folder: Path) -> Sample:
    counts = random_counts()
    long_frame(counts).write_parquet(folder / "loads.parquet")
    return Sample(folder / "loads.parquet", counts, {"num_experts": "8"})


def sample_training_csv(folder: Path) -> Sample:
    counts = random_counts()
    bias = np.random.default_rng(1).normal(size=counts.shape).astype(np.float32)
    frame = long_frame(counts, expert_bias=bias).with_columns(
        (pl.col("tokens") / (T * K)).alias("token_distr"),
        pl.lit(0.5).alias("expert_imp"),
        pl.lit(0).alias("token_dropped"),
    )
    names = ["step", "layer", "expert", "token_distr", "expert_imp", "token_dropped", "expert_bias"]
    frame.select(names).write_csv(folder / "moe.csv")
    return Sample(folder / "moe.csv", counts / (T * K), {"num_experts": "8"}, scale=1_000_000, bias=bias)


def sample_npy(folder: Path) -> Sample:
    counts = random_counts()
    np.save(folder / "loads.npy", counts)
    return Sample(folder / "loads.npy", counts)


def sample_sglang(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    path = folder / "prefill.json"
    path.write_text(json.dumps({"logical_count": counts[0].astype(float).tolist()}))
    return Sample(path, counts)


def sample_sglang_stat(folder: Path) -> Sample:
    import torch

    counts = random_counts()
    path = folder / "expert_distribution_recorder_1.pt"
    torch.save({"rank": 0, "logical_count": torch.tensor(counts, dtype=torch.int32)}, path)
    return Sample(path, counts)


def sample_sglang_passes(folder: Path) -> Sample:
    import torch

    counts = random_counts()
    to_logical = np.tile(np.r_[np.arange(E), 0, 1], (L, 1))
    records = []
    for step in range(S):
        physical = np.concatenate([counts[step], np.zeros((L, 2), dtype=np.int64)], axis=1)
        physical[:, 8:] = physical[:, :2] // 2
        physical[:, :2] -= physical[:, 8:]
        for rank, share in enumerate((physical // 3, physical - physical // 3)):
            value = torch.tensor(share, dtype=torch.int32)
            records.append({"forward_pass_id": step, "rank": rank, "global_physical_count": value})
    path = folder / "expert_distribution_recorder_1_0.pt"
    torch.save({"records": records, "last_physical_to_logical_map": torch.tensor(to_logical)}, path)
    return Sample(path, counts)


def route_records(routes_TLK: np.ndarray, **meta: Any) -> list[Any]:
    records: list[Any] = [{"type": "meta", "model_id": "tiny", "layers_logged": [0], "top_k": K} | meta]
    for token, layers in enumerate(routes_TLK.tolist()):
        for layer, ids in enumerate(layers):
            weights = [0.6, 0.4]
            records.append(
                {"type": "route", "req_id": "r0", "token_idx": token, "layer": layer, "topk_ids": ids,
                 "topk_weights": weights}
            )  # fmt: skip
    return records


def sample_moe_routes(folder: Path) -> Sample:
    routes = random_routes()
    path = write_lines(folder / "moe_routes.jsonl", route_records(routes))
    return Sample(path, counts_of(routes), {"num_experts": "8"})


def sample_vllm_eplb(folder: Path) -> Sample:
    counts = random_counts()
    to_logical = np.tile(np.r_[np.arange(E), 3], (L, 1)).tolist()
    records: list[Any] = [
        {"type": "eplb_load_meta", "model": "tiny", "num_layers": L, "num_redundant_experts": 1}
    ]
    for step in range(S):
        physical = np.concatenate([counts[step], np.zeros((L, 1), dtype=np.int64)], axis=1)
        physical[:, 8], physical[:, 3] = physical[:, 3], 0
        records.append(
            {
                "type": "eplb_load_stats",
                "step": 10 * step,
                "expert_load": physical.tolist(),
                "p2l_map": to_logical,
            }
        )
    return Sample(write_lines(folder / "load.jsonl", records), counts)


def trace_line(step: int, layer: int, ids_TK: np.ndarray, **fields: Any) -> dict[str, Any]:
    """A line of Megatron's router trace."""
    line = {"step": step, "stage": "pre_dispatch", "block": "decoder", "layer": layer, "rank": 0}
    return line | {"num_tokens": len(ids_TK), "topk": K, "top_indices": ids_TK.tolist()} | fields


def sample_megatron_trace(folder: Path) -> Sample:
    routes = [random_routes(seed) for seed in range(S)]
    lines = [
        trace_line(step, layer, half[:, layer])
        for step in range(S)
        for half in (routes[step][: T // 2], routes[step][T // 2 :])
        for layer in range(L)
    ]
    path = write_lines(folder / "router_trace_rank0.jsonl", lines)
    return Sample(path, np.concatenate([counts_of(one) for one in routes]), {"num_experts": "8"})


def sample_megatron_tokens(folder: Path) -> Sample:
    counts = random_counts()
    trace = folder / "tokens_per_expert"
    trace.mkdir()
    for rank in range(2):
        lines = [
            {
                "iter": step,
                "block": "decoder",
                "layer": layer,
                "tpe": [counts[step, layer, 4 * rank : 4 * rank + 4].tolist()],
            }
            for step in range(S)
            for layer in range(L)
        ]
        write_lines(trace / f"rank{rank}.jsonl", lines)
    return Sample(trace, counts, {"num_experts": "8"})


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype("<i8").tobytes()
        header[name] = {
            "dtype": "I64",
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def sample_trtllm(folder: Path) -> Sample:
    counts = random_counts()
    trace = folder / "statistics"
    trace.mkdir()
    (trace / "meta_info.json").write_text(json.dumps({"num_experts": E, "num_experts_per_token": K}))
    for rank, share in enumerate((counts // 2, counts - counts // 2)):
        tensors = {f"{s}_{layer}": share[s, layer] for s in range(S) for layer in range(L)}
        (trace / f"rank{rank}.safetensors").write_bytes(safetensors_bytes(tensors))
    return Sample(trace, counts)


def sample_esft(folder: Path) -> Sample:
    routes = random_routes()[:, :1]
    lines = []
    for part in (routes[:40, 0], routes[40:, 0]):
        ids, weights = part.ravel().tolist(), [0.25] * part.size
        lines.append("\t".join([*map(str, ids), "", *map(str, weights)]))
    path = folder / "expert_weights_5.txt"
    path.write_text("\n".join(lines) + "\n")
    return Sample(path, counts_of(routes), {"num_experts": "8"})


def sample_esft_summary(folder: Path) -> Sample:
    shares = np.round(random_counts(steps=1) / (T * K), 4)
    table = {str(n + 1): {str(e): float(v) for e, v in enumerate(row)} for n, row in enumerate(shares[0])}
    path = folder / "summary.json"
    path.write_text(json.dumps({"token_scores": table, "gate_scores": table}))
    return Sample(path, shares, {"num_experts": "8"}, scale=10_000)


def sample_fingerprint(folder: Path) -> Sample:
    shares = random_counts(steps=1)[0] / T
    table = {
        f"layer_{n}": {
            str(e): {"prob_density": 0.1, "count_frequency": float(v)} for e, v in enumerate(row) if e != 3
        }
        for n, row in enumerate(shares)
    }
    shares[:, 3] = 0
    path = folder / "fingerprint.json"
    path.write_text(json.dumps({"sample_count": 5, "think_expert_analytics": table}))
    return Sample(path, shares[None], {"num_experts": "8", "top_k": "2"}, scale=1_000_000)


def npy_bytes(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def sample_routed_experts(folder: Path) -> Sample:
    routes = random_routes()
    forms: list[Any] = [
        routes[:20].tolist(),
        {"encoding": "base64", "dtype": "int16", "shape": [20, L, K],
         "data": base64.b64encode(routes[20:40].astype("<i2").tobytes()).decode()},
        base64.b64encode(npy_bytes(routes[40:50].astype(np.int16))).decode(),
        base64.b64encode(base64.b64encode(routes[50:].astype("<i4").tobytes())).decode(),
    ]  # fmt: skip
    records = [{"choices": [{"routed_experts": form}]} for form in forms]
    path = write_lines(folder / "responses.jsonl", records)
    return Sample(path, counts_of(routes), {"num_experts": "8", "num_layers": "3", "top_k": "2"})


def sample_routes_npy(folder: Path) -> Sample:
    routes = random_routes()
    np.save(folder / "routes.npy", routes.astype(np.int16))
    return Sample(folder / "routes.npy", counts_of(routes), {"num_experts": "8"})


def sample_router_logits(folder: Path) -> Sample:
    import torch

    routes = random_routes()
    logits = np.zeros((L, T + 4, E), dtype=np.float32)
    for layer in range(L):
        np.put_along_axis(logits[layer, :T], routes[:, layer], np.array([2.0, 1.0], dtype=np.float32), axis=1)
    mask = np.r_[np.ones(T, dtype=np.int64), np.zeros(4, dtype=np.int64)]
    value = {"router_logits": tuple(map(torch.tensor, logits)), "attention_mask": torch.tensor(mask)[None]}
    torch.save(value, folder / "router_logits.pt")
    return Sample(folder / "router_logits.pt", counts_of(routes), {"top_k": "2"})


def sample_eplb_json(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    (folder / "weight.json").write_text(json.dumps({"weight": counts[0].tolist()}))
    return Sample(folder / "weight.json", counts)


def sample_eplb_csv(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    text = "\n".join(",".join(map(str, row)) for row in counts[0].tolist())
    (folder / "weight.csv").write_text(text + "\n")
    return Sample(folder / "weight.csv", counts)


def sample_printed(folder: Path) -> Sample:
    counts = random_counts()
    lines = [
        "Counts:",
        *(str([(n + 1, f"tensor({row})") for n, row in enumerate(step)]) for step in counts.tolist()),
    ]
    (folder / "log.md").write_text("\n".join(lines).replace("'", "") + "\n")
    return Sample(folder / "log.md", counts)


def sample_olmoe(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    counters = [Counter({np.int64(e): int(n) for e, n in enumerate(row) if n}) for row in counts[0]]
    (folder / "arxiv.pkl").write_bytes(pickle.dumps(counters, protocol=4))
    return Sample(folder / "arxiv.pkl", counts, {"num_experts": "8"})


def sample_olmoe_routes(folder: Path) -> Sample:
    routes = random_routes()
    records = [{"exp_ids": part.transpose(0, 2, 1).tolist()} for part in (routes[:30], routes[30:])]
    return Sample(write_lines(folder / "c4_results.jsonl", records), counts_of(routes), {"num_experts": "8"})


def sample_moewatch(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    table = {f"layer_{n}": {"n_experts": E, "token_counts": row} for n, row in enumerate(counts[0].tolist())}
    (folder / "watch.json").write_text(json.dumps({"metadata": {}, "utilization": table}))
    return Sample(folder / "watch.json", counts)


def sample_plumb(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    layers = [
        {"layer_id": n, "experts": [{"expert_id": e, "token_count": c} for e, c in enumerate(row)]}
        for n, row in enumerate(counts[0].tolist())
    ]
    (folder / "plumb.json").write_text(json.dumps({"layers": layers}))
    return Sample(folder / "plumb.json", counts, {"num_experts": "8"})


def sample_atlas(folder: Path) -> Sample:
    routes = random_routes()
    table = [
        {"layer": layer, "token_idx": t, "expert_idx": e, "gate_weight": 0.5}
        for t, layers in enumerate(routes.tolist())
        for layer, ids in enumerate(layers)
        for e in ids
    ]
    document = {"model_id": "tiny", "num_layers": L, "num_experts": E, "top_k": K, "activations": table}
    (folder / "atlas.json").write_text(json.dumps(document))
    return Sample(folder / "atlas.json", counts_of(routes))


def sample_ascend(folder: Path) -> Sample:
    devices = [
        {"device_id": 0, "device_expert": [0, 1, 2, 3, 0]},
        {"device_id": 1, "device_expert": [4, 5, 6, 7, 0]},
    ]
    layers = [{"layer_id": n, "device_count": 2, "device_list": devices} for n in range(L)]
    (folder / "map.json").write_text(json.dumps({"moe_layer_count": L, "layer_list": layers}))
    counts = np.tile(np.r_[3, np.ones(7, dtype=np.int64)], (1, L, 1))
    return Sample(folder / "map.json", counts)


def event_bytes(step: int, values: dict[str, float]) -> bytes:
    def field_bytes(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def varint(value: int) -> bytes:
        out = b""
        while value > 0x7F:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    parts = [
        field_bytes(1, field_bytes(1, k.encode()) + b"\x15" + struct.pack("<f", v)) for k, v in values.items()
    ]
    event = b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(step) + field_bytes(5, b"".join(parts))
    return len(event).to_bytes(8, "little") + b"\0\0\0\0" + event + b"\0\0\0\0"


def scalar_rows(counts: np.ndarray) -> list[dict[str, float]]:
    return [
        {
            f"moe-expert/tokens_layer{n}_expert{e}": c
            for n, row in enumerate(layers)
            for e, c in enumerate(row)
        }
        | {"lm loss": 4.0 - step}
        for step, layers in enumerate(counts.tolist())
    ]


def sample_tensorboard(folder: Path) -> Sample:
    counts = random_counts()
    path = folder / "events.out.tfevents.1.host"
    path.write_bytes(b"".join(event_bytes(10 * s, row) for s, row in enumerate(scalar_rows(counts))))
    return Sample(path, counts, {"num_experts": "8"})


def sample_wandb_jsonl(folder: Path) -> Sample:
    counts = random_counts()
    records = [{"_step": s} | row for s, row in enumerate(scalar_rows(counts))]
    return Sample(write_lines(folder / "history.jsonl", records), counts, {"num_experts": "8"})


def sample_wandb_csv(folder: Path) -> Sample:
    counts = random_counts()
    rows = [
        {"Step": s} | {f"run-1 - {k}": v for k, v in row.items()} for s, row in enumerate(scalar_rows(counts))
    ]
    pl.DataFrame(rows).write_csv(folder / "export.csv")
    return Sample(folder / "export.csv", counts, {"num_experts": "8"})


def sample_placement_map(folder: Path) -> Sample:
    slots_LP = np.stack([np.random.default_rng(n).permutation([*range(E), n, n + 1]) for n in range(L)])
    path = folder / "placement.json"
    path.write_text(json.dumps({"physical_to_logical_map": slots_LP.tolist()}))
    return Sample(path, np.stack([np.bincount(slots_P, minlength=E) for slots_P in slots_LP])[None])


def sample_llama_cpp(folder: Path) -> Sample:
    routes = random_routes()
    rows = [f"{layer},{e}" for layers in routes.tolist() for layer, ids in enumerate(layers) for e in ids]
    (folder / "trace.csv").write_text("layer,expert\n" + "\n".join(rows) + "\n# total,384\n")
    return Sample(folder / "trace.csv", counts_of(routes), {"num_experts": "8"})


def sample_sglang_csv(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    rows = [f"{n},{e},{c}" for n, row in enumerate(counts[0].tolist()) for e, c in enumerate(row)]
    (folder / "counts.csv").write_text("layer_id,expert_id,count\n" + "\n".join(rows) + "\n")
    return Sample(folder / "counts.csv", counts, {"num_experts": "8"})


SAMPLES: dict[str, tuple[str, Callable[[Path], Sample]]] = {
    "csv": ("table", sample_csv),
    "parquet": ("table", sample_parquet),
    "training_csv": ("training_csv", sample_training_csv),
    "llama_cpp": ("llama_cpp", sample_llama_cpp),
    "sglang_csv": ("sglang_csv", sample_sglang_csv),
    "npy": ("npy", sample_npy),
    "sglang": ("sglang", sample_sglang),
    "sglang_stat": ("sglang_recorder", sample_sglang_stat),
    "sglang_passes": ("sglang_recorder", sample_sglang_passes),
    "moe_routes": ("moe_routes", sample_moe_routes),
    "vllm_eplb": ("vllm_eplb", sample_vllm_eplb),
    "megatron_trace": ("megatron_trace", sample_megatron_trace),
    "megatron_tokens": ("megatron_tokens", sample_megatron_tokens),
    "tensorrt_llm": ("tensorrt_llm", sample_trtllm),
    "esft": ("esft", sample_esft),
    "esft_summary": ("esft_summary", sample_esft_summary),
    "fingerprint": ("gpt_oss_fingerprint", sample_fingerprint),
    "routed_experts": ("routed_experts", sample_routed_experts),
    "routes_npy": ("routed_experts", sample_routes_npy),
    "router_logits": ("router_logits", sample_router_logits),
    "eplb_json": ("eplb", sample_eplb_json),
    "eplb_csv": ("eplb", sample_eplb_csv),
    "printed_tensors": ("printed_tensors", sample_printed),
    "olmoe_counts": ("olmoe_counts", sample_olmoe),
    "olmoe_routes": ("olmoe_routes", sample_olmoe_routes),
    "moewatch": ("moewatch", sample_moewatch),
    "plumb": ("plumb", sample_plumb),
    "moe_routing_atlas": ("moe_routing_atlas", sample_atlas),
    "ascend_map": ("ascend_map", sample_ascend),
    "placement_map": ("placement_map", sample_placement_map),
    "tensorboard": ("tensorboard", sample_tensorboard),
    "wandb_jsonl": ("scalar_jsonl", sample_wandb_jsonl),
    "wandb_csv": ("scalar_csv", sample_wandb_csv),
}
"""Name -> the format that must be found, and the function that writes a file of it."""
