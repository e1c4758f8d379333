"""Small files of other systems that hold choices of tokens, each with the counts that an import must give."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from foreign_files import E, K, L, S, Sample, T, counts_of, random_routes, write_lines


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


def sample_esft(folder: Path) -> Sample:
    routes = random_routes()[:, :1]
    lines = []
    for part in (routes[:40, 0], routes[40:, 0]):
        ids, weights = part.ravel().tolist(), [0.25] * part.size
        lines.append("\t".join([*map(str, ids), "", *map(str, weights)]))
    path = folder / "expert_weights_5.txt"
    path.write_text("\n".join(lines) + "\n")
    return Sample(path, counts_of(routes), {"num_experts": "8"})


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


def sample_olmoe_routes(folder: Path) -> Sample:
    routes = random_routes()
    records = [{"exp_ids": part.transpose(0, 2, 1).tolist()} for part in (routes[:30], routes[30:])]
    return Sample(write_lines(folder / "c4_results.jsonl", records), counts_of(routes), {"num_experts": "8"})


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


def sample_llama_cpp(folder: Path) -> Sample:
    routes = random_routes()
    rows = [f"{layer},{e}" for layers in routes.tolist() for layer, ids in enumerate(layers) for e in ids]
    (folder / "trace.csv").write_text("layer,expert\n" + "\n".join(rows) + "\n# total,384\n")
    return Sample(folder / "trace.csv", counts_of(routes), {"num_experts": "8"})
