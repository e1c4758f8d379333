"""Processor time of all queries of a view, and how many statements they run.

    python -m benchmarks.views                              the pages of the shipped runs
    python -m benchmarks.views --index FILE --view compare --set runs=RUN
    python -m benchmarks.views --queries                    query by query

A view is opened as `python -m explorer export` opens it, every question once; then its queries alone are run
again, each `--rounds` times, with the least time of each added up. Drawing is not counted. Processor time is
that of all threads. Simulated baselines lie beside the index, as from the second visit on. Sections of
Compare that start closed are asked nothing until they are opened: "at first sight" is a view without them.
"""

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.figures import views
from explorer.figures.arms import Run, run_from_row
from explorer.figures.store import Answer, run_query
from explorer.queries.runs import list_runs
from explorer.store import Index

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "runs"
NONE, FREE = "standard-none-seed0", "standard-loss_free-seed0"
PAGES: dict[str, tuple[str, dict[str, list[str]]]] = {
    "Overview": ("overview", {}),
    "Compare, 4 arms of 5 seeds": ("compare", {}),
    "Compare, 2 runs": ("compare", {"runs": [NONE, FREE]}),
    "Compare, 1 run": ("compare", {"runs": [FREE]}),
    "Replay": ("replay", {"run": [FREE]}),
    "Microscope": ("microscope", {"run": [FREE]}),
    "Serving": ("serving", {"run": [NONE]}),
}


FOLDED = ("compare_plane", "mechanism_", "compare_agreement_", "compare_replay_")
"""Keys of the questions in sections that start closed."""


@dataclass
class CountingStore:
    """A store that keeps its questions, to ask them again."""

    index: Index
    answers: dict[Any, Answer[Any]] = field(default_factory=dict)

    def answer(
        self, query: Callable[..., Any], runs: Run | Sequence[Run], *args: Any, **settings: Any
    ) -> Answer[Any]:
        """See `figures.store.Store`."""
        asked = runs if isinstance(runs, Run) else tuple(runs)
        key = (query, asked, args, tuple(sorted(settings.items())))
        if key not in self.answers:
            self.answers[key] = run_query(self.index, query, runs, *args, **settings)
        return self.answers[key]

    def costs(self, rounds: int) -> list[tuple[str, int, float]]:
        """Name, statements and least processor time in seconds of every question.

        Each round is that of an index that has just changed: rows that queries share are read once in it.
        """
        least = dict.fromkeys(self.answers, math.inf)
        for _ in range(rounds):
            self.index.forget()
            for key in self.answers:
                query, runs, args, settings = key
                begun = time.process_time()
                run_query(self.index, query, runs, *args, **dict(settings))
                least[key] = min(least[key], time.process_time() - begun)
        return [
            (f"{key[0].__module__.rsplit('.', 1)[-1]}.{key[0].__name__}", len(answer.statements), least[key])
            for key, answer in self.answers.items()
        ]


@dataclass(frozen=True)
class Measured:
    """The queries of a view."""

    costs: list[tuple[str, int, float]]
    """Name, statements and seconds of each."""
    at_first_sight: int
    """How many of them, from the first on, are asked before a closed section is opened."""


def measure(index: Index, view: str, query: dict[str, list[str]], rounds: int) -> Measured:
    """The costs of all questions of a view."""
    with index.cursor() as cur:
        runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
    store = CountingStore(index)
    questions = views.opener(view)(store, runs, query).questions
    later = [question for question in questions if question.key.startswith(FOLDED)]
    for question in questions:
        if question not in later:
            question.answer(store)
    at_first_sight = len(store.answers)
    for question in later:
        question.answer(store)
    return Measured(store.costs(rounds), at_first_sight)


def report(title: str, measured: Measured, by_query: bool) -> None:
    """Print one line per view, and one per query if asked."""
    costs = measured.costs
    statements, seconds = sum(cost[1] for cost in costs), sum(cost[2] for cost in costs)
    first = sum(cost[2] for cost in costs[: measured.at_first_sight])
    print(
        f"{title:32} {1000 * seconds:7.0f} ms  {len(costs):4} queries  {statements:4} statements  "
        f"{1000 * first:7.0f} ms at first sight",
        flush=True,
    )
    if not by_query:
        return
    numbers, times = Counter[str](), Counter[str]()
    for name, number, cost in costs:
        numbers[name] += number
        times[name] += cost  # type: ignore[assignment]  # a Counter adds floats as well
    for name, cost in times.most_common():
        print(f"    {name:34} {1000 * cost:6.1f} ms  {numbers[name]:4} statements")


def main() -> None:
    """Measure the pages, or one view."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, help="an index file (default: a new one of the shipped runs)")
    parser.add_argument("--view", help="a view of `export`; default: the pages of the shipped runs")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", action="store_true", help="query by query")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.open(options.index or Path(folder) / "i.duckdb") as index,
    ):
        if options.index is None:
            index.ingest([SHIPPED])
        if options.view:
            query: dict[str, list[str]] = {}
            for text in options.settings:
                key, _, value = text.partition("=")
                query.setdefault(key, []).append(value)
            report(options.view, measure(index, options.view, query, options.rounds), options.queries)
            return
        for title in options.only:
            report(title, measure(index, *PAGES[title], options.rounds), options.queries)


if __name__ == "__main__":
    main()
