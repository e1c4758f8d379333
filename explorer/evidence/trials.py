"""Runs without a language model: frozen and fresh scores, for the claims about the theory.

A trial is a function of its settings, a seed and a scale; one call is one run. Counter-examples are counted,
so an identity that holds gives 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.evidence.experiment import Metrics
from explorer.routing import routing_math
from explorer.routing.spec import RouteSpec
from explorer.simulate import ScoreSettings
from explorer.simulate.descent import VERDICTS, descend
from explorer.simulate.online import (
    convexity_ratio,
    curvature,
    curvature_rate,
    make_pool,
    online_regret,
    tie_laplacian,
    tie_width,
)
from explorer.simulate.scores import Scores
from explorer.simulate.settings import RuleSettings
from explorer.simulate.update import next_bias

F64 = NDArray[np.float64]
SHORT = {"tiny": 0.05}
"""Share of the steps at a scale that only shows that everything works."""


def _steps(steps: int, scale: str) -> int:
    return max(20, int(steps * SHORT.get(scale, 1.0)))


def _scores(seed: int, **settings: Any) -> ScoreSettings:
    return ScoreSettings(source="frozen", seed=seed, **settings)


def descent(settings: Mapping[str, Any], seed: int, scale: str) -> Metrics:
    """A bias rule on 512 frozen tokens, step by step. settings: rule, rate, steps."""
    problem = _scores(seed, num_experts=8, top_k=1, num_tokens=512)
    source = Scores(problem)
    scores = source.of(source.weights, source.offset(0)).astype(np.float64)
    rule = RuleSettings(rule=settings["rule"], rate=settings["rate"])
    result = descend(scores, problem.top_k, rule, _steps(settings["steps"], scale))
    last = result.deviation[-max(1, len(result.deviation) // 10) :].max()
    worse = result.verdict == VERDICTS.index("worse")
    return {
        "broken_promises": float((worse & result.condition).sum()),
        "moves_against_order": float(result.violations),
        "deviation": float(last),
        "beyond_band": float(max(0.0, last - result.band)),
        "sign_mismatches": float(_sign_mismatches(result.prices, result.loads, result.load, rule.rate)),
        "reads_beyond_counts": float(_reads_beyond_counts(scores, rule, problem.top_k, seed)),
        "steps_that_improve": float(np.isin(result.verdict, (0, 1)).mean()),
    }


def _sign_mismatches(prices: F64, loads: NDArray[np.int64], load: float, rate: float) -> int:
    """Experts and steps whose price did not move by -u · sign(A - L), the signed gradient of the dual."""
    expected = -rate * np.sign(loads[:-1] - load)
    return int((np.abs(np.diff(prices, axis=0) - expected) > 1e-12).sum())


def _reads_beyond_counts(scores: F64, rule: RuleSettings, top_k: int, seed: int) -> int:
    """Updates that differ when tokens are permuted, or doubled with their counts: there should be none."""
    rng, differing = np.random.default_rng(seed), 0
    for step in range(20):
        counts = np.asarray(rng.integers(0, 200, int(scores.shape[1])), dtype=np.int64)
        bias = np.asarray(rng.normal(size=int(scores.shape[1])), dtype=np.float64)
        plain = next_bias(bias, counts, scores, rule, step, top_k)
        permuted = next_bias(bias, counts, scores[rng.permutation(len(scores))], rule, step, top_k)
        doubled = next_bias(bias, 2 * counts, np.tile(scores, (2, 1)), rule, step, top_k)
        differing += not (np.array_equal(plain, permuted) and np.array_equal(plain, doubled))
    return differing


def online(settings: Mapping[str, Any], seed: int, scale: str) -> Metrics:
    """A bias rule on fresh tokens of one distribution. settings: decay, steps; u/n takes its u from μ."""
    problem = _scores(seed, num_experts=8, top_k=2, num_tokens=256)
    pool = make_pool(problem)
    prices = pool.optimum.prices
    width = tie_width(pool.scores, prices, pool.top_k)
    modulus = curvature(tie_laplacian(pool.scores, prices, pool.top_k, width))
    decay, rate = settings["decay"], 1e-2
    if decay == "harmonic":
        rate = curvature_rate(modulus, problem.num_experts, problem.top_k) if modulus > 0 else 1.0
    rule = RuleSettings(rule="sign" if decay == "constant" else "proportional", rate=rate, step_decay=decay)
    regret = online_regret(pool, rule, _steps(settings["steps"], scale), seed).regret
    steps = np.arange(1, len(regret) + 1)
    # The beginning is the way to the optimum, not the regret of staying there.
    late = steps > len(steps) // 20
    ratio = convexity_ratio(pool, modulus, radius=2 * width) if modulus > 0 else 0.0
    return {
        "curvature": modulus,
        "convexity_ratio": ratio,
        "regret": float(regret[-1]),
        "log_fit_gain": _r2(np.log(steps[late]), regret[late]) - _r2(steps[late], regret[late]),
    }


def _r2(x: NDArray[Any], y: F64) -> float:
    """Share of the variance of y that a straight line in x explains."""
    return float(np.corrcoef(x, y)[0, 1] ** 2) if y.std() > 0 else 0.0


def constant_bias(settings: Mapping[str, Any], seed: int, scale: str) -> Metrics:
    """Shift all biases together, or change them without changing a choice: no gate weight may move."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1024, 16)).astype(np.float32)
    spec = RouteSpec(top_k=2)
    scores = routing_math.scores(logits, "sigmoid")
    bias = rng.normal(scale=0.1, size=16).astype(np.float32)
    # A power of two, so that adding it rounds every sum alike and no tie is made.
    shifts = [bias + np.float32(0.5), bias + rng.normal(scale=0.02, size=16).astype(np.float32)]
    before = routing_math.choose(routing_math.compared(scores, bias, spec), scores, spec)
    gates = routing_math.gates(logits, before, spec)
    changed = 0
    for other in shifts:
        selection = routing_math.choose(routing_math.compared(scores, other, spec), scores, spec)
        same = (np.sort(selection, -1) == np.sort(before, -1)).all(-1)
        order = np.argsort(selection, -1), np.argsort(before, -1)
        new = np.take_along_axis(routing_math.gates(logits, selection, spec), order[0], -1)
        old = np.take_along_axis(gates, order[1], -1)
        changed += int((np.abs(new - old).max(-1) > 1e-6)[same].sum())
    return {"changed_outputs": float(changed), "share_kept": float(same.mean())}


