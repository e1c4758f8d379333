"""All checks of one run."""

import warnings
from collections.abc import Callable

from explorer.health import biases, hot, loads, losses, updates
from explorer.health.finding import TITLES, Finding
from explorer.health.moves import Moves, moves_of
from explorer.health.rows import LayerRows, RunRows
from explorer.recording.info import REPLICAS

BY_LAYER: tuple[Callable[[RunRows, LayerRows], Finding | None], ...] = (
    loads.collapse,
    loads.dead_experts,
    biases.bias_runaway,
)
BY_MOVES: tuple[Callable[[RunRows, Moves], Finding | None], ...] = (
    updates.wrong_sign,
    biases.frozen_bias,
    biases.bias_lost,
    updates.uncaused_moves,
    updates.several_updates,
    updates.u_too_small,
    updates.u_too_large,
)
OF_RUN: tuple[Callable[[RunRows], list[Finding]], ...] = (
    loads.bad_counts,
    loads.odd_layers,
    losses.constant_aux_loss,
    losses.sequence_imbalance,
)


def diagnose(run: RunRows) -> list[Finding]:
    """Everything that is wrong with the router, by kind as in `TITLES`, then by layer; empty if nothing is.

    At most one finding per kind and layer. A placement has no loads, so there is nothing to examine.
    """
    if run.info.unit == REPLICAS:
        return []
    findings: list[Finding | None] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)  # steps without tokens
        for layer in run.layers:
            findings += [check(run, layer) for check in BY_LAYER]
            moves = moves_of(run, layer)
            if moves is not None:
                findings += [check(run, moves) for check in BY_MOVES]
        findings += [loads.no_balancing(run), loads.weak_loss(run)]
        for check in OF_RUN:
            findings += check(run)
        findings += hot.hot_experts(run, [finding for finding in findings if finding is not None])
    order = list(TITLES)
    return sorted(
        (finding for finding in findings if finding is not None),
        key=lambda f: (order.index(f.kind), -1 if f.layer is None else f.layer),
    )
