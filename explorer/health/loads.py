"""Findings from the loads alone: collapse, dead experts, no balancing, layers that differ, sums."""

import numpy as np

from explorer import metrics
from explorer.health.chance import effective_by_chance, max_vio_by_chance
from explorer.health.finding import Finding
from explorer.health.rows import Floats, LayerRows, RunRows
from explorer.metrics.sums import is_off, likely_cause, nearest_ratio
from explorer.wording import counted

FEWEST_STEPS = 20
"""Recorded steps below which no trend is reported."""
COLLAPSED_SHARE = 0.5
"""Effective experts over E, as in the event `collapse`."""
UNEVEN = 1.0
"""Mean MaxVio over the layers from which on loads are called uneven: the busiest expert has twice its share.
The shipped runs with a rule at its default have at most 0.6, those without balancing at least 2.6."""
ENOUGH = 20.0
"""Tokens that the uniform load would have given a dead expert in the window: by chance none never happens."""
ENOUGH_SERVING = 1000.0
"""The same when serving and in few steps, where one text may not need an expert."""
ODD_RATIO, ODD_DEVIATIONS, ODD_VIO = 3.0, 4.0, 1.5
"""A layer differs if its MaxVio is at least 1.5, 3 times the median of the layers, and 4 robust deviations
above it on a log scale. In the shipped runs the first layer under an auxiliary loss has up to 4.5 times the
median at a MaxVio of 1.3: an auxiliary loss evens it out last."""
SMALLEST_DEVIATION = 0.1
"""On the log scale: of few layers that happen to agree, the median deviation says nothing."""
LONGEST_LIST = 8
SUM_STEPS = 64
"""Recorded steps at both ends whose sums are looked at, as in `explorer.queries.sums`."""


def few_steps_note(steps: int) -> str:
    """What follows "nothing found" where a run has too few recorded steps for most checks; else empty."""
    if not 0 < steps < FEWEST_STEPS:
        return ""
    return f" ({counted(steps, 'recorded step')}, too few for a course: only sums and sequences are checked)"


