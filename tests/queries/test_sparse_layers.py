"""Bins of a layer whose experts are not all recorded in every sample, against loops; levels of a roll-up."""

import math
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.queries import biases, loads, probe, specialisation
from explorer.store.schema import statements

RUN = "run"


@pytest.fixture(scope="module")
def con() -> Iterator[Any]:
    with duckdb.connect() as connection:
        for statement in statements():
            connection.execute(statement)
        yield connection


CHOICES = {
    "step": pl.Int64,
    "layer": pl.Int32,
    "token": pl.Int32,
    "selected_experts": pl.List(pl.Int32),
}
"""Columns of the experts that probes chose."""


def fill(con: Any, experts: int, **tables: pl.DataFrame) -> None:
    """One run with these rows."""
    con.execute("DELETE FROM raw.runs")
    con.execute(
        "INSERT INTO raw.runs BY NAME SELECT 0 AS run_key, ? AS run_id, ? AS num_experts, 2 AS top_k",
        [RUN, experts],
    )
    for name, rows in tables.items():
        con.execute(f"DELETE FROM raw.{name}")
        con.register("given_rows", rows.with_columns(run_key=pl.lit(0)))
        con.execute(f"INSERT INTO raw.{name} BY NAME SELECT * FROM given_rows")
        con.unregister("given_rows")


Row = tuple[int, int, int, float | None]
"""Step, expert, tokens, bias."""


@st.composite
def sparse(draw: st.DrawFn) -> tuple[list[Row], int]:
    """Rows of one layer in any order, and the number of bins."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples, experts = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    rows: list[Row] = []
    for sample in range(samples):
        there = np.flatnonzero(rng.random(experts) < 0.7)
        for expert in there if len(there) else [0]:
            values = [0.5, -0.25, None, math.nan, math.inf]
            rows.append((3 * sample, int(expert), int(rng.integers(0, 3)), values[rng.integers(0, 5)]))
    return draw(st.permutations(rows)), draw(st.integers(1, samples))


@given(case=sparse())
def test_an_expert_counts_only_where_it_is_recorded(con: Any, case: tuple[list[Row], int]) -> None:
    rows, most = case
    samples = len({step for step, *_ in rows})
    frame = pl.DataFrame(
        rows,
        schema={"step": pl.Int64, "expert": pl.Int32, "tokens": pl.Int64, "expert_bias": pl.Float32},
        orient="row",
    ).with_columns(layer=0, ordinal=pl.col("step") // 3)
    progress = pl.DataFrame({"table_name": ["expert_loads"], "samples": [samples], "rolled": [0]})
    fill(con, 4, expert_loads=frame, progress=progress)
    width = -(-samples // most)
    cells: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(rows):
        cells.setdefault((row[0] // 3 // width, row[1]), []).append(row)
    totals = {step: sum(r[2] for r in rows if r[0] == step) for step, *_ in rows}
    heatmap = loads.load_heatmap(con, RUN, 0, most)
    assert heatmap.select("bin", "expert").rows() == sorted(cells)
    for row in heatmap.iter_rows(named=True):
        mine = cells[row["bin"], row["expert"]]
        experts = [key for key in cells if key[0] == row["bin"]]
        total = sum(r[2] for key in experts for r in cells[key])
        assert (row["first_step"], row["last_step"]) == (mine[0][0], mine[-1][0])
        assert row["tokens"] == sum(r[2] for r in mine)
        assert row["load_ratio"] == (row["tokens"] * len(experts) / total if total else None)
        shares = [r[2] / totals[r[0]] * len(experts) for r in mine if totals[r[0]]]
        assert row["max_ratio"] == (pytest.approx(max(shares)) if shares else None)
        assert row["min_ratio"] == (pytest.approx(min(shares)) if shares else None)
    with_bias = {key: [r for r in mine if r[3] is not None] for key, mine in cells.items()}
    trajectories = biases.bias_trajectories(con, RUN, 0, most)
    wanted = sorted((expert, number) for (number, expert), mine in with_bias.items() if mine)
    assert trajectories.select("expert", "bin").rows() == wanted
    for row in trajectories.iter_rows(named=True):
        values = [float(r[3]) for r in with_bias[row["bin"], row["expert"]] if r[3] is not None]
        finite = [value for value in values if math.isfinite(value)]
        assert row["bias_mean"] == (pytest.approx(sum(finite) / len(finite)) if finite else None)
        assert (row["bias_min"], row["bias_max"]) == (min(finite, default=None), max(finite, default=None))
        assert row["bias_last"] == pytest.approx(values[-1], nan_ok=True)
        assert row["bias_not_finite"] == len(values) - len(finite)


def test_a_token_is_compared_with_the_last_probe_that_has_it(con: Any) -> None:
    rows = [
        (0, 0, [0, 1]),
        (0, 1, [2, 3]),
        (5, 0, [0, 2]),
        (9, 1, [2, 2, 9]),
        (9, 0, [0, 2]),
    ]
    frame = pl.DataFrame(
        [(step, 0, token, experts) for step, token, experts in rows],
        schema=CHOICES,
        orient="row",
    )
    fill(con, 4, probe_scores=frame)
    saturation = specialisation.saturation(con, RUN)
    # At the end token 0 has {0, 2} and token 1 only {2}: 9 is no expert, and a repeated one counts once.
    assert saturation["saturation"].to_list() == [2 / 3, 2 / 2, 1.0]
    assert saturation["churn"].to_list() == [None, 1 - 1 / 2, 1 - 3 / 4]
    assert probe.routes(con, RUN, 9, 4)[0].tolist() == [[0, 2], [2, 2]]
    assert set(probe.routes_at(con, RUN, [0, 5, 9], 4)) == {0, 5, 9}


def test_a_probe_without_a_recorded_choice_ends_the_comparison(con: Any) -> None:
    frame = pl.DataFrame(
        [(0, 0, 0, [0]), (5, 0, 0, None), (9, 0, 0, [1])],
        schema=CHOICES,
        orient="row",
    )
    fill(con, 2, probe_scores=frame)
    assert specialisation.saturation(con, RUN)["churn"].to_list() == [None, 1.0, None]


def test_co_activation_joins_layers_by_token(con: Any) -> None:
    frame = pl.DataFrame(
        [(0, 0, 0, [0, 1]), (0, 0, 3, [1, 2]), (0, 1, 3, [0, 0]), (0, 1, 4, [1, 2])],
        schema=CHOICES,
        orient="row",
    )
    fill(con, 3, probe_scores=frame)
    across = specialisation.coactivation(con, RUN, 0, 1).across
    assert across.filter(pl.col("tokens") > 0).select("expert", "other", "tokens", "share").rows() == [
        (1, 0, 1, 1 / 2),
        (2, 0, 1, 1.0),
    ]
    assert specialisation.coactivation(con, RUN, 7, 1).across.is_empty()
