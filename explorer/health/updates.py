"""Findings from the updates of the biases: their sign, size, number and cause."""

import numpy as np

from explorer import metrics
from explorer.health.biases import PERSISTENT, mean_error
from explorer.health.finding import Finding
from explorer.health.loads import window
from explorer.health.moves import Moves
from explorer.health.rows import RunRows
from explorer.metrics.events import OSCILLATION_MOVES, OSCILLATION_SHARE, OSCILLATION_STEPS
from explorer.wording import percent

FEWEST_MOVES = 50
"""Of fewer moves nothing is concluded: of 50 random ones 90 % agree once in 10^9 times."""
AGAINST = 0.9
"""Share of moves against the load error from which on the sign is wrong. A sign rule has exactly 0."""
UNCAUSED = (0.3, 0.7)
"""Shares between which moves do not depend on the loads. The quantile rule of the shipped runs, which reads
scores, has 0.85."""
STRAIGHT = 0.8
"""Net travel over the path from which on a bias still travels. Biases that have arrived have at most 0.21 in
the shipped runs."""
SETTLING_STEPS = 300
"""Updates that a bias may travel without a word while the run goes on."""
SEVERAL = 1.5
"""Size of a move over u from which on its step held several updates."""
SHARE_OF_SEVERAL = 0.1
"""Share of the moves that are that large. Of three random signs a quarter of the sums is 3, of one none."""
MULTIPLE = 0.02
"""Distance from a whole multiple that still counts as one."""


def wrong_sign(run: RunRows, moves: Moves) -> Finding | None:
    """A bias that rises where the load is above the mean."""
    along, against = moves.agreement()
    total = along + against
    if total < FEWEST_MOVES or against < AGAINST * total:
        return None
    late = moves.agreement(1)
    if late[0] >= AGAINST * sum(late):
        return None  # the file holds the bias after its update, and large moves turn the loads round
    layer = moves.layer
    return Finding(
        kind="wrong_sign",
        layer=layer.layer,
        first_step=_first_move(moves),
        counts={"against": against, "along": along, "moves": total},
        measured=against / total,
        threshold=AGAINST,
        sentence=f"In layer {layer.layer} {percent(against / total, 1)} of {total:,} bias updates go against "
        "the load error: the bias rises for overloaded experts and falls for under-loaded ones.",
        try_this="Turn the sign of the update round: b += u · sign(uniform load − load). If the selection "
        "subtracts the bias, the file is right and only its sign convention differs.",
    )


def uncaused_moves(run: RunRows, moves: Moves) -> Finding | None:
    """Moves of a bias that do not depend on the loads, neither of the step before nor of the step itself."""
    if run.info.scope in ("rank", "physical") or np.median(moves.gaps) > 1:
        return None
    shares: list[float] = []
    for shift in (0, 1):
        along, against = moves.agreement(shift)
        if along + against < 4 * FEWEST_MOVES:
            return None
        shares.append(along / (along + against))
        if not UNCAUSED[0] <= shares[-1] <= UNCAUSED[1]:
            return None
    layer, total = moves.layer, along + against
    return Finding(
        kind="uncaused_moves",
        layer=layer.layer,
        first_step=_first_move(moves),
        counts={"along_share": shares[0], "moves": total},
        measured=shares[0],
        threshold=UNCAUSED[1],
        sentence=f"In layer {layer.layer} {percent(shares[0])} of {total:,} bias updates follow the load "
        "error, as many as by chance: something other than the loads moves the bias.",
        try_this="Take the bias out of the optimizer (no gradient, no weight decay), and update it from the "
        "counts of the same step, reduced over all ranks.",
    )


def u_too_small(run: RunRows, moves: Moves) -> Finding | None:
    """Biases that still travel one way at the end, while the loads of their experts are far off."""
    layer, size = moves.layer, window(moves.layer)
    is_over = run.last_step >= run.info.num_steps - 1
    if len(layer.steps) < size or not (is_over or len(layer.steps) >= SETTLING_STEPS):
        return None
    last = np.nan_to_num(moves.moves[-(size - 1) :])
    path, net = np.abs(last).sum(0), last.sum(0)
    error = mean_error(layer, size)
    straight = np.abs(net) >= STRAIGHT * np.where(path > 0, path, np.inf)
    travelling = np.flatnonzero(straight & (np.abs(error) >= PERSISTENT) & (net * error < 0))
    if not len(travelling):
        return None
    largest = float(np.abs(error[travelling]).max())
    counts = {"experts": len(travelling), "load_error": largest, "steps": size}
    return Finding(
        kind="u_too_small",
        layer=layer.layer,
        first_step=int(layer.steps[-size]),
        counts=counts | ({"u": run.last_rate} if run.last_rate else {}),
        measured=largest,
        threshold=PERSISTENT,
        sentence=f"The biases of {len(travelling)} of {layer.width} experts in layer {layer.layer} still "
        f"travel one way in the last {size} recorded steps, with loads up to {percent(largest)} away from "
        "the uniform load: the update rate is too small.",
        try_this="Raise the update rate u threefold, or train longer.",
    )