def window(layer: LayerRows) -> int:
    """Recorded steps that something must last: 100, of short runs half of the steps, at least 20."""
    return min(metrics.COLLAPSE_STEPS, max(FEWEST_STEPS, len(layer.steps) // 2))


def collapse(run: RunRows, layer: LayerRows) -> Finding | None:
    """Few experts get nearly all tokens, to the end of the run."""
    size = window(layer)
    limit = COLLAPSED_SHARE * _possible(layer)
    if run.is_inference or len(layer.steps) < size:
        return None
    low = np.flatnonzero(_trailing_mean(layer.effective, size) > limit)
    start = int(low[-1]) + 1 if len(low) else 0
    if start > len(layer.steps) - size:
        return None
    start += int(np.argmax(layer.effective[start:] <= limit))
    effective = float(np.nanmean(layer.effective[-size:]))
    step = int(layer.steps[start])
    return Finding(
        kind="collapse",
        layer=layer.layer,
        first_step=step,
        counts={"effective_experts": effective, "experts": layer.width, "steps": len(layer.steps) - start},
        measured=effective,
        threshold=limit,
        sentence=f"Layer {layer.layer} has collapsed since step {step:,}: its tokens are spread as if over "
        f"{effective:.1f} of {layer.width} experts.",
        try_this="Turn on a balancing rule from step 0, or make it stronger: a larger coefficient or update "
        "rate. A collapsed layer recovers slowly.",
    )


def _load(layer: LayerRows) -> float:
    """The uniform load of a usual step, tokens per expert; rounded, so that chance is worked out once."""
    return float(f"{np.median(layer.tokens.sum(-1)) / layer.width:.2g}")


def _possible(layer: LayerRows) -> float:
    """Effective experts of a layer without any preference: all, or fewer where a step has few tokens."""
    load = _load(layer)
    return layer.width if load >= ENOUGH else effective_by_chance(load, layer.width)


def _trailing_mean(values: Floats, size: int) -> Floats:
    """[S - size + 1] means of `size` neighbours, the first at place 0; steps without tokens do not count."""
    return np.asarray(np.nanmean(np.lib.stride_tricks.sliding_window_view(values, size), axis=-1))


def dead_experts(run: RunRows, layer: LayerRows) -> Finding | None:
    """Experts without one token in the last recorded steps."""
    size = min(len(layer.steps), window(layer))
    last = layer.tokens[-size:]
    share = float(last.sum()) / layer.width
    # A short file of another system is all there is; a training run that has just begun goes on.
    is_short = size < FEWEST_STEPS
    enough = ENOUGH_SERVING if run.is_inference or is_short else ENOUGH
    dead = np.flatnonzero(last.sum(0) == 0)
    if not len(dead) or share < enough or (is_short and not run.is_inference and not run.is_imported):
        return None
    alive = np.flatnonzero(layer.tokens[:, dead].sum(1))
    step = int(layer.steps[int(alive[-1]) + 1 if len(alive) else 0])
    noun = "expert" if len(dead) == 1 else "experts"
    names = f"{noun} {', '.join(map(str, dead[:LONGEST_LIST]))}" + (", …" if len(dead) > LONGEST_LIST else "")
    where = f"in the last {counted(size, 'recorded step')}, where the uniform load is {share:,.0f}"
    return Finding(
        kind="dead_experts",
        layer=layer.layer,
        first_step=step,
        counts={"dead": len(dead), "experts": layer.width, "steps": size, "even_share": share},
        measured=len(dead),
        threshold=1,
        sentence=f"Layer {layer.layer}: {counted(len(dead), 'expert')} of {layer.width} got no token {where} "
        f"({names}).",
        try_this="Compare with other text before pruning: this traffic may not need them."
        if run.is_inference
        else "A bias rule brings dead experts back; an auxiliary loss cannot where their scores are far off.",
    )


def no_balancing(run: RunRows) -> Finding | None:
    """Uneven loads, and nothing that acts against them."""
    layers = [layer for layer in run.layers if len(layer.steps) >= FEWEST_STEPS]
    if not layers or _is_balanced_by_design(run) or not _is_training(run):
        return None
    if any(layer.has_bias for layer in layers) or _has_loss(run):
        return None
    ends = [float(np.nanmean(layer.max_vio[-window(layer) :])) for layer in layers]
    worst, mean = int(np.argmax(ends)), float(np.mean(ends))
    limit = UNEVEN + float(np.mean([max_vio_by_chance(_load(layer), layer.width) for layer in layers]))
    if not mean >= limit:
        return None
    basis = "run.json states that nothing balances" if run.rules is not None else "no rule is stated"
    return Finding(
        kind="no_balancing",
        layer=None,
        first_step=int(run.since),
        counts={"max_vio": mean, "worst_max_vio": ends[worst], "worst_layer": layers[worst].layer},
        measured=mean,
        threshold=limit,
        sentence=f"Nothing evens the loads out: {basis}, neither a bias nor an auxiliary loss is recorded, "
        f"and MaxVio is {mean:.2f} at the end (layer {layers[worst].layer}: {ends[worst]:.2f}).",
        try_this="Train with loss_free, or with an auxiliary loss over the global batch; if one is on, log "
        "its bias or its loss.",
    )


def weak_loss(run: RunRows) -> Finding | None:
    """An auxiliary loss that leaves the loads uneven, where no bias is there to even them out."""
    layers = [layer for layer in run.layers if len(layer.steps) >= FEWEST_STEPS]
    if not layers or _is_balanced_by_design(run) or run.is_inference or not _has_loss(run):
        return None
    if any(layer.has_bias for layer in layers):
        return None
    ends = [float(np.nanmean(layer.max_vio[-window(layer) :])) for layer in layers]
    means = [float(layer.shares[-window(layer) :].mean(0).max() - 1) for layer in layers]
    worst, mean = int(np.argmax(means)), float(np.mean(means))
    chances = [max_vio_by_chance(_load(layer) * window(layer), layer.width) for layer in layers]
    limit = UNEVEN + float(np.mean(chances))
    if not mean >= limit:
        return None
    return Finding(
        kind="weak_loss",
        layer=None,
        first_step=int(layers[worst].steps[-window(layers[worst])]),
        counts={"max_vio": float(np.mean(ends)), "lasting_max_vio": mean, "worst_layer": layers[worst].layer},
        measured=mean,
        threshold=limit,
        sentence=f"The auxiliary loss does not balance the loads: averaged over the last "
        f"{window(layers[worst])} recorded steps MaxVio is still {mean:.2f} (layer {layers[worst].layer}: "
        f"{means[worst]:.2f}).",
        try_this="Raise its coefficient tenfold (0.01 is usual), or check that its gradient reaches the "
        "router and that scores are normalised per token first.",
    )


def _is_training(run: RunRows) -> bool:
    """An import must say that it was trained; a run recorded by a loop was."""
    return run.info.phase in ("", "training")


def _is_balanced_by_design(run: RunRows) -> bool:
    return run.routing != "token_choice" or run.info.balancer_family in ("expert_choice", "dense")


def _has_loss(run: RunRows) -> bool:
    """Whether an auxiliary loss is stated, or one that is not 0 is recorded."""
    if any(rule.family for rule in run.rules or ()):
        return True
    recorded = run.steps["aux_loss"].drop_nulls().drop_nans()
    return run.rules is None and bool((recorded != 0).any())


def odd_layers(run: RunRows) -> list[Finding]:
    """Layers that are far less balanced than the others."""
    layers = [layer for layer in run.layers if len(layer.steps) >= FEWEST_STEPS or run.is_inference]
    if len(layers) < 4:
        return []
    ends = np.array([float(np.nanmean(layer.max_vio[-window(layer) :])) for layer in layers])
    middle = float(np.median(ends))
    logs = np.log(np.maximum(ends, 1e-3))
    deviation = max(SMALLEST_DEVIATION, 1.4826 * float(np.median(np.abs(logs - np.median(logs)))))
    far = logs - np.median(logs) >= ODD_DEVIATIONS * deviation
    odd_experts = np.flatnonzero(far & (ends >= ODD_RATIO * middle) & (ends >= ODD_VIO))
    return [_odd_layer(layers[i], float(ends[i]), middle) for i in odd_experts]


def _odd_layer(layer: LayerRows, max_vio: float, middle: float) -> Finding:
    size = min(len(layer.steps), window(layer))
    return Finding(
        kind="odd_layer",
        layer=layer.layer,
        first_step=int(layer.steps[-size]),
        counts={"max_vio": max_vio, "median_max_vio": middle, "steps": size},
        measured=max_vio,
        threshold=max(ODD_VIO, ODD_RATIO * middle),
        sentence=f"Layer {layer.layer} differs from the rest: its MaxVio is {max_vio:.2f}, the median of the "
        f"layers {middle:.2f}.",
        try_this="Look at what is special about this layer: its router's initial weights, the norm before "
        "it, its place after dense layers, or a bias that was not loaded.",
    )


def bad_counts(run: RunRows) -> list[Finding]:
    """Layers whose counts do not add up to K x tokens."""
    if run.info.unit not in ("", "assignments") or run.info.top_k < 1 or not _has_exact_k(run):
        return []
    return [finding for layer in run.layers if (finding := _bad_sum(run, layer)) is not None]


def _has_exact_k(run: RunRows) -> bool:
    """Whether every token has K experts; as `explorer.queries.sums` has it."""
    model = run.info.config.get("model")
    settings = model if isinstance(model, dict) else {}
    varying = settings.get("top_p") or settings.get("capacity_factor") or settings.get("random_second")
    exact = run.routing in ("token_choice", "hash", "random")
    family = run.info.balancer_family not in ("expert_choice", "expert_threshold", "dense")
    return not varying and exact and family


def _bad_sum(run: RunRows, layer: LayerRows) -> Finding | None:
    top_k = min(run.info.top_k, layer.width)
    totals = layer.tokens.sum(-1).astype(np.float64)
    planned = np.full(len(totals), float(run.info.tokens_per_step) or np.nan)
    promises = [top_k * planned, top_k * _seen(run, layer)]
    ratio, promise = nearest_ratio([totals, totals + layer.dropped], promises)
    ends = np.unique(np.r_[: min(SUM_STEPS, len(ratio)), max(0, len(ratio) - SUM_STEPS) : len(ratio)])
    if not is_off(ratio[ends]):
        return None
    finite_ends = ends[np.isfinite(ratio[ends])]
    place = int(finite_ends[np.argsort(ratio[finite_ends])[len(finite_ends) // 2]])
    step, value, cause = int(layer.steps[place]), float(ratio[place]), likely_cause(ratio[place], top_k)
    return Finding(
        kind="bad_counts",
        layer=layer.layer,
        first_step=int(layer.steps[finite_ends[0]]),
        counts={"ratio": value, "counted": int(totals[place]), "promised": int(promise[place])},
        measured=value,
        threshold=1.0,
        sentence=f"The counts of layer {layer.layer} add up to {value:.3g} × K × tokens "
        f"({int(totals[place]):,} instead of {int(promise[place]):,} at step {step:,})"
        + (f", as if {cause}." if cause else "."),
        try_this="Count every token once: leave padding and recomputed forward passes out, add up all "
        "micro-batches and ranks, and keep shared experts apart.",
    )


def _seen(run: RunRows, layer: LayerRows) -> Floats:
    """[S] tokens per step by what `tokens_seen` grew; NaN where unknown."""
    counted_steps = run.steps.drop_nulls("tokens_seen")
    steps, seen = counted_steps["step"].to_numpy(), counted_steps["tokens_seen"].to_numpy().astype(np.float64)
    if not len(steps):
        return np.full(len(layer.steps), np.nan)
    first = np.array([seen[0] / (steps[0] + 1) if steps[0] == 0 else np.nan])
    growth = np.concatenate([first, np.diff(seen) / np.diff(steps)])
    place = np.clip(np.searchsorted(steps, layer.steps), 0, len(steps) - 1)
    grown = np.where((steps[place] == layer.steps) & (growth[place] > 0), growth[place], np.nan)
    return np.asarray(grown)
