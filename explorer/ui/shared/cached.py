"""The queries that pages ask, each remembered until its run has grown.

The key is always the run's version (run_id, generation, last step, state) and never a frame.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import polars as pl
import streamlit as st

from explorer.figures.arms import Run, run_from_row
from explorer.metrics.sums import CountSums
from explorer.queries import (
    balance,
    biases,
    comparison,
    domains,
    loads,
    losses,
    sums,
)
from explorer.queries import bias_step as bias_steps
from explorer.queries import events as event_queries
from explorer.queries import runs as run_queries
from explorer.queries import specialisation as specialists
from explorer.queries import statements as asked
from explorer.queries.comparison import PairedDifference
from explorer.queries.loads import LoadMatrix
from explorer.ui.server.services import services

Version = tuple[str, int, int, str]
P = ParamSpec("P")
R = TypeVar("R")


def _cached(function: Callable[P, R]) -> Callable[P, R]:
    """Remember the answers, and with each the statements that it took (`queries.asked`)."""

    @wraps(function)
    def with_statements(*args: P.args, **settings: P.kwargs) -> tuple[R, tuple[asked.Statement, ...]]:
        with asked.listening() as statements:
            answer = function(*args, **settings)
        return answer, tuple(statements)

    kept = st.cache_data(max_entries=200, show_spinner=False)(with_statements)

    @wraps(function)
    def ask(*args: P.args, **settings: P.kwargs) -> R:
        answer, statements = kept(*args, **settings)
        return asked.mark(answer, statements)

    return ask


def _ask(query: Callable[..., R], *args: Any, **settings: Any) -> R:
    """Call a query function with a cursor of its own."""
    with services().index.cursor() as cur:
        return query(cur, *args, **settings)


def list_runs() -> list[Run]:
    """Every run, newest first; not cached: it is what tells whether the caches hold."""
    return [run_from_row(row) for row in _ask(run_queries.list_runs).to_dicts()]


def run_rows(run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """All that the index knows of these runs, in this order."""
    known = {row["run_id"]: row for row in _ask(run_queries.list_runs).to_dicts()}
    return [known[run_id] for run_id in run_ids if run_id in known]


def versions(runs: Sequence[Run]) -> tuple[Version, ...]:
    return tuple(run.version for run in runs)


@_cached
def max_vio_series(
    runs: tuple[Version, ...], layer: int | None = None, x: str = "step", max_bins: int = 300
) -> pl.DataFrame:
    return _ask(balance.max_vio_series, _ids(runs), layer, max_bins, x)


@_cached
def layer_balance(runs: tuple[Version, ...]) -> pl.DataFrame:
    return _ask(balance.layer_balance, _ids(runs))


@_cached
def count_sums(run: Version) -> CountSums | None:
    return _ask(sums.count_sums, run[0])


@_cached
def shared_expert(run: Version) -> int | None:
    return _ask(sums.shared_expert, run[0])


@_cached
def references(run: Version) -> dict[str, float | None]:
    return _ask(balance.references, run[0])


@_cached
def summary(runs: tuple[Version, ...]) -> pl.DataFrame:
    return _ask(comparison.summary, _ids(runs))


@_cached
def paired(arm_a: tuple[Version, ...], arm_b: tuple[Version, ...], metric: str) -> PairedDifference:
    return _ask(comparison.paired, _ids(arm_a), _ids(arm_b), metric)


@_cached
def load_heatmap(run: Version, layer: int, max_bins: int = 200) -> pl.DataFrame:
    return _ask(loads.load_heatmap, run[0], layer, max_bins)


@_cached
def load_matrix(run: Version, layer: int) -> LoadMatrix:
    return _ask(loads.load_matrix, run[0], layer)


@_cached
def loads_at(run: Version, layer: int, step: int) -> pl.DataFrame:
    return _ask(loads.loads_at, run[0], layer, step)


@_cached
def bias_trajectories(run: Version, layer: int, max_bins: int = 300) -> pl.DataFrame:
    return _ask(biases.bias_trajectories, run[0], layer, max_bins)


@_cached
def bias_step(run: Version, layer: int, step: int) -> pl.DataFrame:
    return _ask(bias_steps.bias_step, run[0], layer, step)


@_cached
def loss_series(runs: tuple[Version, ...], x: str = "step", max_bins: int = 300) -> pl.DataFrame:
    return _ask(losses.loss_series, _ids(runs), max_bins, x)


@_cached
def eval_series(runs: tuple[Version, ...], x: str = "step") -> pl.DataFrame:
    return _ask(losses.eval_series, _ids(runs), x)


@_cached
def events(run: Version) -> pl.DataFrame:
    return _ask(event_queries.events, run[0])


@_cached
def event_counts(runs: tuple[Version, ...]) -> pl.DataFrame:
    return _ask(event_queries.event_counts, _ids(runs))


@_cached
def domain_expert(run: Version, layer: int) -> pl.DataFrame:
    return _ask(domains.domain_expert, run[0], layer)


@_cached
def specialisation(run: Version) -> pl.DataFrame:
    return _ask(specialists.specialisation, run[0])


def _ids(runs: tuple[Version, ...]) -> list[str]:
    return [run[0] for run in runs]
