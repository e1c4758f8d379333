"""Findings from the values of the biases: frozen, lost, running away."""

import numpy as np

from explorer import metrics
from explorer.health.finding import Finding
from explorer.health.loads import FEWEST_STEPS, window
from explorer.health.moves import Moves
from explorer.health.rows import Floats, LayerRows, RunRows
from explorer.wording import percent

PERSISTENT = 0.25
"""Distance of an expert's mean load in the window from the uniform load, over that load, from which on a bias
rule should have moved it. Under the default rules of the shipped runs it is at most 0.05."""
GROWING = 1.2
"""A spread that grew by a fifth over the last quarter of the run still runs away."""
LOST_MOVES = 10.0
"""A bias counts as lost if it falls to its neutral value from at least this many usual moves away."""
BOUNDED = ("sigmoid", "softmax")
"""Score functions between 0 and 1, against which a bias of 1 decides."""


def frozen_bias(run: RunRows, moves: Moves) -> Finding | None:
    """Biases that stay where they are while the loads ask for a move."""
    layer, size = moves.layer, window(moves.layer)
    if len(layer.steps) < size or _is_frozen_by_rule(run):
        return None
    error = mean_error(layer, size)
    still = ~moves.moved[-(size - 1) :].any(0) & np.isfinite(layer.bias[-1])
    stuck = np.flatnonzero(still & (np.abs(error) >= PERSISTENT))
    if not len(stuck):
        return None
    changes = np.flatnonzero(moves.moved[:, stuck].any(1))
    start = int(changes[-1]) + 1 if len(changes) else 0
    step, largest = int(layer.steps[start]), float(np.abs(error[stuck]).max())
    rounded = _fits_bf16(layer.bias[-size:])
    whole = len(stuck) == int((np.abs(error) >= PERSISTENT).sum()) and bool(still.all())
    who = "All biases" if whole else f"The biases of {len(stuck)} of {layer.width} experts"
    note = " Every bias fits bfloat16 exactly, where a small update is rounded away." if rounded else ""
    return Finding(
        kind="frozen_bias",
        layer=layer.layer,
        first_step=step,
        counts={
            "experts": len(stuck), "steps": len(layer.steps) - start, "load_error": largest,
            "fits_bf16": int(rounded), "nonzero": int((layer.bias[-1] != 0).sum()),
        },
        measured=largest,
        threshold=PERSISTENT,
        sentence=f"{who} in layer {layer.layer} have not moved since step {step:,}, while their loads are up "
        f"to {percent(largest)} away from the uniform load.{note}",
        try_this="Keep the bias in float32, call its update once per optimizer step, and check that "
        "neither freezing nor a missing reduction of the counts stops it.",
    )  # fmt: skip


def mean_error(layer: LayerRows, size: int) -> Floats:
    """[E] mean load over the uniform load minus 1, in the last `size` recorded steps."""
    return np.asarray(np.nanmean(layer.shares[-size:], axis=0) - 1)


def _is_frozen_by_rule(run: RunRows) -> bool:
    """Whether the update is meant to have ended: u is 0, or the rule freezes the bias by now."""
    if run.last_rate == 0:
        return True
    stops = [getattr(rule, "freeze_after_step", None) for rule in run.rules or ()]
    return any(stop is not None and stop <= run.last_step for stop in stops)


def _fits_bf16(bias: np.ndarray) -> bool:
    bits = np.ascontiguousarray(bias, dtype=np.float32).view(np.uint32)
    return bool(bias.any()) and not bool((bits & 0xFFFF).any())


def bias_lost(run: RunRows, moves: Moves) -> Finding | None:
    """Biases that fall to their neutral value from one step to the next, as after a resume without them."""
    layer = moves.layer
    after = layer.bias[1:]
    flat = ((after == 0).all(-1) | (after == 1).all(-1)) & moves.moved.any(-1)
    usual = float(np.median(np.abs(moves.moves[moves.moved]))) if moves.moved.any() else 0.0
    fall = np.nan_to_num(np.abs(moves.moves)).max(-1)
    reset = np.flatnonzero(flat & (fall >= LOST_MOVES * max(usual, 1e-12)))
    if not len(reset):
        return None
    place = int(reset[0])
    step, lost = int(layer.steps[place + 1]), float(np.nanmax(np.abs(moves.moves[place])))
    return Finding(
        kind="bias_lost",
        layer=layer.layer,
        first_step=step,
        counts={"times": len(reset), "largest_bias": lost, "usual_move": usual},
        measured=lost / max(usual, 1e-12),
        threshold=LOST_MOVES,
        sentence=f"The biases of layer {layer.layer} fall from up to {lost:.3g} to their neutral value "
        f"at step {step:,}: they were lost, as on a resume without them.",
        try_this="Save the bias in the checkpoint (a buffer, not a plain attribute) and load it before the "
        "first step.",
    )


def bias_runaway(run: RunRows, layer: LayerRows) -> Finding | None:
    """A bias that is not finite, outranks every score, or grows on and on."""
    if not layer.has_bias:
        return None
    broken = np.flatnonzero(np.isinf(layer.bias).any(-1))
    if len(broken):
        return _runaway(
            layer, int(layer.steps[broken[0]]), float("inf"), "holds a bias that is NaN or infinite"
        )
    spread = metrics.bias_spread(layer.bias)
    wide = np.flatnonzero(np.nan_to_num(spread) > metrics.WIDE_SPREAD)
    last = float(spread[-1])
    if not len(wide) or not last > metrics.WIDE_SPREAD or not _one_decides(run, spread):
        return None
    return _runaway(
        layer,
        int(layer.steps[wide[0]]),
        last,
        f"has biases up to {last:.3g} apart: the bias alone decides between those experts, whatever their "
        "scores",
    )


def _one_decides(run: RunRows, spread: Floats) -> bool:
    """Whether a spread of 1 matters: scores are bounded, or not stated while the spread still grows."""
    model = run.info.config.get("model")
    settings = model if isinstance(model, dict) else {}
    if run.bias_rule is not None and run.bias_rule.bias_form != "additive":
        return False
    if settings.get("num_groups", 1) not in (None, 1):
        return False
    if settings.get("score_func") in BOUNDED:
        return True
    if "score_func" in settings or run.is_inference or len(spread) < FEWEST_STEPS:
        return False
    return bool(spread[-1] >= GROWING * spread[-len(spread) // 4])


def _runaway(layer: LayerRows, step: int, spread: float, what: str) -> Finding:
    is_finite = bool(np.isfinite(spread))
    return Finding(
        kind="bias_runaway",
        layer=layer.layer,
        first_step=step,
        counts={"spread": spread} if is_finite else {},
        measured=spread if is_finite else 0.0,
        threshold=metrics.WIDE_SPREAD,
        sentence=f"Since step {step:,} layer {layer.layer} {what}.",
        try_this="Check the sign of the update first; then use a smaller update rate, and look for experts "
        "whose scores the bias cannot lift.",
    )