def u_too_large(run: RunRows, moves: Moves) -> Finding | None:
    """Biases that jump to and fro to the end."""
    bias = moves.layer.bias
    windows = len(moves.moves) // OSCILLATION_STEPS
    first = None
    share = 0.0
    for i in range(windows):
        stop = len(moves.moves) - i * OSCILLATION_STEPS
        part = slice(stop - OSCILLATION_STEPS, stop)
        turning = float(metrics.oscillation(bias[part.start : part.stop + 1]))
        if not turning >= OSCILLATION_SHARE or moves.moved[part].mean() < OSCILLATION_MOVES:
            break
        first, share = part.start, turning if first is None else share
    if first is None:
        return None
    layer = moves.layer
    step = int(layer.steps[first])
    return Finding(
        kind="u_too_large",
        layer=layer.layer,
        first_step=step,
        counts={"turning_share": share, "steps": OSCILLATION_STEPS}
        | ({"u": run.last_rate} if run.last_rate else {}),
        measured=share,
        threshold=OSCILLATION_SHARE,
        sentence=f"{percent(share)} of the bias updates in layer {layer.layer} reverse direction, since step "
        f"{step:,} at the latest: the update rate is so large that the biases overshoot.",
        try_this="Lower the update rate u threefold, or let it shrink over the run.",
    )


def several_updates(run: RunRows, moves: Moves) -> Finding | None:
    """Moves by several u in one step."""
    if not run.may_be_sign:
        return None
    sizes = np.abs(moves.moves) / np.maximum(moves.gaps, 1)[:, None]
    if moves.moved.sum() < FEWEST_MOVES:
        return None
    rates = run.rates_at(moves.layer.steps[:-1])
    if np.isfinite(rates).all() and (rates > 0).all():
        finding = _of_rates((sizes / rates[:, None])[moves.moved], float(rates[-1]))
    else:
        finding = None if moves.is_scaled else _of_smallest(sizes[moves.moved])
    if finding is None:
        return None
    u, times, measured, threshold = finding
    layer = moves.layer
    return Finding(
        kind="several_updates",
        layer=layer.layer,
        first_step=_first_move(moves),
        counts={"u": u, "largest_multiple": times, "moves": int(moves.moved.sum())},
        measured=measured,
        threshold=threshold,
        sentence=f"The biases of layer {layer.layer} move by up to {times} × u in one step (u = {u:.3g}): "
        "the update runs several times per optimizer step.",
        try_this="Update the bias once per optimizer step, after the counts of all micro-batches and ranks "
        "are summed; not in every forward pass, and not again in a recomputed one.",
    )


Several = tuple[float, int, float, float]
"""u, the largest multiple, and the measured value with its threshold."""


def _of_rates(multiples: np.ndarray, rate: float) -> Several | None:
    share = float((multiples >= SEVERAL).mean())
    if share < SHARE_OF_SEVERAL:
        return None
    return rate, round(float(multiples.max())), share, SHARE_OF_SEVERAL


def _of_smallest(sizes: np.ndarray) -> Several | None:
    """u is taken to be the smallest move; a rule that scales its moves does not move by whole multiples."""
    u = float(np.quantile(sizes, 0.01))
    multiples = sizes / u
    whole = np.abs(multiples - np.round(multiples)) <= MULTIPLE * np.maximum(1, np.round(multiples))
    share = float((np.round(multiples) >= 2).mean())
    if whole.mean() < 0.95 or share < SHARE_OF_SEVERAL or multiples.max() > 1000:
        return None
    return u, round(float(multiples.max())), share, SHARE_OF_SEVERAL


def _first_move(moves: Moves) -> int:
    moved = np.flatnonzero(moves.moved.any(-1))
    return int(moves.layer.steps[int(moved[0]) if len(moved) else 0])
