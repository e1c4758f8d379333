"""Events of several arms: those of every run, under its arm's token, in the order of the runs."""

from types import SimpleNamespace
from typing import Any

import polars as pl

from explorer.figures import events
from explorer.queries import events as event_queries

SCHEMA = {"step": pl.Int64, "kind": pl.String, "detail": pl.String}
STEPS = {"a0": [3, 9], "a1": [4], "b0": [5], "c0": []}


class Answers:
    """In place of a trace: the events of STEPS, for one run or several."""

    def ask(self, query: Any, what: Any) -> pl.DataFrame:
        if query is event_queries.events:
            return pl.DataFrame([(step, "death", None) for step in STEPS[what.run_id]], SCHEMA, orient="row")
        assert query is event_queries.events_of_runs
        return pl.concat(
            self.ask(event_queries.events, run).select(pl.lit(run.run_id).alias("run_id"), pl.all())
            for run in what
        )


def rows(*arms: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """(arm, step, detail) of the events of arms of these runs."""
    groups = [
        SimpleNamespace(
            runs=[SimpleNamespace(run_id=run, seed=seed) for seed, run in enumerate(names)],
            token=names[0][0],
            is_group=len(names) > 1,
        )
        for names in arms
    ]

    class Arms(list[Any]):
        runs = tuple(run for group in groups for run in group.runs)

    frame = events.of_arms(Answers(), Arms(groups))  # type: ignore[arg-type]
    return frame.select("run_id", "step", "detail").rows()


def test_single_runs_are_asked_one_by_one_and_none_is_left_out() -> None:
    assert rows(("a0",)) == [("a", 3, ""), ("a", 9, "")]
    assert rows(("a0",), ("b0",), ("c0",)) == [("a", 3, ""), ("a", 9, ""), ("b", 5, "")]


def test_arms_of_several_seeds_name_the_seed() -> None:
    expected = [("a", 3, ", seed 0"), ("a", 9, ", seed 0"), ("a", 4, ", seed 1"), ("b", 5, "")]
    assert rows(("a0", "a1"), ("b0",)) == expected
