"""Compare replays the probes of its runs as the Microscope replays each of them."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from answers import panel_of
from probe_runs import probe_info, write_probe_run, write_runs_to_compare
from sentences import sentence

from explorer.charts.captions import number
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Question
from explorer.figures.store import OpenStore
from explorer.figures.views import compare, microscope
from explorer.figures.views.view import Opener, OpenView
from explorer.store import Index

SETTINGS = {"layer": "1", "probe": "2", "what": "sign", "what_n": "10"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStore]:
    base: Path = tmp_path_factory.mktemp("runs")
    write_runs_to_compare(base)
    three = probe_info("none")
    three["config"]["model"]["top_k"] = 3
    write_probe_run(base, "three", top_k=3, **three)
    write_probe_run(base, "experts", bias=False, **probe_info("none", routing="expert_choice"))
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base])
        yield OpenStore(index)


def view(opener: Opener, store: OpenStore, known: list[Run], /, **query: str | list[str]) -> OpenView:
    return opener(store, known, {key: [v] if isinstance(v, str) else v for key, v in query.items()})


def replays(opened: OpenView) -> dict[str, Question]:
    return {q.key.partition("_replay_")[2]: q for q in opened.questions if "_replay_" in q.key}


def test_every_run_has_the_numbers_of_its_microscope(store: OpenStore, runs: list[Run]) -> None:
    together = replays(view(compare.open_view, store, runs, runs=["free", "plain"], **SETTINGS))
    assert list(together) == [
        "imbalance",
        *(f"{name}_{run}" for name in ("biases", "loads", "swaps") for run in ("free", "plain")),
    ]
    imbalance = panel_of(store, together["imbalance"])
    for run in ("free", "plain"):
        alone = replays(view(microscope.open_view, store, runs, run=run, **SETTINGS))
        for name in ("biases", "loads", "swaps"):
            one, other = panel_of(store, together[f"{name}_{run}"]), panel_of(store, alone[name])
            assert one.table is not None
            assert one.table.equals(other.table)
            assert one.subject != other.subject
        want = panel_of(store, alone["imbalance"]).table
        assert imbalance.table is not None
        assert want is not None
        mine = imbalance.table.filter(pl.col("run_id") == run)
        assert mine.select("update", "max_vio").equals(want)
        assert mine["max_vio"][0] == pytest.approx(mine["recorded"][0])
        last, before = number(mine["max_vio"][-1]), number(mine["recorded"][0])
        assert re.search(rf"[ ,:]{re.escape(last)} for [^,]*\({re.escape(before)}\)", imbalance.finding)
    assert "MaxVio after 10 updates" in imbalance.finding


def test_runs_of_another_k_are_replayed_with_their_own(store: OpenStore, runs: list[Run]) -> None:
    opened = view(compare.open_view, store, runs, runs=["free", "three"], **SETTINGS)
    assert not opened.notices
    loads = {name: panel_of(store, replays(opened)[f"loads_{name}"]).table for name in ("free", "three")}
    totals = {name: table["tokens"].sum() for name, table in loads.items() if table is not None}
    assert totals == {"free": 2 * 16 * 2, "three": 2 * 16 * 3}
    opened = view(compare.open_view, store, runs, runs=["free", "three"], what_K="1", **SETTINGS)
    assert opened.query["what_K"] == ("1",)
    table = panel_of(store, replays(opened)["loads_three"]).table
    assert table is not None
    assert table.filter(pl.col("routing") == "replayed")["tokens"].sum() == 16


def test_a_run_that_cannot_be_replayed_leaves_the_others(store: OpenStore, runs: list[Run]) -> None:
    both = replays(view(compare.open_view, store, runs, runs=["free", "experts"], **SETTINGS))
    table = panel_of(store, both["imbalance"]).table
    assert table is not None
    assert set(table["run_id"]) == {"free"}
    assert isinstance(both["biases_experts"].answer(store), Missing)
    alone = replays(view(compare.open_view, store, runs, runs=["experts"], **SETTINGS))
    assert isinstance(alone["imbalance"].answer(store), Missing)


def test_the_address_names_the_probe_and_what_differs_from_the_defaults(
    store: OpenStore, runs: list[Run]
) -> None:
    plain = view(compare.open_view, store, runs, runs=["free", "plain"])
    assert not [key for key in plain.query if key.startswith(("what", "probe"))]
    # The latest probe that steps with a bias follow, in the run that has one.
    assert replays(plain)["imbalance"].settings.step == 12
    changed = view(compare.open_view, store, runs, runs=["free", "plain"], **SETTINGS)
    assert (changed.query["probe"], changed.query["what"]) == (("2",), ("sign",))
    assert view(compare.open_view, store, runs, **changed.query).query == changed.query  # type: ignore[arg-type]
    wrong = view(compare.open_view, store, runs, runs=["free"], probe="3")
    assert sentence("counterfactual.probes") in wrong.notices[0]


def test_runs_without_a_probe_have_no_panels(store: OpenStore, runs: list[Run]) -> None:
    assert not replays(view(compare.open_view, store, runs, runs=["without"]))
