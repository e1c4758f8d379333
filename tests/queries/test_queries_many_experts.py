"""Queries of a layer with very many experts, against the rows of every expert."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_runs import write_run

from explorer.queries import biases, loads, many_experts
from explorer.store import Index

EXPERTS, STEPS, ALONE, GROUPS = 70, 12, 8, 10


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    base: Path = tmp_path_factory.mktemp("runs")
    write_run(base, steps=STEPS, experts=EXPERTS)
    with Index.open(base / "index.duckdb") as opened:
        opened.ingest([base])
        yield opened


def test_ranks_hold_every_token_once_and_the_busiest_stand_alone(index: Index) -> None:
    with index.cursor() as cur:
        every = loads.load_heatmap(cur, "run", 1)
        ranks = many_experts.load_ranks(cur, "run", 1, alone=ALONE, groups=GROUPS)
    tokens = every["tokens"].to_numpy().reshape(STEPS, EXPERTS)
    ratios = every["load_ratio"].to_numpy().reshape(STEPS, EXPERTS)
    order = np.lexsort((np.arange(EXPERTS), -tokens.sum(0)))
    assert ranks["row"].to_list() == list(range(ALONE + GROUPS)) * STEPS
    first = ranks.head(ALONE + GROUPS)
    assert first["expert"].to_list() == [*order[:ALONE].tolist(), *[None] * GROUPS]
    assert (int(first["last_rank"][-1]), int(first["experts"].sum())) == (EXPERTS, EXPERTS)
    assert set(first["experts"][ALONE:]) <= {6, 7}, "groups are equally large"
    for row in ranks.to_dicts():
        members = order[row["first_rank"] - 1 : row["last_rank"]]
        here, share = tokens[row["bin"], members], ratios[row["bin"], members]
        assert row["tokens"] == here.sum()
        assert row["idle"] == (here == 0).sum()
        assert row["is_dead"] == (here.sum() == 0)
        assert here[list(members).index(row["busiest"])] == here.max()
        row_ratios = [row[name] for name in ("load_ratio", "min_ratio", "max_ratio", "busiest_ratio")]
        np.testing.assert_allclose(row_ratios, [share.mean(), share.min(), share.max(), share.max()])


def test_a_layer_of_few_experts_has_no_groups(index: Index) -> None:
    with index.cursor() as cur:
        ranks = many_experts.load_ranks(cur, "run", 0, alone=EXPERTS, groups=GROUPS)
        assert ranks["expert"].null_count() == 0
        assert many_experts.load_ranks(cur, "nobody", 0).is_empty()


def test_one_bin_is_the_column_of_the_heatmap(index: Index) -> None:
    with index.cursor() as cur:
        every = loads.load_heatmap(cur, "run", 0, 6)
        one = many_experts.load_bin(cur, "run", 0, 6, 5)
    wanted = every.filter(every["first_step"] == every.filter(every["first_step"] <= 5)["first_step"].max())
    assert one.equals(wanted)


def test_extremes_and_ends_are_rows_of_the_trajectories(index: Index) -> None:
    with index.cursor() as cur:
        every = biases.bias_trajectories(cur, "run", 0, 6)
        drawn = many_experts.extreme_biases(cur, "run", 0, 6, each=3, also=11)
        ends = many_experts.bias_ends(cur, "run", 0, 6)
        band = many_experts.bias_band(cur, "run", 0, 6)
    final = every.filter(every["bin"] == every["bin"].max()).sort("bias_last")
    extremes = {*final["expert"][:3], *final["expert"][-3:], 11}
    assert drawn.equals(every.filter(every["expert"].is_in(sorted(extremes))))
    assert ends.equals(every.filter(every["bin"] == every["bin"].max()))
    by_bin = every["bias_mean"].to_numpy().reshape(EXPERTS, -1)
    wanted = [np.quantile(by_bin, q, axis=0) for q in (0, 0.1, 0.5, 0.9, 1)]
    np.testing.assert_allclose(band.select("low", "p10", "median", "p90", "high").to_numpy().T, wanted)
