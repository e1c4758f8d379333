"""The Serving view: every number of its panels against a slow reference, and what its address says."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import altair as alt
import numpy as np
import pytest
from eplb_example import EXAMPLE, PUBLISHED
from probe_runs import probe_info, probe_record, rule_biases, write_probe_run
from sentences import sentence
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.figures.arms import Run, run_from_row
from explorer.figures.load_kind import KindOfLoads
from explorer.figures.panel import Missing, Panel
from explorer.figures.serving.windows import (
    WindowPair,
    has_counts,
    pair_of,
    phase_of,
    windows,
)
from explorer.figures.store import OpenStore, Trace
from explorer.figures.views import serving as view
from explorer.figures.views import serving_choices as choices
from explorer.queries.runs import list_runs
from explorer.recording.run_writer import RunWriter
from explorer.routing import placement
from explorer.store import Index

STEPS, EXPERTS, LAYERS = 40, 8, 2
KEYS = (
    "serving_verdict",
    "serving_windows",
    "serving_coverage",
    "serving_persistence",
    "serving_popularity",
    "serving_levels",
    "serving_contiguous",
    "serving_planned",
)
BATCH_KEYS = ("serving_distinct", "serving_latency", "serving_divergence", "serving_balance")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStore, list[Run]]]:
    """Two runs of one shape, one of another, and one with a probe."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("one", "two")):
        write_run(folder, name, steps=STEPS, layers=LAYERS, experts=EXPERTS, seed=seed)
    write_run(folder, "narrow", steps=STEPS, layers=LAYERS, experts=4)
    write_probe_run(folder, "probed")
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        yield OpenStore(index), runs


def answers(opened: tuple[OpenStore, list[Run]], **query: object) -> dict[str, Panel]:
    """Key -> panel for an address without mistakes."""
    store, runs = opened
    shown = view.open_view(store, runs, {key: [str(value)] for key, value in query.items()})
    assert shown.notices == ()
    panels = {question.key: question.answer(store) for question in shown.questions}
    for panel in panels.values():
        assert isinstance(panel, Panel)
        assert panel.statements
        alt.LayerChart.from_dict(panel.spec.vega, validate=True)
    return panels  # type: ignore[return-value]


def counts_of(seed: int = 0) -> np.ndarray:
    return random_counts(STEPS, LAYERS, EXPERTS, seed)


