"""The app's store: answers and panels are remembered until one of their runs has grown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import streamlit as st

from explorer.figures.arms import Arm, Run
from explorer.figures.opening import LoadFilm, opening_films
from explorer.figures.panel import Missing, Panel, Question
from explorer.figures.store import Answer, run_query
from explorer.ui.server.services import services
from explorer.ui.shared.last_value import LastValueCache

R = TypeVar("R")


class CachedStore:
    """Queries the index of this server. Answers are shared by all sessions and must not be modified."""

    def answer(
        self, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any
    ) -> Answer[R]:
        """See `figures.store.Store.answer`."""
        versions = runs.version if isinstance(runs, Run) else tuple(run.version for run in runs)
        name = f"{query.__module__}.{query.__qualname__}"
        settings_key = tuple(sorted(settings.items()))
        if _is_growing(runs):
            ids = runs.run_id if isinstance(runs, Run) else tuple(run.run_id for run in runs)
            ask = partial(run_query, services().index, query, runs, *args, **settings)
            return _growing().answers.get((_index(), name, ids, args, settings_key), versions, ask)
        return _answer(_index(), name, versions, args, settings_key, query, runs)


@dataclass(frozen=True)
class _Growing:
    """What is known of runs that train: a new version every second or two would fill the caches below."""

    answers: LastValueCache[Answer[Any]] = field(default_factory=lambda: LastValueCache(most=200))
    panels: LastValueCache[Panel | Missing] = field(default_factory=lambda: LastValueCache(most=60))


@st.cache_resource(show_spinner=False)
def _growing() -> _Growing:
    return _Growing()


def _is_growing(runs: Run | Sequence[Run]) -> bool:
    return runs.is_running if isinstance(runs, Run) else any(run.is_running for run in runs)


def _index() -> str:
    """The index that answers: run ids and versions say nothing beyond it."""
    return str(services().settings.index)


# Not `cache_data`: copying a frame on every look costs more than many of the queries.
@st.cache_resource(max_entries=2000, show_spinner=False)
def _answer(
    index: str,
    name: str,
    versions: tuple[Any, ...],
    args: tuple[Any, ...],
    settings: tuple[tuple[str, Any], ...],
    _query: Callable[..., R],
    _runs: Run | Sequence[Run],
) -> Answer[R]:
    return run_query(services().index, _query, _runs, *args, **dict(settings))


STORE = CachedStore()


def ask(query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any) -> R:
    """The value of one query, for what a page shows beside its panels."""
    return STORE.answer(query, runs, *args, **settings).value


def derived(question: Question, build: Callable[[Question], R]) -> R:
    """What a page makes of a question beside its panel, built once for its runs' versions and settings."""
    if _is_growing(question.arms.runs):
        return build(question)
    return _derived((_index(), build.__module__, build.__qualname__, *question.cache_key), question, build)


@st.cache_resource(max_entries=300, show_spinner=False)
def _derived(key: tuple[object, ...], _question: Question, _build: Callable[[Question], R]) -> R:
    return _build(_question)


def opening(arms: tuple[Arm, ...]) -> tuple[LoadFilm, LoadFilm] | None:
    """The films of the Overview, made once for the runs' versions."""
    return _opening(_index(), tuple(run.version for arm in arms for run in arm.runs), arms)


@st.cache_resource(max_entries=4, show_spinner=False)
def _opening(
    index: str, versions: tuple[Any, ...], _arms: tuple[Arm, ...]
) -> tuple[LoadFilm, LoadFilm] | None:
    return opening_films(STORE, _arms)


def answer(question: Question) -> Panel | Missing:
    """The answer to a question, built once for its runs' versions and settings."""
    if _is_growing(question.arms.runs):
        arms = tuple((arm.token, *arm.run_ids) for arm in question.arms)
        name = (_index(), question.key, question.build, arms, question.settings)
        return _growing().panels.get(name, question.cache_key, partial(question.answer, STORE))
    return _built((_index(), question.key, *question.cache_key), question)


@st.cache_resource(max_entries=300, show_spinner=False)
def _built(key: tuple[object, ...], _question: Question) -> Panel | Missing:
    return _question.answer(STORE)
