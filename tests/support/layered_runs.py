"""A run whose MoE layers are layers 3, 5 and 9 of its model, the first of them with half the experts."""

from pathlib import Path
from typing import Any

import numpy as np

from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    SequenceLoadRecord,
    StepRecord,
)

LAYERS, WIDTHS, K, TOKENS = (3, 5, 9), (4, 8, 8), 2, 64
DOMAINS = ("austen", "python")


def layered_info(run_id: str = "layered", **changes: Any) -> RunInfo:
    values: dict[str, Any] = {
        "run_id": run_id,
        "name": run_id,
        "num_moe_layers": 3,
        "num_experts": 8,
        "top_k": K,
        "tokens_per_step": TOKENS,
        "num_steps": 24,
        "layers": LAYERS,
        "experts_per_layer": WIDTHS,
        "balancer": "loss_free",
        "balancer_label": "loss-free u=0.001",
        "balancer_family": "loss_free",
        "seed": 0,
        "created_at": "2026-11-22T10:00:00.000+00:00",
    }
    return RunInfo(**(values | changes))


def draw(rng: np.random.Generator, assignments: int, *shape: int) -> list[np.ndarray]:
    """Random counts, one array [..., E of the layer] per layer."""
    return [rng.multinomial(assignments, rng.dirichlet(np.full(w, 9.0)), size=shape) for w in WIDTHS]


def record_layered(folder: Path, steps: int = 24, **changes: Any) -> dict[int, list[np.ndarray]]:
    """Write the run; returns the counts of each step, per layer."""
    rng = np.random.default_rng(0)
    counts = {}
    with RunWriter.create(folder, layered_info(num_steps=steps, **changes)) as recorder:
        for step in range(steps):
            counts[step] = draw(rng, TOKENS * K)
            bias = [rng.normal(size=width).astype(np.float32) for width in WIDTHS]
            recorder.record(StepRecord(step=step, tokens_seen=TOKENS * (step + 1), lm_loss=4 - step / 24))
            recorder.record(LoadRecord(step=step, tokens_LE=counts[step], expert_bias_LE=bias))  # type: ignore[arg-type]
            recorder.record(LayerRecord(step=step, score_margin_L=np.arange(3, dtype=np.float32)))
            recorder.record(
                SequenceLoadRecord(
                    step=step,
                    split="train",
                    micro_batch=0,
                    domains_B=list(DOMAINS),
                    tokens_BLE=draw(rng, 64, 2),  # type: ignore[arg-type]
                )
            )
            if step == 0:
                record_probe(recorder, rng, step)
            if step == steps - 1:
                recorder.record(EventRecord(step=step, kind="note", layer=9, expert=7))
            recorder.step_done(step)
        record_probe(recorder, rng, steps)
        for domain in DOMAINS:
            recorder.record(
                EvalRecord(
                    step=steps, split="held_out", domain=domain, lm_loss=3.0, num_tokens=9, num_bytes=30
                )
            )
            recorder.record(
                EvalLoadRecord(step=steps, split="held_out", domain=domain, tokens_LE=draw(rng, 128))  # type: ignore[arg-type]
            )
    return counts


def record_probe(recorder: RunWriter, rng: np.random.Generator, step: int, tokens: int = 6) -> None:
    """The probe batch; logits and biases beyond a layer's own experts are padding."""
    logits = rng.normal(size=(tokens, 3, max(WIDTHS))).astype(np.float32)
    expert_ids = [np.argsort(-logits[:, i, :w], axis=-1)[:, :K] for i, w in enumerate(WIDTHS)]
    recorder.record(
        ProbeRecord(
            step=step,
            router_logits_PLE=logits,
            selected_experts_PLK=np.stack(expert_ids, 1),
            expert_bias_LE=np.full((3, max(WIDTHS)), 0.5),
        )
    )
