"""Sentences name the layer, seed and step of what they state."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arm_runs import run
from store_runs import write_run

from explorer.charts.biases import Widest
from explorer.figures import biases, computation_batches, domains
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, run_from_row
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs
from explorer.records.matrix import LoadMatrix
from explorer.store import Index


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStore, ArmSet]]:
    """One run of seed 3."""
    folder: Path = tmp_path_factory.mktemp("runs")
    write_run(folder, steps=4, seed=3)
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            (indexed_run,) = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        yield OpenStore(index), ArmSet.of([Arm(token="run", label="loss-free", runs=(indexed_run,))])


def test_loads_by_domain_name_their_layer_and_seed(opened: tuple[OpenStore, ArmSet]) -> None:
    store, arms = opened
    panel = domains.expert_load_of_arm(store, arms, domains.LayerDomains(layer=1, how=True))
    assert panel.how.startswith("Layer 1, seed 3: each row is the held-out text of one domain.")
    assert panel.subject.endswith("layer 1, seed 3")


@pytest.mark.parametrize(
    ("seeds", "name"),
    [
        ((0, 0), "Seed 0"),
        ((2,), "Seed 2"),
        ((0, 1), "One run per arm"),
        ((None,), "One run per arm"),
    ],
)
def test_a_seed_is_named_only_where_all_first_runs_have_it(seeds: tuple[int | None, ...], name: str) -> None:
    arms = [
        Arm(token=f"arm{n}", label=f"arm{n}", runs=(run(f"arm{n}", seed=seed), run(f"later{n}", seed=9)))
        for n, seed in enumerate(seeds)
    ]
    assert computation_batches.seed_text(ArmSet.of(arms)) == name


def widest(bias: np.ndarray | None, last_steps: list[int]) -> Widest | None:
    steps = np.arange(len(last_steps)) * 5
    tokens = np.ones((len(steps), 3), dtype=np.int64)
    matrix = LoadMatrix(steps=steps, last_steps=np.array(last_steps), tokens=tokens, bias=bias)
    trace: Any = SimpleNamespace(ask=lambda _query, _run, _layer: matrix)
    return biases.widest(trace, run("one", "loss_free"), 0)


def test_the_widest_biases_are_those_of_the_step_where_they_differ_most() -> None:
    bias = np.array([[0.9, 0.8, 0.7], [-0.25, 0.5, 0], [np.nan] * 3, [0.1, 0, 0]], dtype=np.float32)
    assert widest(bias, [0, 5, 10, 15]) == Widest(step=5, low=-0.25, high=0.5)
    assert widest(bias, [4, 9, 14, 19]) is None, "bins hide the step"
    assert widest(np.full((1, 3), np.nan, dtype=np.float32), [0]) is None
    assert widest(None, [0]) is None
