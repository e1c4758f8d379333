"""In which order the experts of a layer stand: chosen once, then frozen until it is chosen again."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer.figures.arms import Run
from explorer.metrics import last_steps
from explorer.queries.loads import LoadMatrix
from explorer.ui.shared import cached, urls

KEY, FROZEN = "sort", "expert_order"
INDEX, FINAL, MEAN, BIAS = "index", "final load", "mean load", "bias"
SORTS = (INDEX, FINAL, MEAN, BIAS)


def control(run: Run) -> None:
    """The selector, bound to `?sort=`; a run without a bias has no order by bias."""
    options = [name for name in SORTS if name != BIAS or _has_bias(run)]
    urls.settle(
        KEY,
        options,
        INDEX,
        lambda value: (
            "This run has no biases, so its experts cannot be put in the order of their bias. They stand in "
            "the order of their numbers."
            if value == BIAS
            else f"The link asks for the order “{value}”; it can be {', '.join(options)}. The experts stand "
            "in the order of their numbers."
        ),
    )
    st.selectbox(
        "Order of experts",
        options,
        key=KEY,
        bind="query-params",
        width=190,
        help="Where an expert stands in the player, the bars and the domains: by its number, or highest "
        "first by its load over the last 100 steps (a quarter of a short run), by that over all steps, or by "
        "its last bias. It is worked out once and stays while the run plays or still trains; choose anew to "
        "sort anew.",
    )


def frozen(run: Run, layer: int) -> list[int] | None:
    """The experts in the order that was chosen; None in that of their numbers."""
    sort = str(st.session_state[KEY])
    if sort == INDEX:
        return None
    asked = (run.run_id, layer, sort)
    known: tuple[object, list[int]] | None = st.session_state.get(FROZEN)
    if known is None or known[0] != asked:
        known = (asked, _worked_out(run, layer, sort))
        st.session_state[FROZEN] = known
    return known[1]


def _worked_out(run: Run, layer: int, sort: str) -> list[int]:
    if sort == BIAS:
        bias = cached.loads_at(run.version, layer, run.last_step).sort("expert")["expert_bias"]
        return by_value(bias.fill_null(0.0).to_numpy())
    loads = mean_loads(cached.load_matrix(run.version, layer), final=sort == FINAL)
    return by_value(loads)


def mean_loads(matrix: LoadMatrix, *, final: bool) -> NDArray[np.float64]:
    """Tokens of each expert [E] over the whole run, or over its last 100 recorded steps (the last quarter of
    fewer than 400), as the figures of a finished run are."""
    tokens = matrix.tokens
    if final and len(matrix.steps):
        span = int(matrix.last_steps[-1] - matrix.steps[0]) + 1
        recorded = last_steps(span)
        tokens = tokens[matrix.last_steps > matrix.last_steps[-1] - recorded]
    return np.asarray(tokens.sum(0), dtype=np.float64)


def by_value(values: NDArray[np.float64] | Sequence[float]) -> list[int]:
    """Experts from the highest value to the lowest; equal ones by their numbers.

    >>> by_value([1.0, 3.0, 3.0, 2.0])
    [1, 2, 3, 0]
    """
    return [int(expert) for expert in np.argsort(-np.asarray(values), kind="stable")]


def words() -> str:
    """What an axis adds to its title."""
    sort = str(st.session_state.get(KEY, INDEX))
    return "" if sort == INDEX else f", by {sort}"


def _has_bias(run: Run) -> bool:
    return not cached.bias_trajectories(run.version, run.layers[0], 80).is_empty()