def test_an_address_opens_every_panel_and_says_itself_again(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    query = {"run": ["one"], "layer": ["1"], "plan": ["2"], "judge": ["held-out"]}
    shown = view.open_view(store, runs, query)
    assert tuple(question.key for question in shown.questions) == KEYS
    again = view.open_view(store, runs, shown.query)
    assert again.notices == ()
    assert again.query == shown.query
    assert [q.cache_key for q in again.questions] == [q.cache_key for q in shown.questions]


def test_windows_are_consecutive_steps_and_held_out_texts(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    run = next(run for run in runs if run.run_id == "one")
    loads_by_window = windows(Trace(store), run, 3)
    assert list(loads_by_window) == ["1", "2", "3", "held-out", "held-out austen", "held-out python"]
    assert [loads_by_window[key].label for key in "123"] == ["steps 0–13", "steps 14–26", "steps 27–39"]
    assert loads_by_window["2"].tokens.tolist() == counts_of()[14:27].tolist()
    both = loads_by_window["held-out austen"].counts + loads_by_window["held-out python"].counts
    assert loads_by_window["held-out"].counts.tolist() == both.tolist()


def test_coverage_persistence_and_strips(opened: tuple[OpenStore, list[Run]]) -> None:
    panels = answers(opened, run="one", layer=1, windows=4, plan=3, judge=4, hot=2)
    parts = [part.sum(0) for part in np.split(counts_of(), 4)]
    table = panels["serving_coverage"].table
    assert table is not None
    for row in table.to_dicts():
        loads = sorted(parts[2][row["layer"]].tolist(), reverse=True)
        assert row["share_of_load"] == pytest.approx(sum(loads[: row["number"]]) / sum(loads))
    overlap = panels["serving_persistence"].table
    assert overlap is not None
    for layer in range(LAYERS):
        tops = [set(sorted(range(EXPERTS), key=lambda e: (-part[layer][e], e))[:2]) for part in parts]
        shared = [len(a & b) / 2 for a, b in pairwise(tops)]
        row = overlap.row(layer, named=True)
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(
            (sum(shared) / 3, min(shared), max(shared))
        )
    strips = panels["serving_windows"].table
    assert strips is not None
    first = strips.filter(window="A: steps 20–29").sort("rank")
    assert first["tokens"].to_list() == sorted(parts[2][1].tolist(), reverse=True)
    judge = strips.filter(window="B: steps 30–39").sort("rank")
    assert judge["expert"].to_list() == first["expert"].to_list()
    assert dict(zip(judge["expert"], judge["tokens"], strict=True)) == dict(enumerate(parts[3][1].tolist()))


def slow_gpu_loads(slots: list[int], counts: list[int], gpus: int) -> list[float]:
    size = len(slots) // gpus
    return [sum(counts[e] / slots.count(e) for e in slots[g * size : (g + 1) * size]) for g in range(gpus)]


def test_levels_slots_and_modelled_time(opened: tuple[OpenStore, list[Run]]) -> None:
    panels = answers(opened, run="one", layer=1, windows=2, plan=1, judge=2, gpus=4, nodes=2, copies=1)
    first, second = np.split(counts_of(), 2)
    plan = first.sum(0)
    levels = panels["serving_levels"].table
    assert levels is not None
    for row in levels.to_dicts():
        number = {"expert": EXPERTS, "GPU": 4, "node": 2}[row["level"]]
        parts = [sum(part) for part in np.split(plan[row["layer"]], number)]
        assert row["ratio"] == pytest.approx(max(parts) * number / sum(parts))
    slots = placement.plan(plan, slots=12, gpus=4).tolist()
    times = panels["serving_verdict"].table
    assert times is not None
    for layer, row in enumerate(times.to_dicts()):
        batches = second[:, layer].tolist()
        for name, layout in (("before", list(range(EXPERTS))), ("after", slots[layer])):
            longest = sum(max(slow_gpu_loads(layout, counts, 4)) for counts in batches)
            assert row[name] == pytest.approx(longest / (second[:, layer].sum() / 4))
        assert row["hindsight"] >= 1
    assert panels["serving_planned"].finding.startswith("Layer 1, ")
    by_gpu = panels["serving_planned"].table
    assert by_gpu is not None
    expected = slow_gpu_loads(slots[1], second[:, 1].sum(0).tolist(), 4)
    mean = sum(expected) / 4
    for gpu in range(4):
        part = by_gpu.filter(gpu=gpu)
        assert part["load"].sum() == pytest.approx(expected[gpu] / mean)
        assert part["upper"].max() == pytest.approx(expected[gpu] / mean)
        assert set(part["node"]) == {gpu // 2}
        assert sorted(part["expert"]) == sorted(slots[1][3 * gpu : 3 * gpu + 3])


def test_another_run_judges(opened: tuple[OpenStore, list[Run]]) -> None:
    panels = answers(opened, run="one", judged="two", windows=2, plan=2, judge=1, gpus=4, copies=0)
    plan, judge = counts_of(0)[20:].sum(0), counts_of(1)[:20]
    slots = placement.plan(plan, slots=EXPERTS, gpus=4)
    shares = placement.gpu_shares(slots, EXPERTS, 4)
    expected = placement.time_over_balanced(placement.gpu_loads(shares, judge))
    verdict = panels["serving_verdict"]
    assert verdict.table is not None
    assert verdict.table["after"].to_list() == pytest.approx(expected.tolist())
    assert f"× the mean, averaged over {len(expected)} layers. That " in verdict.finding
    plan_name, judge_name = "no balancing, seed 0, steps 20–39", "no balancing, seed 1, steps 0–19"
    assert sentence("serving.planned_and_judged", plan=plan_name, judge=judge_name) in verdict.finding
    assert sentence("serving.memory", copies="0 extra expert copies", share="0.0 %") in verdict.finding


def test_a_window_that_contains_the_judge_decides_nothing(opened: tuple[OpenStore, list[Run]]) -> None:
    """All held-out texts plan and one of them judges: the plan has seen its loads."""
    panels = answers(opened, run="one", plan="held-out", judge="held-out austen")
    assert panels["serving_verdict"].finding.startswith("Too little evidence")
    assert sentence("serving.seen") in panels["serving_verdict"].finding
    other = answers(opened, run="one", plan=1, judge="held-out austen")["serving_verdict"].finding
    assert sentence("serving.seen") not in other
    assert sentence("serving.one_count") in other
    steps = answers(opened, run="one", plan=1, judge=2)["serving_verdict"].finding
    assert sentence("serving.one_count") not in steps


def test_two_runs_of_one_name_are_told_apart_by_their_ids(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    pair = [replace(run, name="same") for name in ("one", "two") for run in runs if run.run_id == name]
    plan, judge = pair_of(Trace(store), pair, WindowPair(number=2, plan="1", judge="2"))
    assert (plan.label, judge.label) == ("one, steps 0–19", "two, steps 20–39")


def test_shares_decide_nothing(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    unit = '{"import": {"unit": "shares × 1,000,000", "phase": "decode"}}'
    run = replace(next(run for run in runs if run.run_id == "one"), config=unit)
    assert (has_counts(run), phase_of(run)) == (False, "decode")
    shown = view.open_view(store, [run], {})
    verdict = shown.questions[0].answer(store)
    assert isinstance(verdict, Panel)
    assert verdict.finding.startswith("Too little evidence")
    assert sentence("serving.shares") in verdict.finding


def test_a_run_of_another_shape_cannot_judge(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    shown = view.open_view(store, runs, {"run": ["one"], "judged": ["narrow"]})
    assert len(shown.notices) == 1
    assert shown.query["judged"] == ("one",)


def test_every_wrong_value_has_its_notice(opened: tuple[OpenStore, list[Run]]) -> None:
    store, runs = opened
    wrong = {"layer": "9", "windows": "5", "hot": "3", "plan": "held-out python", "judge": "1"}
    wrong |= {"gpus": "3", "nodes": "5", "copies": "9", "placement": "best", "groups": "3", "least": "4%"}
    wrong |= {
        "probe": "1",
        "batches": "all",
        "k0": "5",
        "keep": "33%",
        "alpha": "3",
        "beta": "3",
        "cost": "1",
    }
    shown = view.open_view(store, runs, {"run": ["probed"], **{key: [value] for key, value in wrong.items()}})
    for key, value in wrong.items():
        assert [n for n in shown.notices if f"{key} = {value}" in n], key
    assert len(shown.notices) == len(wrong)
    assert all(isinstance(question.answer(store), Panel) for question in shown.questions)


def test_without_a_usable_run_the_view_says_so() -> None:
    class NoStore:
        def answer(self, *args: object, **settings: object) -> object:
            raise AssertionError("nothing is asked")

    shown = view.open_view(NoStore(), [], {})  # type: ignore[arg-type]
    assert (shown.questions, shown.notices) == ((), (view.NO_RUN,))


@pytest.mark.parametrize("experts", [2, 7, 12, 60, 256])
def test_every_offered_layout_can_be_planned(opened: tuple[OpenStore, list[Run]], experts: int) -> None:
    run = replace(opened[1][0], num_experts=experts)
    options = choices.Options(run=run, plan_keys=("1", "2"), judge_keys=("1", "2"), is_same_run=True)
    loads = np.random.default_rng(0).integers(1, 99, (1, experts))
    for gpus in options.of(choices.GPUS, {}):
        for nodes in options.of(choices.NODES, {"gpus": gpus}):
            offered = options.of(choices.GROUPS, {"gpus": gpus, "nodes": nodes})
            for groups in {offered[0], offered[-1]}:
                sizes = {"gpus": int(gpus), "nodes": int(nodes), "groups": int(groups)}
                slots = (-(-experts // int(gpus)) + 1) * int(gpus)
                if options.of(choices.PLACEMENT, {"nodes": nodes}) == ("global",):
                    assert experts % int(nodes)
                    continue
                planned = placement.plan(loads, slots=slots, **sizes, policy="hierarchical")
                assert planned.shape == (1, slots)
    default = choices.default_gpus(experts)
    assert str(default) in options.of(choices.GPUS, {})
    assert default % choices.default_nodes(default) == 0


def test_the_published_example_of_eplb_on_the_page(tmp_path: Path) -> None:
    """12 experts on 8 GPUs of 2 nodes: GPUs that do not divide the experts, filled up with 4 copies."""
    with RunWriter.create(tmp_path / "runs", make_info(experts=12, num_steps=2)) as recorder:
        record_steps(recorder, np.array([EXAMPLE] * 2), range(2), np.zeros((2, 2, 12)))
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        layout = {"gpus": 8, "nodes": 2, "groups": 4, "copies": 0, "placement": "hierarchical"}
        for layer in range(2):
            panels = answers((OpenStore(index), runs), windows=2, layer=layer, **layout)
            table = panels["serving_planned"].table
            assert table is not None
            experts_by_gpu = [sorted(table.filter(gpu=gpu)["expert"]) for gpu in range(8)]
            assert experts_by_gpu == [sorted(PUBLISHED[layer][2 * gpu : 2 * gpu + 2]) for gpu in range(8)]
            assert table["node"].to_list() == [gpu // 4 for gpu in table["gpu"]]
            levels = panels["serving_levels"].table
            assert levels is not None
            before = slow_gpu_loads([*range(12), *range(4)], EXAMPLE[layer], 8)
            ratio = levels.filter(level="GPU", layer=layer)["ratio"].item()
            assert ratio == pytest.approx(max(before) * 8 / sum(before))


@pytest.mark.parametrize(
    ("judges", "is_same_run", "expected"),
    [
        (("1", "2", "held-out", "held-out english", "held-out python"), True, "held-out python"),
        (("1", "2", "held-out", "held-out english", "held-out python"), False, "2"),
        (("1", "2", "held-out"), True, "2"),
        (("held-out",), True, "held-out"),
    ],
)
def test_one_kind_of_text_judges_unless_another_choice_is_made(
    opened: tuple[OpenStore, list[Run]], judges: tuple[str, ...], is_same_run: bool, expected: str
) -> None:
    options = choices.Options(run=opened[1][0], plan_keys=judges, judge_keys=judges, is_same_run=is_same_run)
    assert options.with_default(choices.JUDGE).default == expected


def test_batch_panels_follow_from_the_recorded_logits(opened: tuple[OpenStore, list[Run]]) -> None:
    panels = answers(opened, run="probed", layer=1, probe=12, batches="consecutive", k0=1)
    assert tuple(key for key in panels if key in BATCH_KEYS) == BATCH_KEYS
    table = panels["serving_distinct"].table
    assert table is not None
    bias = rule_biases(random_counts(25, 2, 8))[12]
    record = probe_record(12, bias, 2, 8, 2)
    scores = 1 / (1 + np.exp(-record.router_logits_PLE[:, 1].astype(float)))
    compared = scores + bias[1]
    for size in (1, 4, 16):
        starts = range(0, len(scores) - size + 1, size)
        for k in (1, 2, 3, 4):
            used, weights = [], []
            for start in starts:
                rows = range(start, start + size)
                selected = [sorted(range(8), key=lambda e, t=t: -compared[t][e])[:k] for t in rows]
                used.append(len({e for row in selected for e in row}))
                full = [sorted(range(8), key=lambda e, t=t: -compared[t][e])[:2] for t in rows]
                weights += [
                    slow_divergence(scores[t], a, b) for t, a, b in zip(rows, selected, full, strict=True)
                ]
            name = "full routing, k = 2" if k == 2 else f"static k = {k}"
            row = table.filter(policy=name, batch=size).row(0, named=True)
            assert row["num_batches"] == len(starts)
            assert row["distinct"] == pytest.approx(sum(used) / len(used))
            assert row["latency"] == pytest.approx(sum(used) / len(used) + 0.005 * size * k)
            assert row["divergence"] == pytest.approx(sum(weights) / len(weights), abs=1e-6)


def slow_divergence(scores: np.ndarray, first: list[int], second: list[int]) -> float:
    def mixture(experts: list[int]) -> list[float]:
        total = sum(scores[e] for e in experts)
        return [scores[e] / total if e in experts else 0.0 for e in range(len(scores))]

    p, q = mixture(first), mixture(second)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    parts = [sum(a * math.log(a / m) for a, m in zip(x, middle, strict=True) if a) for x in (p, q)]
    return sum(parts) / 2


def test_a_router_that_is_not_asked_by_score_has_no_batch_panels(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("hash")
    write_probe_run(folder, "hashed", bias=False, **probe_info("none", routing="hash"))
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        store = OpenStore(index)
        shown = view.open_view(store, runs, {})
        results = [q.answer(store) for q in shown.questions if q.key in BATCH_KEYS]
    assert results
    assert all(isinstance(result, Missing) for result in results)


def test_the_page_opens_on_a_trace_of_service_and_not_on_any_import(
    opened: tuple[OpenStore, list[Run]],
) -> None:
    _, runs = opened
    ours = next(run for run in runs if run.run_id == "one")
    imported = {
        phase: replace(ours, run_id=phase, is_imported=True, kind_of_loads=KindOfLoads(phase=phase))
        for phase in ("unknown", "decode")
    }
    assert choices.first_run([imported["unknown"], imported["decode"], ours]).run_id == "decode"
    assert choices.first_run([imported["unknown"], replace(ours, family="loss_free")]).run_id == "one"
