"""Random-routing baselines of a comparison: from which runs they come, and when there is none."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from sentences import sentence

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run, run_from_row
from explorer.figures.balance import Baselines, line_note, lines_note, random_baselines
from explorer.figures.store import Answer, Trace
from explorer.queries import balance
from explorer.queries.statements import Statement

ROW = {
    "name": "", "path": "", "state": "finished", "dir_kind": "own", "preset": "tiny", "seed": 0,
    "balancer": "none", "balancer_label": "", "balancer_family": "none", "count_scope": "none",
    "pair_key": "k", "config": "{}", "num_moe_layers": 2, "num_experts": 8, "top_k": 2,
    "tokens_per_step": 64, "num_steps": 40, "last_step": 39, "generation": 1, "created_at": "",
    "problem": None, "message": None,
}  # fmt: skip


def arm(run_id: str, **changes: object) -> Arm:
    return Arm(token=run_id, label=run_id, runs=(run_from_row({**ROW, "run_id": run_id, **changes}),))


class FakeStore:
    """Answers the queries of the baselines from `metrics`: run_id -> (MaxVio of its last steps, effective
    experts). The baselines of a run are 1 for independent tokens and its own MaxVio for whole sequences."""

    def __init__(self) -> None:
        self.metrics: dict[str, tuple[float, float]] = {}

    def answer(
        self, query: Callable[..., Any], runs: Run | Sequence[Run], *_args: Any, **_settings: Any
    ) -> Answer[Any]:
        answers: dict[Callable[..., Any], Callable[[Any], Any]] = {
            balance.layer_balance: self.layer_balance,
            balance.references: self.references,
            balance.uniform_series: self.uniform_series,
        }
        return Answer(answers[query](runs), (Statement(sql=query.__name__, params={"runs": runs}),))

    def layer_balance(self, runs: Sequence[Run]) -> pl.DataFrame:
        rows = [self.metrics[run.run_id] for run in runs]
        return pl.DataFrame(
            {
                "max_vio_batch": [v for v, _ in rows for _ in range(2)],
                "effective_experts": [value for _, effective in rows for value in (7.0, effective)],
            }
        )

    def references(self, run: Run) -> dict[str, float | None]:
        at = self.metrics[run.run_id][0]
        if run.run_id.startswith("top_p"):
            return dict.fromkeys(("uniform_mean", "resampled_mean", "held_out_mean", "tokens"))
        tokens = 128.0 if run.run_id == "larger" else 64.0
        lines = {"uniform_mean": 1.0, "uniform_p95": 1.1, "resampled_mean": at, "resampled_p95": at}
        return {**lines, "held_out_mean": 0.1, "held_out_p95": 0.2, "tokens": tokens}

    def uniform_series(self, run: Run) -> pl.DataFrame:
        if run.run_id.startswith("top_p"):
            return pl.DataFrame(schema=["bin", "tokens"])
        tokens = [8, 64] if run.run_id.startswith("growing") else [64, 64]
        return pl.DataFrame(
            {"bin": [0, 1], "first_step": [0, 20], "last_step": [19, 39], "x": [19.0, 39.0], "tokens": tokens,
             "uniform_mean": [1.0 / n for n in tokens], "uniform_p95": [2.0 / n for n in tokens]}
        )  # fmt: skip


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def known(store: FakeStore) -> dict[str, tuple[float, float]]:
    """The metrics that the store knows."""
    return store.metrics


Ask = Callable[[list[Arm]], Baselines]


@pytest.fixture
def baselines(store: FakeStore) -> Ask:
    """The baselines of some arms."""
    return lambda arms: random_baselines(Trace(store), ArmSet.of(arms))


def test_the_best_balanced_run_gives_the_lines(known: dict[str, tuple[float, float]], baselines: Ask) -> None:
    known |= {"loss_free": (6.0, 2.0), "aux": (0.4, 7.5), "none": (3.0, 3.0)}
    arms = [arm("loss_free", balancer_family="loss_free"), arm("aux"), arm("none")]
    baseline = baselines(arms)
    assert baseline.levels["resampled"] == (0.4, 0.4)
    assert "uniform" in baseline.levels
    assert baseline.missing == ""


def test_among_collapsed_runs_there_is_no_line_of_sequences(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"a": (6.0, 2.0), "b": (5.0, 4.0)}
    baseline = baselines([arm("a"), arm("b")])
    assert list(baseline.levels) == ["uniform"]
    assert "collapsed" in baseline.missing


def test_runs_of_different_sizes_share_no_line(known: dict[str, tuple[float, float]], baselines: Ask) -> None:
    known |= {"a": (0.3, 7.0), "b": (0.4, 7.0)}
    baseline = baselines([arm("a"), arm("b", top_k=1)])
    assert baseline.levels == {}
    assert sentence("references.different_models") in baseline.missing


def test_a_run_without_known_balance_gives_no_line_before_one_with(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"new": (float("nan"), 7.0), "old": (0.9, 7.0)}
    baseline = baselines([arm("new"), arm("old")])
    assert baseline.levels["resampled"] == (0.9, 0.9)


def test_a_mean_over_seeds_is_held_against_the_mean_of_the_seeds_own_lines(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"s0": (0.4, 7.0), "s1": (0.8, 7.0)}
    runs = tuple(run_from_row({**ROW, "run_id": f"s{seed}", "seed": seed}) for seed in (0, 1))
    baseline = baselines([Arm(token="both", label="both", runs=runs)])
    assert baseline.levels["resampled"] == pytest.approx((0.6, 0.6))
    assert baseline.held_out == pytest.approx((0.1, 0.2))


def test_steps_of_another_number_of_counted_tokens_share_no_line(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"a": (0.3, 7.0), "larger": (0.4, 7.0)}
    assert baselines([arm("a"), arm("larger", tokens_per_step=128)]).missing == sentence(
        "references.different_tokens", range="64 to 128"
    )
    dropping = baselines([arm("a"), arm("larger")]).missing
    assert dropping.endswith(sentence("references.different_tokens_dropped", range="64 to 128"))


def test_a_batch_that_grows_has_a_line_that_falls(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"level": (0.3, 7.0), "growing": (0.2, 7.0)}
    assert baselines([arm("level")]).curve is None
    curve = baselines([arm("level"), arm("growing")]).curve
    assert curve is not None
    assert curve["uniform_mean"].to_list() == [1 / 8, 1 / 64]


def test_only_the_statements_of_the_arm_that_gives_the_lines_are_kept(store: FakeStore) -> None:
    store.metrics |= {"even": (0.4, 7.0), "uneven": (3.0, 7.0)}
    trace = Trace(store)
    random_baselines(trace, ArmSet.of([arm("uneven"), arm("even")]))
    queried = {(statement.sql, statement.params["runs"].run_id) for statement in trace.statements}
    assert queried == {("references", "even"), ("uniform_series", "even")}


def test_lines_are_those_of_a_run_that_has_some_and_the_note_says_whose(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"top_p": (0.1, 7.0), "aux": (0.4, 7.5), "none": (3.0, 7.0)}
    arms = [arm("top_p"), arm("none"), arm("aux")]
    labels = {name: f"the {name}" for name in ("top_p", "aux", "none")}
    baseline = baselines(arms)
    assert baseline.levels["resampled"] == (0.4, 0.4)
    assert baseline.arm == "aux"
    assert lines_note(baseline, labels) == sentence("references.lines_for", arm="the aux")
    assert line_note(baseline, labels) == sentence("references.one_line_for", arm="the aux")
    shared = baselines(arms[1:])
    assert line_note(shared, labels) == sentence("references.one_line")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, sentence("references.varying_experts")),
        ({"top_k": None}, sentence("references.experts_not_recorded")),
        ({"num_moe_layers": 0}, sentence("references.no_experts")),
    ],
)
def test_where_no_line_is_drawn_no_note_speaks_of_one(
    known: dict[str, tuple[float, float]], baselines: Ask, changes: dict[str, object], reason: str
) -> None:
    known |= {"top_p": (0.1, 7.0)}
    baseline = baselines([arm("top_p", **changes)])
    assert not baseline.has_line
    for note in (lines_note(baseline, {}), line_note(baseline, {})):
        assert note == sentence("references.none_because", why=reason)


def test_expert_choice_is_even_by_construction_and_gives_lines_only_alone(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"even": (0.0, 8.0), "aux": (0.4, 7.5)}
    even = arm("even", balancer_family="expert_choice")
    assert baselines([even, arm("aux")]).arm == "aux"
    assert baselines([even]).arm == "even"


def test_a_collapsed_run_says_which_line_is_left_out(
    known: dict[str, tuple[float, float]], baselines: Ask
) -> None:
    known |= {"a": (6.0, 2.0)}
    assert lines_note(baselines([arm("a")]), {"a": "a"}) == sentence("references.collapsed")


def test_whole_sequences_are_not_simulated_for_a_picture_without_their_line() -> None:
    store = FakeStore()
    store.metrics = {"collapsed": (3.0, 2.0)}
    of = ArmSet.of([arm("collapsed")])
    resampled: list[bool] = []

    class Recorder(FakeStore):
        def answer(self, query: Callable[..., Any], *args: Any, **settings: Any) -> Answer[Any]:
            if query is balance.references:
                resampled.append(settings.get("resampled", True))
            return store.answer(query, *args, **settings)

    both = random_baselines(Trace(Recorder()), of)
    assert any(resampled)
    resampled.clear()
    independent = random_baselines(Trace(Recorder()), of, of_sequences=False)
    assert set(resampled) == {False}
    assert independent.levels["uniform"] == both.levels["uniform"]
    assert both.missing
    assert not independent.missing, "a line that nobody asked for is not missed"