def bf16_bias(settings: Mapping[str, Any], seed: int, scale: str) -> Metrics:
    """The sign rule with its bias stored in bfloat16 or float32. settings: rate, steps, dtype, skew.

    last_move: the share of the steps after which no bias of the layer has moved again.
    """
    problem = ScoreSettings(num_experts=16, top_k=2, num_tokens=1024, skew=settings["skew"], seed=seed)
    source = Scores(problem)
    steps = _steps(settings["steps"], scale)
    windows = source.windows(steps)
    rule = RuleSettings(rule="sign", rate=settings["rate"])
    bias, last, deviations = np.zeros(16), 0, []
    for step in range(steps):
        scores = source.pool[int(windows[step]) : int(windows[step]) + problem.num_tokens]
        order = np.argpartition(-(scores + bias.astype(np.float32)), problem.top_k, axis=1)[
            :, : problem.top_k
        ]
        counts = np.bincount(order.ravel(), minlength=16)
        deviations.append(float(metrics.max_vio(counts)))
        new = next_bias(bias, counts, scores, rule, step, problem.top_k)
        new = _bf16(new) if settings["dtype"] == "bfloat16" else new
        last = step + 1 if (new != bias).any() else last
        bias = new
    frozen = float((_bf16(bias + rule.rate) == bias).mean()) if settings["dtype"] == "bfloat16" else 0.0
    return {
        "last_move": last / steps,
        "stuck_share": frozen,
        "max_vio_batch": float(np.mean(deviations[-steps // 4 :])),
        "bias_spread": float(np.ptp(bias)),
    }


def _bf16(values: F64) -> F64:
    """Round to the nearest bfloat16, ties to even: the upper half of a float32."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.asarray(rounded.view(np.float32), dtype=np.float64)
