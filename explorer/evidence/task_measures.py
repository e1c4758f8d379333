"""Metrics of one run from the results of tasks on its model (`trained_tasks`).

Names carry the condition: `excess_8x` at 8 times the training length, `lynx_keep_0.75_decode_8_kl` of a
selection rule in decoding at batch 8.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from explorer.evidence.experiment import Metrics
from explorer.evidence.plan import base_config
from explorer.evidence.trained_tasks import Results
from explorer.recording import RunFolder

LONGEST = 8
"""Factor of the training length that comparisons look at."""
BATCH, DECODE = 8, "decode"
"""Batch size and phase that comparisons of selection rules look at."""
SELECTION_QUANTITIES = ("distinct_per_layer", "kl", "loss", "max_vio", "experts_ms", "exact_match", "f1")
TARGET_LOSS = {
    "tiny": {1.0: 5.4, 1 / 4: 5.5, 1 / 16: 5.5},
    "quick": {1.0: 4.8, 1 / 4: 5.6, 1 / 16: 6.2},
}
"""Scale and share of the data -> held-out loss (nats) whose first crossing says how fast training is.
Fixed before the comparison, from other runs (docs/evidence.md); no other scale has one."""
CODE = ("python", "cpp")


def of_long_context(folder: RunFolder, results: Results, scale: str) -> Metrics:
    """Imbalance, its excess over the clustered floor and GPU imbalance, by length."""
    result = results["long_context"]
    training_length = result["counts"]["training_length"]
    metrics: Metrics = {}
    for row in result["rows"]:
        factor = row["length"] // training_length
        name = f"{factor}x"
        if row["kind"] == "length":
            for quantity in ("max_vio", "floor", "excess", "loss"):
                metrics[f"{quantity}_{name}"] = row[quantity]
            for placement in ("contiguous", "eplb"):
                metrics[f"gpu_{placement}_{name}"] = row[f"gpu_max_vio {placement}"]
        elif factor == LONGEST and row["kind"] == "bucket":
            metrics[f"excess_{name}_from_{row['first'] // training_length}x"] = row["excess"]
        elif factor == LONGEST:
            metrics[f"excess_{name}_{row['domain']}"] = row["excess"]
    for quantity in ("max_vio", "excess"):
        metrics[f"{quantity}_growth"] = _minus(metrics, f"{quantity}_{LONGEST}x", f"{quantity}_1x")
    metrics["eplb_gain"] = _minus(metrics, f"gpu_eplb_{LONGEST}x", f"gpu_contiguous_{LONGEST}x")
    return metrics


def _minus(metrics: Metrics, first: str, second: str) -> float | None:
    one, other = metrics.get(first), metrics.get(second)
    return None if one is None or other is None else one - other


def of_selection(folder: RunFolder, results: Results, scale: str) -> Metrics:
    """The selection table, and each batch-aware rule against static top-k."""
    rows = results["selection"]["rows"]
    metrics: Metrics = {
        f"{_slug(row['rule'])}_{row['phase']}_{row['batch']}_{quantity}": row[quantity]
        for row in rows
        for quantity in SELECTION_QUANTITIES
        if quantity in row
    }
    top_k = folder.info.config["model"]["top_k"]
    batch = min(BATCH, max(row["batch"] for row in rows))
    at_batch = [row for row in rows if (row["phase"], row["batch"]) == (DECODE, batch)]
    static = {k: row for row in at_batch for k in range(1, top_k + 1) if row["rule"] == f"top-{k}"}
    for row in at_batch:
        if not row["rule"].startswith("top-"):
            slug = _slug(row["rule"])
            metrics[f"{slug}_kl_over_static"] = kl_over_static(row, list(static.values()))
            metrics[f"{slug}_max_vio_rise"] = row["max_vio"] - static[top_k]["max_vio"]
    return metrics


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", label.lower())


def kl_over_static(row: Mapping[str, Any], static: Sequence[Mapping[str, Any]]) -> float:
    """KL to full routing (nats per token), minus that of static top-k at as many distinct experts.

    Between two k it is interpolated linearly in distinct experts. No k uses fewer than k = 1, which is then
    compared although it uses more; full routing has a KL of 0.
    """
    curve = sorted((one["distinct_per_layer"], one["kl"]) for one in static)
    distinct, divergence = zip(*curve, strict=True)
    return float(row["kl"] - np.interp(row["distinct_per_layer"], distinct, divergence))


def of_completions(folder: RunFolder, results: Results, scale: str) -> Metrics:
    """Fill-in line match, and pass@k of what was executed; None for a task that was not run."""
    names = (
        ("fill_in", "line_match"),
        ("programs", "pass@1"),
        ("programs", "pass@5"),
        ("programs", "pass@10"),
        ("programs", "solution_match"),
        ("human_eval_pass", "pass@1"),
    )
    return {f"{task}_{name}": results[task]["metrics"].get(name) for task, name in names}


def of_answers(folder: RunFolder, results: Results, scale: str) -> Metrics:
    """The selection table with its answers, those of full routing with their chance level, and what a
    batch-aware rule gains over static top-1.

    `lynx_keep_0.75_exact_match_gain` is a difference of shares of the same questions, in decoding at batch 8
    (at `tiny`: the largest batch).
    """
    metrics = of_selection(folder, results, scale)
    metrics |= {f"two_hop_{name}": value for name, value in results["two_hop"]["metrics"].items()}
    rows = results["selection"]["rows"]
    batch = min(BATCH, max(row["batch"] for row in rows))
    at_batch = {row["rule"]: row for row in rows if (row["phase"], row["batch"]) == (DECODE, batch)}
    fewest = at_batch["top-1"]
    for rule, row in at_batch.items():
        if not rule.startswith("top-"):
            for quantity in ("exact_match", "f1"):
                metrics[f"{_slug(rule)}_{quantity}_gain"] = row[quantity] - fewest[quantity]
    return metrics


def of_code(folder: RunFolder, results: Results, scale: str) -> Metrics:
    """Code on the finished model, specialisation of its experts, and the course of the held-out loss."""
    metrics: Metrics = {
        f"{task}_{name}": value
        for task, result in results.items()
        for name, value in result["metrics"].items()
    }
    evals = folder.read("evals").filter(pl.col("split") == "held_out")
    course = evals.group_by("step").agg(pl.col("lm_loss").mean()).sort("step")
    share = folder.info.config["training"]["num_steps"] / base_config(scale).training.num_steps
    target = target_loss(scale, share)
    if target is not None:
        metrics["steps_to_target"] = steps_to(target, course["step"].to_list(), course["lm_loss"].to_list())
    code = evals.filter(pl.col("domain").is_in(CODE)).group_by("step").agg(pl.col("lm_loss").mean())
    metrics["code_loss_rise"] = mean_rise(code.sort("step")["lm_loss"].to_list())
    return metrics


def target_loss(scale: str, share: float) -> float | None:
    """The target for the nearest share of the data; None at a scale without one."""
    targets = TARGET_LOSS.get(scale)
    return targets[min(targets, key=lambda one: abs(one - share))] if targets else None


def steps_to(target: float, steps: Sequence[int], losses: Sequence[float]) -> float | None:
    """Step at which the loss first reaches the target, linear between evaluations; None if it never does."""
    for place, loss in enumerate(losses):
        if loss <= target:
            if place == 0:
                return float(steps[0])
            before = losses[place - 1]
            share = (before - target) / (before - loss)
            return steps[place - 1] + share * (steps[place] - steps[place - 1])
    return None


def mean_rise(losses: Sequence[float]) -> float | None:
    """Mean over successive evaluations of how far the loss rises, 0 where it falls; None without two."""
    if len(losses) < 2:
        return None
    return float(np.maximum(np.diff(losses), 0.0).mean())
