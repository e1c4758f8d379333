"""Figures of a layer with 1,024 experts: the busiest alone, the rest together."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.charts import rank_bars, rank_heatmap
from explorer.figures import biases, domains, loads, many_experts
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, run_from_row
from explorer.figures.panel import Panel
from explorer.figures.settings import OneExpert, OneLayer, OneStep
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs
from explorer.recording.run_writer import RunWriter
from explorer.store import Index

EXPERTS, STEPS = 1024, 6
MOST_ROWS = 128


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStore, Run, np.ndarray]]:
    folder = tmp_path_factory.mktemp("runs")
    rule = {"balancer": "loss_free", "balancer_family": "loss_free"}
    counts = write_run(folder, "many", steps=STEPS, layers=4, experts=EXPERTS, **rule)
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            (run,) = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        yield OpenStore(index), run, counts


def panel_of(answer: object) -> Panel:
    assert isinstance(answer, Panel)
    return answer


def rows_drawn(panel: Panel) -> int:
    return sum(part.height for part in panel.spec.datasets.values())


def test_no_chart_grows_with_the_number_of_experts(
    opened: tuple[OpenStore, Run, np.ndarray],
) -> None:
    store, run, _ = opened
    arms, layer = ArmSet.of_runs([run]), OneLayer(layer=3)
    heatmap = panel_of(loads.heatmap(store, arms, layer))
    assert heatmap.table is not None
    assert heatmap.table.height <= rows_drawn(heatmap) <= MOST_ROWS * STEPS
    assert len(rank_heatmap.names(heatmap.table)) == 64
    bars = panel_of(loads.bars(store, arms, OneStep(layer=3, step=2)))
    assert rows_drawn(bars) < rank_bars.ALONE + rank_bars.POINTS + 20
    lines = panel_of(biases.trajectories(store, arms, layer))
    assert lines.table is not None
    assert lines.table["expert"].n_unique() == 8
    for panel in (heatmap, bars, lines):
        assert panel.statements


def test_findings_are_those_of_all_experts(opened: tuple[OpenStore, Run, np.ndarray]) -> None:
    store, run, counts = opened
    arms = ArmSet.of_runs([run])
    here = counts[4, 1]
    for panel in (
        loads.heatmap_at(store, arms, OneStep(layer=1, step=4)),
        loads.bars(store, arms, OneStep(layer=1, step=4)),
    ):
        finding = panel_of(panel).finding
        assert f"{(here == 0).sum()} of {EXPERTS}" in finding
        assert any(f"expert {expert} " in finding for expert in np.flatnonzero(here == here.max()))
    sentence = loads.busiest_experts(store, arms, OneLayer(layer=1))
    assert f"{(counts[-1, 1] == 0).sum()} of {EXPERTS} experts idle" in sentence


def test_bars_are_the_busiest_and_the_curve_the_others(
    opened: tuple[OpenStore, Run, np.ndarray],
) -> None:
    store, run, counts = opened
    panel = panel_of(loads.bars(store, ArmSet.of_runs([run]), OneStep(layer=0, step=5)))
    assert panel.table is not None
    falling = np.sort(counts[5, 0])[::-1]
    bars, curve = rank_bars.bars(panel.table), rank_bars.curve(panel.table)
    assert bars["tokens"].to_list() == falling[: rank_bars.ALONE].tolist()
    assert (curve["rank"][0], curve["rank"][-1]) == (rank_bars.ALONE + 1, EXPERTS)
    wanted = falling[curve["rank"].to_numpy() - 1] * EXPERTS / falling.sum()
    np.testing.assert_allclose(curve["curve_ratio"].to_numpy(), wanted)
    assert (curve["at"][0], curve["at"][-1]) == pytest.approx((rank_bars.ALONE, 2 * rank_bars.ALONE))
    drawn = [part for part in panel.spec.datasets.values() if set(part.columns) == set(curve.columns)]
    assert [part.equals(curve) for part in drawn] == [True]


def test_another_step_exchanges_rows_only(opened: tuple[OpenStore, Run, np.ndarray]) -> None:
    store, run, _ = opened
    arms = ArmSet.of_runs([run])
    first, second = (panel_of(loads.bars(store, arms, OneStep(layer=layer, step=layer))) for layer in (0, 1))
    assert first.spec.vega is second.spec.vega


def test_a_selected_expert_has_its_trajectory(opened: tuple[OpenStore, Run, np.ndarray]) -> None:
    store, run, _ = opened
    arms = ArmSet.of_runs([run])
    without = biases.trajectories_at_playhead(store, arms, OneExpert(layer=0)).table
    assert without is not None
    expert = next(e for e in range(EXPERTS) if e not in without["expert"])
    table = biases.trajectories_at_playhead(store, arms, OneExpert(layer=0, expert=expert)).table
    assert table is not None
    assert expert in table["expert"]


def test_256_experts_have_a_row_each(opened: tuple[OpenStore, Run, np.ndarray]) -> None:
    _, run, _ = opened
    assert many_experts.is_many(run, 0)
    assert many_experts.MOST == 256


def test_the_player_has_few_rows_with_every_expert_once() -> None:
    experts = list(range(EXPERTS))[::-1]
    rows = many_experts.shared_rows(experts)
    assert len(rows) == 64
    assert rows[:2] == experts[:2]
    assert rows[-1] == experts[-31:]
    assert [one for row in rows for one in (row if isinstance(row, list) else [row])] == experts
    assert many_experts.shared_rows(experts[:5]) == experts[:5]


def test_very_many_experts_are_drawn_by_domain_where_they_specialise() -> None:
    frame = pl.DataFrame({"expert": range(EXPERTS), "load_ratio": [float(e % 97) for e in range(EXPERTS)]})
    drawn, note = domains.specialists(frame, EXPERTS)
    assert drawn.height == domains.SPECIALISTS
    assert drawn["load_ratio"].min() == frame["load_ratio"].sort(descending=True)[domains.SPECIALISTS - 1]
    assert "1,024" in note
    same, nothing = domains.specialists(frame.head(16), 16)
    assert (same.height, nothing) == (16, "")


def test_of_equal_biases_finding_and_bold_lines_name_the_same_experts(tmp_path: Path) -> None:
    counts = random_counts(STEPS, 1, EXPERTS)
    # As the sign update leaves them: few values, each shared by many experts.
    bias_SLE = np.random.default_rng(0).integers(-3, 4, size=counts.shape) * 0.001
    info = make_info("ties", 1, EXPERTS, num_steps=STEPS, balancer="loss_free", balancer_family="loss_free")
    recorder = RunWriter.create(tmp_path, info)
    record_steps(recorder, counts, range(STEPS), bias_SLE)
    recorder.finish("finished")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            (run,) = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        panel = panel_of(biases.trajectories(OpenStore(index), ArmSet.of_runs([run]), OneLayer(layer=0)))
    assert panel.table is not None
    highest, lowest = biases.extremes(panel.table)
    assert f"expert {highest} has the highest bias" in panel.finding
    assert f"expert {lowest} the lowest" in panel.finding
