"""Counterfactual replay of a recorded probe: its numbers against loops over the recorded tokens."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from answers import panel_of
from probe_runs import probe_info, probe_record, rule_biases, write_probe_run
from reference import agreement as formats
from reference import counterfactual as slow
from store_runs import random_counts

from explorer.figures import counterfactual
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Question
from explorer.figures.store import OpenStore
from explorer.figures.views import microscope
from explorer.store import Index


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStore]:
    base: Path = tmp_path_factory.mktemp("runs")
    write_probe_run(base, "free", created_at="2026-11-22T10:00:03.000+00:00")
    write_probe_run(
        base, "plain", bias=False, created_at="2026-11-22T10:00:02.000+00:00", **probe_info("none")
    )
    chosen_by_experts = probe_info("none", routing="expert_choice")
    write_probe_run(base, "experts", bias=False, **chosen_by_experts)
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base])
        yield OpenStore(index)


def questions(store: OpenStore, runs: list[Run], **query: str) -> dict[str, Question]:
    view = microscope.open_view(store, runs, {key: (value,) for key, value in query.items()})
    assert not view.notices
    return {q.key.removeprefix("microscope_replay_"): q for q in view.questions if "replay" in q.key}


def recorded(step: int, layer: int) -> tuple[list[list[float]], np.ndarray, list[list[int]]]:
    """Scores, bias and choice of the run `free`."""
    bias_LE = rule_biases(random_counts(25, 2, 8))[step]
    record = probe_record(step, bias_LE, 2, 8, 2)
    scores = 1 / (1 + np.exp(-record.router_logits_PLE[:, layer].astype(float)))
    return scores.tolist(), bias_LE[layer], record.selected_experts_PLK[:, layer].tolist()


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        ({"what": "proportional"}, {}),
        ({"what": "sign", "what_K": "3"}, {"top_k": 3}),
        ({"what": "smebu", "what_scope": "sequence"}, {"sequence": 8}),
        ({"what": "quantile", "what_start": "neutral"}, {"bias": [0.0] * 8}),
        ({"what": "sign", "what_group": "1 of 4"}, {"groups": (4, 1)}),
        ({"what": "sign", "what_type": "bfloat16"}, {"store": formats.bfloat16}),
    ],
    ids=["proportional", "K", "sequences", "quantile", "groups", "bf16"],
)
def test_every_number_is_that_of_the_loops(store: OpenStore, runs: list[Run], query, changed) -> None:
    scores, bias, before = recorded(12, 1)
    panels = questions(store, runs, run="free", probe="12", layer="1", what_u="5e-2", what_n="10", **query)
    top_k = changed.pop("top_k", 2)
    path, loads, after = slow.replay(
        scores, changed.pop("bias", bias.tolist()), top_k, query["what"], 0.05, 10, **changed
    )
    imbalance = panel_of(store, panels["imbalance"]).table
    assert imbalance is not None
    mean = len(scores) * top_k / 8
    assert imbalance["max_vio"].to_list() == pytest.approx([max(row) / mean - 1 for row in loads])
    biases = panel_of(store, panels["biases"]).table
    assert biases is not None
    replayed = biases.filter(pl.col("path") == "replayed")["bias"].to_numpy().reshape(-1, 8)
    assert replayed == pytest.approx(np.array(path), abs=5e-6)
    table = panel_of(store, panels["loads"]).table
    assert table is not None
    for name, rows in (("recorded", before), ("replayed", after)):
        counts = [sum(e in row for row in rows) for e in range(8)]
        assert table.filter(pl.col("routing") == name)["tokens"].to_list() == counts
    swaps = panel_of(store, panels["swaps"]).table
    assert swaps is not None
    want = formats.counts(before, after, 8)["swaps"]
    assert swaps["tokens"].to_list() == [n for row in want for n in row]


def test_what_happened_stands_beside_the_replay(store: OpenStore, runs: list[Run]) -> None:
    panels = questions(store, runs, run="free", probe="2", layer="0", what_n="10")
    table = panel_of(store, panels["biases"]).table
    assert table is not None
    real = table.filter(pl.col("path") == "recorded").sort("update", "expert")
    want = rule_biases(random_counts(25, 2, 8))[2:13, 0]
    assert real["bias"].to_numpy().reshape(-1, 8) == pytest.approx(want)


def test_without_a_change_nothing_changes(store: OpenStore, runs: list[Run]) -> None:
    panels = questions(store, runs, run="free", probe="12", layer="0", what="none", what_n="0")
    swaps = panels["swaps"].answer(store)
    assert isinstance(swaps, Missing)
    assert panel_of(store, panels["loads"]).finding.startswith("0 of 16 tokens")


def test_a_run_without_a_bias_starts_neutral(store: OpenStore, runs: list[Run]) -> None:
    panels = questions(store, runs, run="plain", probe="12", layer="0", what="sign", what_n="1")
    table = panel_of(store, panels["biases"]).table
    assert table is not None
    assert table.filter(pl.col("update") == 0)["bias"].to_list() == [0.0] * 8
    assert set(table["path"]) == {"replayed"}


def test_tokens_that_do_not_choose_cannot_be_replayed(store: OpenStore, runs: list[Run]) -> None:
    answer = questions(store, runs, run="experts")["imbalance"].answer(store)
    assert isinstance(answer, Missing)
    assert answer.reason == counterfactual.NO_SCORES


def test_only_what_differs_from_the_defaults_is_in_an_address(store: OpenStore, runs: list[Run]) -> None:
    def query(**values: str):
        return microscope.open_view(store, runs, {k: (v,) for k, v in values.items()}).query

    assert not [key for key in query(run="free") if key.startswith("what")]
    changed = query(run="free", what="sign", what_K="2", what_group="1 of 2")
    assert {key: changed[key] for key in changed if key.startswith("what")} == {
        "what": ("sign",),
        "what_group": ("1 of 2",),
    }
    # Four experts of eight remain with one group of two: K = 5 has no room, and the limit falls back.
    view = microscope.open_view(store, runs, {"run": ("free",), "what_K": ("5",), "what_group": ("1 of 2",)})
    assert "what_group = 1 of 2" in view.notices[0]
