"""The selector for the order of experts, and the order frozen while the run plays or trains."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures import expert_order, many_experts
from explorer.figures.arms import Run
from explorer.figures.settings import ExpertOrder
from explorer.ui.shared import state, urls
from explorer.ui.shared.store import STORE

KEY = "sort"
STABLE_ORDER = state.Slot[tuple[tuple[str, int, str], ExpertOrder | None] | None]("expert_order", None)
"""Run, layer and name of the order that was selected last, and the order."""


def control(run: Run) -> None:
    """The selector, bound to `?sort=`; only a run with biases offers the order by bias."""
    options = expert_order.sorts_of(STORE, run)
    urls.prepare_choice(KEY, options, expert_order.INDEX, lambda value: _notice(value, options))
    st.selectbox(
        "Order of experts",
        options,
        key=KEY,
        bind="query-params",
        width=190,
        help="Order of the experts in the player, the bars and the domains: by index, or highest first by "
        "mean load over the last 100 steps (last quarter of a short run), by mean load over all steps, or by "
        "last bias. The order is computed once and stays while the run plays or trains; select it again to "
        "re-sort.",
    )


def _notice(value: str, options: list[str]) -> str:
    if value == expert_order.BIAS:
        return "This run has no biases, so its experts cannot be sorted by bias. They are sorted by index."
    return (
        f"The link asks for the order “{value}”; it can be {', '.join(options)}. The experts are sorted by "
        "index."
    )


def stable_order(run: Run, layer: int, sort: str) -> ExpertOrder | None:
    """The selected order as it was when it was selected; None for the order by index."""
    if sort == expert_order.INDEX:
        return None
    name = (run.run_id, layer, sort)
    entry = STABLE_ORDER.get()
    if entry is None or entry[0] != name:
        entry = (name, expert_order.order_of(STORE, run, layer, sort))
        STABLE_ORDER.put(entry)
    return entry[1]


def rows(run: Run, layer: int, sort: str) -> Sequence[int | Sequence[int]] | None:
    """The rows of the player from top to bottom; None: every expert by index.

    Very many experts share rows, ranked by the selected order, or by their load over the run.
    """
    is_many = many_experts.is_many(run, layer)
    order = stable_order(
        run, layer, expert_order.MEAN_LOAD if is_many and sort == expert_order.INDEX else sort
    )
    if order is None:
        return None
    return many_experts.shared_rows(order.experts) if is_many else order.experts
