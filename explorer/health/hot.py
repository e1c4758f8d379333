"""An expert that is hot throughout: not for a moment, and not because nothing balances."""

import math
from collections.abc import Collection

import numpy as np

from explorer.health.finding import Finding
from explorer.health.loads import ENOUGH
from explorer.health.rows import LayerRows, RunRows
from explorer.wording import counted

WINDOWS, FEWEST_WINDOWS = 20, 8
"""Consecutive windows of equally many recorded steps; fewer show no course."""
NEARLY_ALL = 0.95
"""Of the windows."""
MOST_SHARE = 0.5
"""Of the tokens: an expert can be chosen once per token, so its load is at most E/K × uniform."""
HOT = 4.0
"""Times the uniform load, where something may balance. In the shipped runs with a rule, the hottest expert
stays above 3.3 times in nearly all windows (loss-free, u = 0.0003), with a rule at its default above 1.6.
Such loads are common when serving: published DeepSeek-R1 loads have experts at up to 14 × uniform."""
EXPLAINED_BY = frozenset({"collapse", "no_balancing", "weak_loss"})
"""Findings that say the same of the layer, or of the run as a whole."""


def hot_experts(run: RunRows, findings: Collection[Finding]) -> list[Finding]:
    """The hottest expert of each layer that is not accounted for by these findings."""
    explained = {finding.layer for finding in findings if finding.kind in EXPLAINED_BY}
    if None in explained:
        return []
    layers = [layer for layer in run.layers if layer.layer not in explained]
    return [finding for layer in layers if (finding := _hot_expert(run, layer)) is not None]


def _hot_expert(run: RunRows, layer: LayerRows) -> Finding | None:
    limit = _limit(run, layer.width)
    counts = _window_counts(layer)
    if limit is None or counts is None:
        return None
    tokens, starts = counts
    ratios = tokens * layer.width / tokens.sum(-1, keepdims=True)
    needed = math.ceil(NEARLY_ALL * len(ratios))
    # [E] what each expert reaches in as many windows as are needed.
    lasting = np.sort(ratios, axis=0)[len(ratios) - needed]
    expert = int(np.argmax(lasting))
    if not lasting[expert] > limit:
        return None
    hot, whole = ratios[:, expert] > limit, float(tokens[:, expert].sum() * layer.width / tokens.sum())
    others = int((lasting > limit).sum()) - 1
    more = f" So did {counted(others, 'other expert')} of the layer." if others else ""
    return Finding(
        kind="hot_expert",
        layer=layer.layer,
        first_step=int(starts[int(np.argmax(hot))]),
        counts={
            "expert": expert,
            "tokens": int(tokens[:, expert].sum()),
            "load_ratio": whole,
            "hot_windows": int(hot.sum()),
            "windows": len(ratios),
            "hot_experts": others + 1,
        },
        measured=float(lasting[expert]),
        threshold=limit,
        sentence=f"Layer {layer.layer}: expert {expert} got more than {limit:g} times the uniform load in "
        f"{int(hot.sum())} of {len(ratios)} windows of the run, {whole:.1f} times over the whole run.{more}",
        try_this=_advice(run),
    )


def _limit(run: RunRows, width: int) -> float | None:
    """Load over the uniform load from which on an expert is hot; None where K is not known, when serving."""
    half = MOST_SHARE * width / run.info.top_k if run.info.top_k > 0 else None
    if run.is_inference:
        return half
    return HOT if half is None else min(HOT, half)


def _window_counts(layer: LayerRows) -> tuple[np.ndarray, np.ndarray] | None:
    """Tokens [W, E] and first step [W] of the windows whose uniform load is large enough; None: too few."""
    count = min(WINDOWS, len(layer.steps))
    if count < FEWEST_WINDOWS:
        return None
    starts = np.linspace(0, len(layer.steps), count, endpoint=False).astype(np.int64)
    tokens = np.add.reduceat(layer.tokens, starts, axis=0).astype(np.float64)
    enough = tokens.mean(-1) >= ENOUGH
    return (tokens[enough], layer.steps[starts[enough]]) if enough.sum() >= FEWEST_WINDOWS else None


def _advice(run: RunRows) -> str:
    if run.is_inference:
        return "Give it redundant copies: the page Serving plans a placement and says what it saves."
    return (
        "Check that the balancing rule reaches this layer: its bias in the selection, its loss in the "
        "gradient. For a trace of inference, state its phase and plan redundant copies on the page Serving."
    )
