"""Run folders with a probe batch, for the tests of the Microscope: biases that follow the rule, made text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from store_runs import DOMAINS, make_info, random_counts, record_final, record_steps, write_run

from explorer.config.presets import get_preset, preset_balancer
from explorer.config.run import RunConfig
from explorer.recording.run_writer import RunWriter
from explorer.records.records import ProbeRecord
from explorer.routing.balancing import bias_delta

WORDS = (" the", "a", "\n", "def", " ", "_x", "<b>", "�")
LENGTH = 8


def probe_config(balancer: str = "loss_free", **settings: Any) -> RunConfig:
    """`tiny` with eight experts; settings are fields of the model section."""
    config = get_preset("tiny").with_setting("model.num_experts", 8)
    for name, value in settings.items():
        config = config.with_setting(f"model.{name}", value)
    return replace(config, balancer=preset_balancer("tiny", balancer))


def probe_info(balancer: str = "loss_free", **settings: Any) -> dict[str, Any]:
    """The description of such a run, as run.json holds it."""
    config = probe_config(balancer, **settings)
    return {
        "balancer": str(config.balancer),
        "balancer_label": config.balancer.label,
        "balancer_family": config.balancer.family,
        "count_scope": config.balancer.count_scope,
        "preset": "tiny",
        "pair_key": config.pair_key,
        "config": config.to_dict(),
    }


def rule_biases(counts_SLE: np.ndarray, rate: float = 0.003) -> np.ndarray:
    """Biases used in every step [S, L, E] float32, moved by the sign rule."""
    biases = np.zeros(counts_SLE.shape, dtype=np.float32)
    for step in range(1, len(counts_SLE)):
        delta = bias_delta(counts_SLE[step - 1], update_rule="sign", bias_update_rate=rate)
        biases[step] = biases[step - 1] + delta.astype(np.float32)
    return biases


def probe_record(step: int, bias_LE: np.ndarray | None, layers: int, experts: int, top_k: int) -> ProbeRecord:
    """Random logits and the selection that follows from them."""
    tokens = LENGTH * len(DOMAINS)
    logits = np.random.default_rng(step).normal(size=(tokens, layers, experts)).astype(np.float32)
    compared = 1 / (1 + np.exp(-logits)) + (0 if bias_LE is None else bias_LE[None])
    expert_ids = np.argsort(-compared, axis=-1, kind="stable")[..., :top_k]
    return ProbeRecord(
        step=step, router_logits_PLE=logits, selected_experts_PLK=expert_ids, expert_bias_LE=bias_LE
    )


def write_probe_run(
    base: Path,
    run_id: str = "probed",
    *,
    steps: int = 24,
    probes: tuple[int, ...] = (2, 12, 24),
    layers: int = 2,
    experts: int = 8,
    top_k: int = 2,
    bias: bool = True,
    break_update_at: int | None = None,
    document: Any = None,
    **info: Any,
) -> np.ndarray:
    """A finished run that keeps a probe of 16 tokens; returns its loads [S, L, E].

    `break_update_at`: from the step after this one all biases are off by 0.5. `document`: probe.json
    instead of the right one.
    """
    counts = random_counts(steps + 1, layers, experts)
    biases = rule_biases(counts) if bias else None
    if biases is not None and break_update_at is not None:
        biases[break_update_at + 1 :] += 0.5
    recorder = RunWriter.create(
        base,
        make_info(
            run_id, layers, experts, seed=0, num_steps=steps, **{**probe_info(), "top_k": top_k, **info}
        ),
    )
    if document is None:
        tokens = [WORDS[i % len(WORDS)] for i in range(LENGTH * len(DOMAINS))]
        document = {
            "sequence_length": LENGTH,
            "token_ids": list(range(len(tokens))),
            "tokens": tokens,
            "domains": list(DOMAINS),
        }
    recorder.save_json("probe.json", document)
    at = {step: None if biases is None else biases[step] for step in probes}
    for step in range(steps):
        if step in at:
            recorder.record(probe_record(step, at[step], layers, experts, top_k))
        step_bias = None if biases is None else biases[step : step + 1]
        record_steps(recorder, counts[step : step + 1], [step], step_bias)
    record_final(recorder, layers, experts, steps)
    if steps in at:
        recorder.record(probe_record(steps, at[steps], layers, experts, top_k))
    recorder.finish("finished")
    return counts[:steps]


def write_runs_to_compare(folder: Path) -> None:
    """A loss-free run, the newest, and one without balancing, both with a probe; and one without a probe."""
    write_probe_run(folder, "free", created_at="2026-11-22T10:00:02.000+00:00")
    write_probe_run(
        folder, "plain", bias=False, created_at="2026-11-22T10:00:01.000+00:00", **probe_info("none")
    )
    write_run(folder, "without", steps=12)
