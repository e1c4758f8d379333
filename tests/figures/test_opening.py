"""The first pictures of the app: which runs, which layer, and loads as levels of colour."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_runs import write_run

from explorer import metrics
from explorer.figures.arms import Arm, arms_of, run_from_row
from explorer.figures.opening import opening_films
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs
from explorer.store import Index
from explorer.ui.components.opening import LEVELS, levels

STEPS = 40
LAST = 4
"""A tenth of the steps."""


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OpenStore, list[Arm], dict[str, np.ndarray]]]:
    """A store, its arms, and the loads [S, L, E] of each run."""
    folder: Path = tmp_path_factory.mktemp("runs")
    shared = {"steps": STEPS, "pair_key": "one"}
    counts = {
        "free": write_run(
            folder, "free", seed=1, balancer="loss_free", balancer_family="loss_free", **shared
        ),
        "none": write_run(
            folder, "none", seed=1, bias=False, balancer="none", balancer_family="none", **shared
        ),
        "other": write_run(
            folder, "other", seed=2, bias=False, balancer="none", balancer_family="none", **shared
        ),
    }
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        yield OpenStore(index), arms_of(runs), counts


def busiest(counts: np.ndarray, layer: int) -> float:
    last = counts[-LAST:, layer].sum(0)
    return float(last.max() / last.mean())


def test_two_runs_of_one_seed_show_the_layer_that_is_least_balanced(
    opened: tuple[OpenStore, list[Arm], dict[str, np.ndarray]],
) -> None:
    store, arms, counts = opened
    films = opening_films(store, arms)
    assert films is not None
    assert [film.run.run_id for film in films] == ["none", "free"]
    layer = max(range(counts["none"].shape[1]), key=lambda layer: busiest(counts["none"], layer))
    for film in films:
        loads = counts[film.run.run_id][:, layer]
        assert film.layer == layer
        assert film.max_vio in [
            pytest.approx(np.mean([metrics.max_vio_batch(counts[run.run_id], STEPS) for run in arm.runs]))
            for arm in arms
            if film.run in arm.runs
        ]
        np.testing.assert_allclose(film.load_ratio, loads / loads.mean(1, keepdims=True))
        shares = loads[-LAST:].sum(0) / loads[-LAST:].sum() * loads.shape[1]
        assert film.nearly_idle == int((shares < 0.25).sum())


def test_without_a_pair_there_is_nothing_to_play(
    opened: tuple[OpenStore, list[Arm], dict[str, np.ndarray]],
) -> None:
    store, arms, _ = opened
    assert opening_films(store, [arm for arm in arms if arm.first.balancer == "none"]) is None


def test_levels_are_logarithmic_and_an_expert_without_tokens_has_one_of_its_own() -> None:
    ratios = np.array([[0.0, 0.01, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0]])
    shown = np.frombuffer(base64.b64decode(levels(ratios)), dtype=np.uint8)
    assert shown.tolist() == [LEVELS + 1, 0, 0, 64, 127, 190, LEVELS, LEVELS]
