"""The figures of the Microscope without a page: what an address opens, and what a click leaves as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_runs import write_runs_to_compare
from sentences import sentence

from explorer.charts import microscope as charts
from explorer.figures import probe
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel, Question
from explorer.figures.probe import ProbeExpert, ProbeToken
from explorer.figures.probe_batch import routed_batch, token_table
from explorer.figures.store import OpenStore, Trace
from explorer.figures.views import microscope
from explorer.store import Index


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStore]:
    base: Path = tmp_path_factory.mktemp("runs")
    write_runs_to_compare(base)
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base])
        yield OpenStore(index)


def run_of(runs: list[Run], run_id: str) -> Run:
    (run,) = (run for run in runs if run.run_id == run_id)
    return run


def panel(store: OpenStore, question: Question) -> Panel:
    answer = question.answer(store)
    assert isinstance(answer, Panel), answer
    return answer


def test_an_address_opens_the_panels_of_the_page_in_its_order(store: OpenStore, runs: list[Run]) -> None:
    query = {"run": ("free",), "probe": ("12",), "layer": ("1",), "token": ("9",), "expert": ("5",)}
    view = microscope.open_view(store, runs, {**query, "runs": ("free", "plain")})
    assert not view.notices
    assert [question.key for question in view.questions] == [
        *(
            f"microscope_{name}"
            for name in ("token", "texts", "domains", "company", "onward", "load", "bias")
        ),
        "figure_nine_free",
        "figure_nine_plain",
        "microscope_settling",
        *(f"microscope_replay_{name}" for name in ("imbalance", "biases", "loads", "swaps")),
        *(f"microscope_agreement_{name}" for name in ("layers", "tokens", "probes", "swaps", "loads")),
    ]
    # Sixteen tokens swap no expert when the bias is rounded, so the matrix of swaps says so instead.
    drawn = [question for question in view.questions if question.key != "microscope_agreement_swaps"]
    panels = {question.key: panel(store, question) for question in drawn}
    assert sentence("microscope.token", token=9) in panels["microscope_token"].finding
    assert "xpert 5 " in panels["microscope_texts"].finding
    assert panels["microscope_load"].playhead == 12
    assert all(panel.statements for panel in panels.values())
    again = microscope.open_view(store, runs, view.query)
    assert [question.cache_key for question in again.questions] == [q.cache_key for q in view.questions]


def test_an_empty_address_opens_a_biased_run_and_can_be_opened_again(
    store: OpenStore, runs: list[Run]
) -> None:
    view = microscope.open_view(store, runs, {})
    assert (view.query["run"], view.query["probe"], view.query["expert"]) == (("free",), ("12",), ("all",))
    again = microscope.open_view(store, runs, view.query)
    assert again.query == view.query
    assert not again.notices


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run", "without"),
        ("probe", "5"),
        ("layer", "9"),
        ("token", "16"),
        ("expert", "8"),
        ("colour", "blue"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_the_default_taken(
    store: OpenStore, runs: list[Run], key: str, value: str
) -> None:
    view = microscope.open_view(store, runs, {"runs": ("free",), key: (value,)})
    (notice,) = view.notices
    assert f"{key} = {value}" in notice
    assert view.query == microscope.open_view(store, runs, {"runs": ("free",)}).query


def test_without_a_probe_the_view_says_how_to_get_one(store: OpenStore, runs: list[Run]) -> None:
    view = microscope.open_view(store, [run_of(runs, "without")], {})
    assert not view.questions
    assert "training.probe_tokens" in view.notices[-1]


def test_another_token_or_expert_exchanges_rows_and_keeps_the_specification(
    store: OpenStore, runs: list[Run]
) -> None:
    arms = ArmSet.of_runs([run_of(runs, "free")])
    tokens = [
        probe.token_scores(store, arms, ProbeToken(step=12, layer=0, token=token, expert=token % 8))
        for token in range(4)
    ]
    assert len({id(one.spec.vega) for one in tokens if isinstance(one, Panel)}) == 1
    run, settings = (
        run_of(runs, "free"),
        microscope.MicroscopeSettings(run="free", probe=12, layer=0, token=0),
    )
    for first, other in zip(
        microscope.expert_questions(run, settings, 1),
        microscope.expert_questions(run, settings, 2),
        strict=True,
    ):
        one, two = panel(store, first), panel(store, other)
        assert one.spec.vega is two.spec.vega, first.key
        assert one.finding != two.finding


def test_the_chart_of_a_token_shows_its_own_rows(store: OpenStore, runs: list[Run]) -> None:
    run = run_of(runs, "free")
    batch = routed_batch(Trace(store), run, 12, 1)
    assert batch is not None
    for token in (0, 7):
        settings = ProbeToken(step=12, layer=1, token=token, expert=3)
        shown = probe.token_scores(store, ArmSet.of_runs([run]), settings)
        assert isinstance(shown, Panel)
        (rows,) = (rows for rows in shown.spec.datasets.values() if set(rows.columns) == set(charts.COLUMNS))
        table = token_table(batch, token)
        assert rows["score"].to_list() == table["score"].to_list()
        assert rows["state"].to_list() == table["state"].to_list()
        assert rows.filter("marked")["expert"].to_list() == [3]


def test_a_probe_that_was_not_recorded_is_missing(store: OpenStore, runs: list[Run]) -> None:
    answer = probe.expert_tokens(
        store, ArmSet.of_runs([run_of(runs, "free")]), ProbeExpert(step=5, layer=0, expert=0)
    )
    assert isinstance(answer, Missing)
    assert sentence("microscope.no_readable_probe", steps=5) in answer.reason
