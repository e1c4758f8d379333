"""The store as figures ask it: every answer comes with the SQL that produced it.

A figure never sees a connection. It asks a `Store`, and its `Trace` collects the statements for the panel.
The app's store remembers answers until a run grows (`ui/shared/store.py`); a command uses `OpenStore`.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeGuard, TypeVar

from explorer.figures.arms import Run
from explorer.queries._baselines import remembering
from explorer.queries.statements import Statement, listening
from explorer.store import Index

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Answer(Generic[R_co]):
    """The result of one query and the statements that were run for it."""

    value: R_co
    statements: tuple[Statement, ...]


class Store(Protocol):
    """Anything that can run a function of `explorer.queries` for one run or several."""

    def answer(
        self, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any
    ) -> Answer[R]:
        """Call `query(cursor, run_id or run_ids, *args, **settings)`."""


def run_query(
    index: Index, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any
) -> Answer[R]:
    """Run a query with a cursor of its own.

    A single run is passed as its id, several as a list of ids. A tuple of runs among `args` is passed as a
    list of ids too, for a query that compares two sets of runs.
    """
    with listening() as statements, remembering(index.memo), index.cursor() as cur:
        value = query(cur, _ids(runs), *(_ids(arg) if _are_runs(arg) else arg for arg in args), **settings)
    return Answer(value, tuple(statements))


def _ids(runs: Run | Sequence[Run]) -> str | list[str]:
    return runs.run_id if isinstance(runs, Run) else [run.run_id for run in runs]


def _are_runs(arg: object) -> TypeGuard[tuple[Run, ...]]:
    return isinstance(arg, tuple) and bool(arg) and all(isinstance(run, Run) for run in arg)


@dataclass(frozen=True)
class OpenStore:
    """A store for one command. It keeps its answers, since panels of a view share many questions.

    Answers must not be modified.
    """

    index: Index
    _answers: dict[Hashable, Answer[Any]] = field(default_factory=dict)

    def answer(
        self, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any
    ) -> Answer[R]:
        """See `Store.answer`."""
        ids = runs.run_id if isinstance(runs, Run) else tuple(run.run_id for run in runs)
        key = (query, ids, args, tuple(sorted(settings.items())))
        if key not in self._answers:
            self._answers[key] = run_query(self.index, query, runs, *args, **settings)
        answer: Answer[R] = self._answers[key]
        return answer


@dataclass
class Trace:
    """The questions behind one panel: ask through it, then hand `statements` to the panel."""

    store: Store
    _statements: list[Statement] = field(default_factory=list)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement so far, once, in the order of asking."""
        return tuple(self._statements)

    def ask(self, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any, **settings: Any) -> R:
        """The value of one query; its statements are kept for the panel."""
        answer = self.store.answer(query, runs, *args, **settings)
        for statement in answer.statements:
            # Parameters may hold lists, so statements cannot be hashed.
            if statement not in self._statements:
                self._statements.append(statement)
        return answer.value
