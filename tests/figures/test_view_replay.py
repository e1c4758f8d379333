"""The Replay page without a browser: its address, its panels and its film."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from sentences import sentence
from store_runs import write_run

from explorer.charts import loads as bar_charts
from explorer.export import films
from explorer.figures import at_step, expert_order, loads
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, run_from_row
from explorer.figures.panel import Missing, Panel
from explorer.figures.settings import ExpertOrder, OneStep
from explorer.figures.store import OpenStore
from explorer.figures.views import replay
from explorer.queries.runs import list_runs
from explorer.store import Index

STEPS = 40


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStore, list[Run], np.ndarray]]:
    """A store, its runs (with a bias and without one), and the loads [S, L, E] of the run with a bias."""
    folder = tmp_path_factory.mktemp("runs")
    counts = write_run(folder, "biased", steps=STEPS, balancer="loss_free", balancer_family="loss_free")
    write_run(folder, "plain", steps=STEPS, seed=1, bias=False, balancer="none", balancer_family="none")
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        yield OpenStore(index), runs, counts


def named(runs: list[Run], run_id: str) -> Run:
    return next(run for run in runs if run.run_id == run_id)


def test_an_address_opens_the_panels_of_its_step(opened: tuple[OpenStore, list[Run], np.ndarray]) -> None:
    store, runs, counts = opened
    query = {"run": ["biased"], "layer": ["1"], "step": ["7"], "expert": ["2"], "sort": ["bias"]}
    view = replay.open_view(store, runs, query)
    assert view.notices == ()
    assert view.query == query
    assert view.playhead == 7.0
    panels = {question.key: question.answer(store) for question in view.questions}
    keys = ["replay-heatmap", "replay_loads", "replay_biases", "replay_loss", "replay_domains"]
    assert list(panels) == keys
    assert all(isinstance(panel, Panel) and panel.statements for panel in panels.values())
    bars, heatmap = panels["replay_loads"], panels["replay-heatmap"]
    assert isinstance(bars, Panel)
    assert isinstance(heatmap, Panel)
    assert bars.table is not None
    assert bars.table["tokens"].to_list() == counts[7, 1].tolist()
    assert bars.key == "replay-loads"
    assert heatmap.playhead == 7.0
    assert sentence("captions.expert_receives", expert=counts[7, 1].argmax()) in heatmap.finding


def test_defaults_are_the_first_loss_free_run_and_its_last_step(
    opened: tuple[OpenStore, list[Run], np.ndarray],
) -> None:
    store, runs, _ = opened
    view = replay.open_view(store, runs, {})
    assert view.query == {
        "run": ["biased"],
        "layer": ["0"],
        "step": [str(STEPS - 1)],
        "expert": ["all"],
        "sort": ["index"],
    }


def test_every_wrong_value_has_its_notice(opened: tuple[OpenStore, list[Run], np.ndarray]) -> None:
    store, runs, _ = opened
    wrong = {"run": ["gone"], "layer": ["9"], "step": ["40"], "expert": ["4"], "sort": ["size"]}
    view = replay.open_view(store, runs, wrong)
    assert [notice.split(";")[0] for notice in view.notices] == [
        sentence("links.asks_for", name="run", value="gone"),
        sentence("links.asks_for", name="layer", value=9),
        sentence("links.asks_for", name="expert", value=4),
        sentence("links.asks_for", name="step", value=40),
        sentence("links.asks_for", name="sort", value="size"),
    ]
    unsorted = replay.open_view(store, runs, {"run": ["plain"], "sort": ["bias"]})
    assert unsorted.notices == (
        sentence("links.asks_for_choose", name="sort", value="bias", choices="index, final load, mean load"),
    )
    assert not replay.open_view(store, [], {}).questions


def test_bars_of_every_step_equal_a_chart_made_for_it(
    opened: tuple[OpenStore, list[Run], np.ndarray],
) -> None:
    """The chart is built once and gets the rows of each step."""
    store, runs, _ = opened
    arms = ArmSet.of_runs([named(runs, "biased")])
    order = ExpertOrder(sort="bias", experts=(3, 1, 0, 2))
    for step in (0, 17):
        panel = loads.bars(store, arms, OneStep(layer=1, step=step, order=order))
        assert panel.table is not None
        figure = bar_charts.load_bars(
            panel.table, order=order.experts, order_words=", by bias", scope="biased/1"
        )
        fresh = loads.specs.make(figure)
        data = [part for part in panel.spec.datasets.values() if part.height > 1]
        fresh_data = [part for part in fresh.datasets.values() if part.height > 1]
        assert data[0].sort("expert")["load_ratio"].to_list() == fresh_data[0]["load_ratio"].to_list()
        tooltips = [layer["encoding"].get("tooltip") for layer in panel.spec.vega["layer"]]
        assert tooltips == [layer["encoding"].get("tooltip") for layer in fresh.vega["layer"]]
        assert panel.spec.vega["layer"][0]["encoding"]["x"] == fresh.vega["layer"][0]["encoding"]["x"]


def test_another_step_builds_no_chart(opened: tuple[OpenStore, list[Run], np.ndarray]) -> None:
    store, runs, _ = opened
    arms = ArmSet.of_runs([named(runs, "biased")])
    first = loads.bars(store, arms, OneStep(layer=0, step=3))
    built = loads._bar_chart.cache_info().misses
    second = loads.bars(store, arms, OneStep(layer=0, step=4))
    assert loads._bar_chart.cache_info().misses == built
    assert first.spec.vega is second.spec.vega
    assert first.subject == second.subject, "the description of a chart that follows the playhead stays"
    assert first.table is not None
    assert not first.table.equals(second.table)


def test_orders_are_by_the_values_that_they_name(opened: tuple[OpenStore, list[Run], np.ndarray]) -> None:
    store, runs, counts = opened
    run = named(runs, "biased")
    assert expert_order.order_of(store, run, 1, "index") is None
    mean = expert_order.order_of(store, run, 1, "mean load")
    assert mean == ExpertOrder(
        sort="mean load", experts=tuple(np.argsort(-counts[:, 1].sum(0), kind="stable"))
    )
    last = expert_order.order_of(store, run, 1, "bias")
    bars = loads.bars(store, ArmSet.of_runs([run]), OneStep(layer=1, step=STEPS - 1)).table
    assert last is not None
    assert bars is not None
    assert list(last.experts) == bars.sort("expert_bias", descending=True)["expert"].to_list()


def test_sentences_say_what_a_run_without_biases_has(
    opened: tuple[OpenStore, list[Run], np.ndarray],
) -> None:
    store, runs, _ = opened
    plain = at_step.sentences(store, named(runs, "plain"), 0, 5)
    assert len(plain) == 2
    assert plain[1] == sentence("replay.story_so_far", step=5, tokens=384, loss="1.83")
    biased = at_step.sentences(store, named(runs, "biased"), 0, 5)
    assert len(biased) == 3
    bars = loads.bars(store, ArmSet.of_runs([named(runs, "biased")]), OneStep(layer=0, step=5)).table
    assert bars is not None
    ranked = bars.sort("expert_bias").rows(named=True)
    low, high = ranked[0], ranked[-1]
    named_experts = [int(number) for number in re.findall(r"expert (\d+)", biased[1])]
    assert named_experts == [high["expert"], low["expert"]], "the highest first, then the lowest"
    values = re.findall(r"\(([+−][\d.]+)\)", biased[1])
    assert values == [f"{one['expert_bias']:+.3f}".replace("-", "−") for one in (high, low)]


def test_an_address_may_ask_for_every_step_and_no_other(
    opened: tuple[OpenStore, list[Run], np.ndarray],
) -> None:
    store, runs, _ = opened
    for step, is_there in ((0, True), (STEPS - 1, True), (STEPS, False), (-1, False)):
        view = replay.open_view(store, runs, {"run": ["biased"], "step": [str(step)]})
        assert (view.notices == ()) == is_there, step
        assert view.query["step"] == [str(step if is_there else STEPS - 1)]


def test_the_film_shows_every_recorded_step(opened: tuple[OpenStore, list[Run], np.ndarray]) -> None:
    store, runs, counts = opened
    film = films.of_layer(store, named(runs, "biased"), 1, key="replay-heatmap")
    assert film.tokens.tolist() == counts[:, 1].tolist()
    assert film.steps.tolist() == list(range(STEPS))
    assert film.subtitle == sentence("captions.layer_title", layer=1, layers=2)


def test_a_run_without_evaluations_has_no_panel_by_domain(
    opened: tuple[OpenStore, list[Run], np.ndarray],
) -> None:
    store, runs, _ = opened
    run = named(runs, "biased")
    settings = replay.ReplaySettings(layer=7, step=0)
    answer = replay.questions(run, settings, None).domains.answer(store)
    assert isinstance(answer, Missing)
