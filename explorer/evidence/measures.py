"""The measures of a finished run, computed from the recorded integer counts in its folder.

Metrics are those of `explorer.metrics`; nothing here defines a new one, except where the docstring says so.
S steps, L MoE layers, E experts, D domains, R sequences.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer import metrics
from explorer.evidence.experiment import Metrics
from explorer.recording import RunFolder

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SERIES_BINS = 50
"""Columns in which MaxVio over training is kept: 4 steps each at `quick`, 16 at `standard`."""
EARLY = 0.2
"""Share of the training whose MaxVio is called early."""
LATE = 0.25
"""Share of the training at its end in which idle experts, utilisation and biases are measured."""
WINDOW = 50
"""Steps whose counts are summed for the slow-moving balance that A13 compares."""
EXPERTS_PER_DEVICE = 4


def measure(folder: RunFolder) -> tuple[Metrics, list[float]]:
    """All metrics of a finished run, and MaxVio over training in `SERIES_BINS` bins."""
    result = _results(folder)
    result |= _losses(folder)
    counts_SLE, bias_SLE = _loads(folder)
    result |= _gradients(folder) | _scores(folder) | _choices(folder)
    if counts_SLE.size == 0:
        return result, []
    violation_S = metrics.max_vio(counts_SLE).mean(-1)
    result |= _training_balance(counts_SLE, violation_S) | _bias(bias_SLE)
    result |= _held_out(folder)
    return result, [
        round(float(part.mean()), 5) for part in np.array_split(violation_S, SERIES_BINS) if part.size
    ]


def _results(folder: RunFolder) -> Metrics:
    names = ("perplexity", "lm_loss", "bits_per_byte", "max_vio_batch", "max_vio_global", "worst_max_vio")
    stated = folder.status.results
    return {name: _finite(stated.get(name)) for name in (*names, "effective_experts")}


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _losses(folder: RunFolder) -> Metrics:
    """Loss by domain, its course, and how steady it was."""
    evals = folder.read("evals").filter(pl.col("split") == "held_out").sort("step", "domain")
    last = evals.filter(pl.col("step") == pl.col("step").max())
    result: Metrics = {
        f"lm_loss_{domain}": loss for domain, loss in last.select("domain", "lm_loss").iter_rows()
    }
    code = last.filter(pl.col("domain").is_in(["python", "cpp"]))
    result["code_loss"] = _finite(code["lm_loss"].mean()) if code.height else None
    steps = folder.read("steps").sort("step")
    loss, norm = steps["lm_loss"].to_numpy(), steps["grad_norm"].drop_nulls().to_numpy()
    late = loss[-max(1, int(LATE * len(loss))) :]
    # How fast: the held-out loss of all evaluations after the first, which is that of an untrained model.
    by_step = evals.filter(pl.col("step") > 0).group_by("step").agg(pl.col("lm_loss").mean())
    result["course_loss"] = _finite(by_step["lm_loss"].mean())
    result["train_loss"] = _finite(late.mean())
    result["loss_roughness"] = _finite(np.abs(np.diff(loss)).mean()) if len(loss) > 1 else None
    result["loss_spikes"] = float(_spikes(loss))
    result["grad_norm_tail"] = _finite(np.percentile(norm, 99) / np.median(norm)) if norm.size else None
    return result


def _spikes(loss: Floats) -> int:
    """Steps with a loss spike, as `explorer.metrics.events` defines it."""
    count = 0
    for step in range(metrics.SPIKE_STEPS // 2, len(loss)):
        before = loss[max(0, step - metrics.SPIKE_STEPS) : step]
        median = float(np.median(before))
        spread = 1.4826 * float(np.median(np.abs(before - median)))
        count += bool(loss[step] - median > max(metrics.SPIKE_DEVIATIONS * spread, metrics.SPIKE_NATS))
    return count


def _loads(folder: RunFolder) -> tuple[Ints, Floats]:
    """Counts [S, L, E] of all steps, and the biases (NaN without); empty for a dense model."""
    table = folder.read("expert_loads", ["step", "layer", "expert", "tokens", "expert_bias"])
    table = table.sort("step", "layer", "expert")
    shape = tuple(table[name].n_unique() for name in ("step", "layer", "expert"))
    counts = table["tokens"].to_numpy().reshape(shape)
    return counts, table["expert_bias"].cast(pl.Float64).fill_null(math.nan).to_numpy().reshape(shape)


def _scores(folder: RunFolder) -> Metrics:
    """Mean unbiased score and share of dropped assignments at the end of training."""
    rows = folder.read("expert_loads", ["step", "tokens", "dropped_tokens", "mean_score"])
    if not rows.height:
        return {"mean_score": None, "dropped_share": None}
    late = rows.filter(pl.col("step") >= (1 - LATE) * pl.col("step").max())
    return {
        "mean_score": _finite(late["mean_score"].mean()),
        "dropped_share": int(late["dropped_tokens"].sum()) / int(late["tokens"].sum()),
    }


def _training_balance(counts_SLE: Ints, violation_S: Floats) -> Metrics:
    steps, late = len(counts_SLE), max(1, int(LATE * len(counts_SLE)))
    trained_LE = counts_SLE.sum(0)
    tail = counts_SLE[-late:]
    return {
        "max_vio_early": float(violation_S[: max(1, int(EARLY * steps))].mean()),
        "idle_share": float(metrics.idle_experts(tail).mean() / tail.shape[-1]),
        "dead_experts": float(metrics.dead_experts(tail).sum()),
        "utilisation": float(metrics.balance_efficiency(tail).mean()),
        # The tokens that the least trained expert of a layer has seen, over the mean.
        "least_trained": float((trained_LE.min(-1) / trained_LE.mean(-1)).mean()),
        "time_correlation_gain": _time_correlation_gain(counts_SLE, violation_S),
        "violation_bump": _bump(violation_S),
    }


def _bump(violation_S: Floats) -> float:
    """How far imbalance rises above its start before it falls: (highest - first) of ten smoothed parts.

    Above 0 where the loads first drift apart and are balanced later, as in the phases of arXiv 2604.04230.
    """
    parts = [float(part.mean()) for part in np.array_split(violation_S, 10) if part.size]
    return max(parts) - parts[0]


def _time_correlation_gain(counts_SLE: Ints, violation_S: Floats) -> float | None:
    """Correlation over steps of the modelled step time with MaxVio of the step, minus that with MaxVio of the
    last `WINDOW` steps' summed counts.

    The modelled time is the load of the busiest of E/4 devices over the mean, averaged over layers.
    """
    steps, layers, experts = counts_SLE.shape
    devices = experts // EXPERTS_PER_DEVICE
    window = min(WINDOW, steps // 4)
    if devices < 2 or window < 2:
        return None
    by_device = counts_SLE[..., : devices * EXPERTS_PER_DEVICE].reshape(steps, layers, devices, -1).sum(-1)
    time_S = metrics.max_over_mean(by_device).mean(-1)
    summed = np.cumsum(counts_SLE, axis=0)
    slow = metrics.max_vio(summed[window:] - summed[:-window]).mean(-1)
    time, batch = time_S[window:], violation_S[window:]
    if min(time.std(), batch.std(), slow.std()) == 0:
        return None
    return float(np.corrcoef(time, batch)[0, 1] - np.corrcoef(time, slow)[0, 1])


def _bias(bias_SLE: Floats) -> Metrics:
    """Spread, reversals and amplitude of the bias at the end of training."""
    if np.isnan(bias_SLE).all():
        return dict.fromkeys(("bias_spread", "bias_reversals", "bias_amplitude"))
    tail = bias_SLE[-max(3, int(LATE * len(bias_SLE))) :]
    spread = metrics.bias_spread(bias_SLE[-1]).mean()
    steps = np.arange(len(tail)) - (len(tail) - 1) / 2
    # The trend over the window is learning; what remains around it is oscillation.
    slope = np.tensordot(steps, tail, (0, 0)) / ((steps**2).sum() or 1.0)  # a single step has no trend
    rest = tail - tail.mean(0) - steps[:, None, None] * slope
    amplitude = rest.std(0).mean()
    return {
        "bias_spread": float(spread),
        "bias_reversals": _finite(float(np.nanmean(metrics.oscillation(tail)))) if _moves(tail) else None,
        # As a share of the spread: biases of softmax scores are far smaller than those of sigmoid scores.
        "bias_amplitude": _finite(amplitude / spread) if spread > 0 else None,
    }


def _moves(bias_SLE: Floats) -> bool:
    return bool((np.diff(bias_SLE, axis=0) != 0).any())


def _gradients(folder: RunFolder) -> Metrics:
    """Norm of the auxiliary gradient at the routers over that of the language loss, and their cosine."""
    rows = folder.read("layer_steps").filter(pl.col("router_grad_norm_lm").is_not_null())
    if not rows.height:
        return {"gradient_ratio": None, "gradient_cosine": None}
    norms = rows.select(pl.col("router_grad_norm_aux", "router_grad_norm_lm").mean()).row(0)
    cosine = rows["router_grad_cosine"].fill_nan(None).mean()
    # A rule without a loss sends no gradient: by construction, not by measurement.
    return {"gradient_ratio": (norms[0] or 0.0) / norms[1], "gradient_cosine": _finite(cosine)}


def _choices(folder: RunFolder) -> Metrics:
    """Mean churn of the experts of the probe batch from one probe to the next."""
    rows = folder.read("probe_scores", ["step", "layer", "token", "selected_experts"])
    steps = rows["step"].unique().sort().to_list()
    if len(steps) < 2:
        return {"churn": None}
    rows = rows.sort("layer", "token")
    num_experts = folder.info.config["model"]["num_experts"]
    choices = [np.stack(rows.filter(pl.col("step") == step)["selected_experts"].to_list()) for step in steps]
    changed = [metrics.churn(before, after, num_experts) for before, after in pairwise(choices)]
    return {"churn": float(np.mean(changed))}


def _held_out(folder: RunFolder) -> Metrics:
    """From the loads of the last evaluation, sequence by sequence."""
    rows = folder.read("sequence_loads").filter(pl.col("split") == "held_out")
    rows = rows.filter(pl.col("step") == pl.col("step").max())
    rows = rows.sort("micro_batch", "sequence", "layer", "expert")
    layers, experts = rows["layer"].n_unique(), rows["expert"].n_unique()
    counts_RLE = rows["tokens"].to_numpy().reshape(-1, layers, experts)
    domains_R = rows["domain"].to_numpy()[:: layers * experts]
    by_domain = np.stack([counts_RLE[domains_R == name].sum(0) for name in sorted(set(domains_R))], 1)
    experts_used = metrics.effective_experts(by_domain).mean()
    return {
        "sequence_max_vio_p99": float(np.percentile(metrics.max_vio(counts_RLE).mean(-1), 99)),
        "domain_distance": _finite(float(metrics.mean_domain_distance(by_domain).mean())),
        "domain_experts": float(experts_used),
        **batch_curve(counts_RLE),
    }


def batch_curve(counts_RLE: Ints) -> Metrics:
    """MaxVio of computation batches of m sequences drawn without order: its slope, and its limit.

    batch_slope: of log MaxVio against log m. batch_remainder: (MaxVio at half of the text - MaxVio_global) /
    (MaxVio of one sequence - MaxVio_global), 0 where MaxVio_global is the limit of large batches.
    """
    order = np.random.default_rng(0).permutation(len(counts_RLE))
    shuffled = counts_RLE[order]
    sizes = [
        2**power for power in range(int(math.log2(max(1, len(order)))) + 1) if 2**power <= len(order) // 2
    ]
    if len(sizes) < 2:
        return {"batch_slope": None, "batch_remainder": None}
    curve = [float(metrics.max_vio_computation_batch(shuffled, size).mean()) for size in sizes]
    overall = metrics.max_vio_global(counts_RLE.sum(0))
    half = float(metrics.max_vio(np.stack([p.sum(0) for p in np.array_split(shuffled, 2)])).mean())
    span = curve[0] - overall
    return {
        "batch_slope": _slope(sizes, curve),
        "batch_remainder": (half - overall) / span if span > 0 else None,
    }


def _slope(sizes: Sequence[int], curve: Sequence[float]) -> float | None:
    if min(curve) <= 0:
        return None
    return float(np.polyfit(np.log(sizes), np.log(curve), 1)[0])
