"""Run folders for the tests of the store and the queries."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LoadRecord,
    SequenceLoadRecord,
    StepRecord,
)

DOMAINS = ("austen", "python")


def make_info(run_id: str = "run", layers: int = 2, experts: int = 4, **changes: Any) -> RunInfo:
    """A description with L=2, E=4, K=2 and 64 tokens per step by default."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "name": run_id.replace("-", " "),
        "num_moe_layers": layers,
        "num_experts": experts,
        "top_k": 2,
        "tokens_per_step": 64,
        "num_steps": 40,
        "seed": 0,
        "pair_key": "pair",
        "config_digest": "digest",
        "config": {"model": {"num_experts": experts}},
        "corpus": {"name": "mix", "digest": "corpus", "domains": list(DOMAINS)},
        "versions": {"python": "3.11"},
    }
    if not any(name.startswith("balancer") for name in changes):
        values["balancer"] = "none"
    return RunInfo(**{**values, **changes})


def random_counts(steps: int, layers: int, experts: int, seed: int = 0, assignments: int = 128) -> np.ndarray:
    """Integer loads [S, L, E] whose rows sum to `assignments`."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(experts, 0.7), size=(steps, layers))
    return rng.multinomial(assignments, shares).astype(np.int64)


def record_steps(
    recorder: RunWriter,
    counts_SLE: np.ndarray,
    steps: Iterable[int],
    bias_SLE: np.ndarray | None = None,
) -> None:
    """Record loads and step scalars of these steps; row i of the arrays belongs to the i-th step."""
    for i, step in enumerate(steps):
        recorder.record(
            StepRecord(
                step=step,
                tokens_seen=(step + 1) * 64,
                lm_loss=5.0 / (step + 1) + 1,
                aux_loss=1.0 + step,
                wall_time_s=step * 0.5,
            )
        )
        bias = None if bias_SLE is None else bias_SLE[i].astype(np.float32)
        recorder.record(LoadRecord(step=step, tokens_LE=counts_SLE[i], expert_bias_LE=bias))
        recorder.step_done(step)


def record_final(recorder: RunWriter, layers: int, experts: int, step: int, seed: int = 0) -> np.ndarray:
    """Record an evaluation at `step` and the loads of its sequences; returns the counts [D, L, E]."""
    counts = random_counts(len(DOMAINS), layers, experts, seed=seed + 1000)
    for d, domain in enumerate(DOMAINS):
        recorder.record(
            EvalRecord(
                step=step,
                split="held_out",
                domain=domain,
                lm_loss=2.0 + d + 0.1 * seed,
                num_tokens=1000,
                num_bytes=3000 + d,
            )
        )
        recorder.record(EvalLoadRecord(step=step, split="held_out", domain=domain, tokens_LE=counts[d]))
    return counts


def write_run(
    base: Path,
    run_id: str = "run",
    steps: int = 40,
    layers: int = 2,
    experts: int = 4,
    seed: int = 0,
    finish: bool = True,
    bias: bool = True,
    flush_every: int = 10,
    **info: Any,
) -> np.ndarray:
    """A run with loads, losses, an evaluation and an event; returns its loads [S, L, E]."""
    counts = random_counts(steps, layers, experts, seed)
    biases = np.random.default_rng(seed).normal(size=counts.shape).cumsum(0) * 0.01 if bias else None
    run = make_info(run_id, layers, experts, seed=seed, num_steps=steps, **info)
    recorder = RunWriter.create(base, run)
    for start in range(0, steps, flush_every):
        chunk = slice(start, min(start + flush_every, steps))
        record_steps(
            recorder, counts[chunk], range(start, chunk.stop), None if biases is None else biases[chunk]
        )
        recorder.flush()
    record_final(recorder, layers, experts, steps, seed)
    recorder.record(EventRecord(step=steps, kind="note", detail="the end", layer=0))
    if finish:
        recorder.finish("finished")
    else:
        recorder.flush()
    return counts


def sequence_record(step: int, micro_batch: int, counts_BLE: np.ndarray) -> SequenceLoadRecord:
    """Loads of sequences whose domains alternate."""
    domains = [DOMAINS[b % len(DOMAINS)] for b in range(len(counts_BLE))]
    return SequenceLoadRecord(
        step=step, split="train", micro_batch=micro_batch, domains_B=domains, tokens_BLE=counts_BLE
    )
