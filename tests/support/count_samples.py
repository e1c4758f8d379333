"""Small files of other systems that hold counts or shares, each with the counts that an import must give."""

import json
import pickle
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from foreign_files import E, K, L, S, Sample, T, long_frame, random_counts, write_lines


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


def sample_sglang_csv(folder: Path) -> Sample:
    counts = random_counts(steps=1)
    rows = [f"{n},{e},{c}" for n, row in enumerate(counts[0].tolist()) for e, c in enumerate(row)]
    (folder / "counts.csv").write_text("layer_id,expert_id,count\n" + "\n".join(rows) + "\n")
    return Sample(folder / "counts.csv", counts, {"num_experts": "8"})
