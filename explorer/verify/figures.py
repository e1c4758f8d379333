"""Recompute every metric from the integers, in plain numpy, without any code or SQL of the app.

S recorded steps, L layers, E experts; cells that are not `present` do not belong to an expert.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.verify.data import RunData
from explorer.verify.findings import Check, Difference, Findings

Floats = NDArray[np.float64]
TOLERANCE = 1e-9
"""Tolerance: relative, absolute below 1. Sums of floats in another order differ by about 1e-15."""
WINDOW = 100
"""Window of the running mean, and minimum duration of a collapse, in steps."""


def layer_figures(tokens: NDArray[np.int64], present: NDArray[np.bool_]) -> dict[str, Floats]:
    """Metrics of one step and layer, [..., E] -> [...]; NaN where nothing was routed.

    max_vio = max c / mean c - 1. effective_experts = exp(-Σ f ln f), f = c / Σ c. coefficient_of_variation =
    standard deviation / mean. total_variation = ½ Σ |f - 1/E|. idle_experts = experts with c = 0.
    """
    count = present.sum(-1).astype(np.float64)
    loads = np.where(present, tokens, 0).astype(np.float64)
    total = loads.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        share = loads / total[..., None]
        entropy = -np.where(loads > 0, share * np.log(share), 0.0).sum(-1)
        squares = np.where(present, (loads - mean[..., None]) ** 2, 0.0).sum(-1) / count
        distance = np.where(present, np.abs(share - 1 / count[..., None]), 0.0).sum(-1)
        figures = {
            "max_vio": loads.max(-1, initial=0) / mean - 1,
            "effective_experts": np.exp(entropy),
            "coefficient_of_variation": np.sqrt(squares) / mean,
            "total_variation": distance / 2,
        }
    routed = total > 0
    return {
        **{name: np.where(routed, values, np.nan) for name, values in figures.items()},
        "idle_experts": (present & (tokens == 0)).sum(-1).astype(np.float64),
        "tokens": total,
        "max_tokens": np.where(present, tokens, np.iinfo(np.int64).min).max(-1, initial=0).astype(np.float64),
        "min_tokens": _smallest(tokens, present),
    }


def _smallest(tokens: NDArray[np.int64], present: NDArray[np.bool_]) -> Floats:
    most = np.iinfo(np.int64).max
    return np.asarray(np.where(present, tokens, most).min(-1, initial=most).astype(np.float64))


def running_mean(values_SL: Floats) -> Floats:
    """Mean of the last 100 rows, including the current one, ignoring NaN. [S, L] -> [S, L]."""
    is_finite = np.isfinite(values_SL)
    sums, counts = np.where(is_finite, values_SL, 0.0).cumsum(0), is_finite.cumsum(0)
    sums[WINDOW:], counts[WINDOW:] = sums[WINDOW:] - sums[:-WINDOW], counts[WINDOW:] - counts[:-WINDOW]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(counts > 0, sums / counts, np.nan))


def low_streak(effective_SL: Floats, widths_L: NDArray[np.int64]) -> Floats:
    """Consecutive rows up to this one with at most half of the experts effective. [S, L] -> [S, L]."""
    index = np.arange(len(effective_SL))[:, None]
    low = np.nan_to_num(effective_SL, nan=np.inf) <= widths_L / 2 * (1 + TOLERANCE)
    last_high = np.maximum.accumulate(np.where(low, -1, index), axis=0)
    return np.asarray((index - last_high).astype(np.float64))


def final_rows(number: int) -> int:
    """Number of final steps that a run's metric averages: 100, or the last quarter of fewer than 400."""
    return max(1, min(WINDOW, number // 4))


def run_figures(run: RunData) -> dict[str, Any]:
    """The results in `status.json` of a finished run of our trainer, recomputed from its tables."""
    loads, figures = run.loads, {}
    if len(loads.steps) and loads.layers:
        last = final_rows(run.info.num_steps)
        violation = layer_figures(loads.tokens[-last:], loads.present[-last:])["max_vio"]
        figures["max_vio_batch"] = float(violation.mean())
    if run.held_out.height:
        tokens_LE, present_LE = held_out_counts(run)
        held_out = layer_figures(tokens_LE, present_LE)
        worst = int(np.nanargmax(held_out["max_vio"]))
        figures |= {
            "max_vio_global": float(held_out["max_vio"].mean()),
            "worst_layer": worst,
            "worst_max_vio": float(held_out["max_vio"][worst]),
            "effective_experts": float(held_out["effective_experts"].mean()),
        }
    return {**figures, **_losses(run)}


def held_out_counts(run: RunData) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[L, E] counts of the last held-out evaluation, and which cells have rows."""
    rows, layers = run.held_out, run.loads.layers
    place = {layer: index for index, layer in enumerate(layers)}
    shape = (len(layers), max(run.widths.values(), default=0))
    tokens_LE, present_LE = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    for layer, expert, tokens in rows.select("layer", "expert", "tokens").iter_rows():
        if layer in place and 0 <= expert < run.widths[layer]:
            tokens_LE[place[layer], expert] = tokens
            present_LE[place[layer], expert] = True
    return tokens_LE, present_LE


def _losses(run: RunData) -> dict[str, Any]:
    rows = run.frame("evals")
    rows = rows.filter(pl.col("split") == "held_out").filter(pl.col("step") == pl.col("step").max())
    if not rows.height:
        return {}
    losses = rows["lm_loss"].to_numpy()
    bits = losses * rows["num_tokens"].to_numpy() / (rows["num_bytes"].to_numpy() * np.log(2))
    by_domain = dict(zip(rows["domain"].to_list(), np.exp(losses).tolist(), strict=True))
    return {
        "lm_loss": float(losses.mean()),
        "perplexity": float(np.exp(losses.mean())),
        "bits_per_byte": float(bits.mean()),
        **{f"perplexity_by_domain.{domain}": value for domain, value in by_domain.items()},
    }


def check_results(run: RunData) -> Check:
    """Compare the final metrics in status.json with the tables."""
    findings = Findings("results")
    if not run.status.results:
        return findings.check()
    if run.config is None:
        findings.skip("The results were given by other software, whose definitions are not known.")
        return findings.check()
    for table in ("expert_loads", "eval_loads", "evals"):
        run.frame(table)
        if table in run.unreadable:
            findings.skip(run.unreadable[table])
    expected = run_figures(run)
    for name, recorded in _flat(run.status.results).items():
        if name not in expected:
            if recorded is not None:
                findings.skip(f"{name} is no figure that can be recomputed from the tables.")
            continue
        findings.compared += 1
        if not is_same(recorded, expected[name]):
            findings.differ(
                Difference(
                    table="status.json",
                    column=f"results.{name}",
                    recorded=recorded,
                    expected=expected[name],
                )
            )
    return findings.check()


def _flat(results: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested metrics: per-domain ones are named `metric.domain`."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat


def is_same(recorded: Any, expected: float) -> bool:
    """Whether two values agree within rounding; non-finite values are recorded as null."""
    if recorded is None:
        return not np.isfinite(expected)
    if isinstance(recorded, bool) or not isinstance(recorded, int | float):
        return False
    return bool(near(np.float64(recorded), np.float64(expected)))


def near(recorded: Floats | np.float64, expected: Floats | np.float64) -> NDArray[np.bool_]:
    """Whether values agree within rounding; NaN agrees with NaN, and an infinity with itself."""
    with np.errstate(invalid="ignore"):
        close = np.abs(recorded - expected) <= TOLERANCE * np.maximum(1.0, np.abs(expected))
    # With an infinity the tolerance is infinite, too.
    close &= np.isfinite(expected)
    return np.asarray(close | (recorded == expected) | (np.isnan(recorded) & np.isnan(expected)))
