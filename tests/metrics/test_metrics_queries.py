"""Queries of health and specialisation against numpy and the slow references, on random tables."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from memory_index import empty_tables
from reference import figures
from rolled_up import layer_bins
from store_runs import write_run

from explorer import metrics
from explorer.metrics.catalogue import OF_LOADS
from explorer.queries import health, specialisation
from explorer.store import Index
from explorer.store.derive import LAYER_FIGURES

seeds = st.integers(0, 2**32 - 1)
RUN = "run"


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of an index in memory; every example fills them anew."""
    with empty_tables() as connection:
        yield connection


def fill(con: duckdb.DuckDBPyConnection, experts: int, top_k: int, **tables: pl.DataFrame) -> None:
    """One run with these rows; `run_key` is added."""
    con.execute("DELETE FROM raw.runs")
    con.execute(
        "INSERT INTO raw.runs BY NAME SELECT 0 AS run_key, ? AS run_id, ? AS num_experts, ? AS top_k",
        [RUN, experts, top_k],
    )
    for name, rows in tables.items():
        con.execute(f"DELETE FROM raw.{name}")
        con.register("given_rows", rows.with_columns(run_key=pl.lit(0)))
        con.execute(f"INSERT INTO raw.{name} BY NAME SELECT * FROM given_rows")
        con.unregister("given_rows")


def table(values: np.ndarray, *names: str, **more: Any) -> pl.DataFrame:
    """Rows of an integer array: its axes by name, its values as tokens."""
    axes = {
        name: grid.ravel() for name, grid in zip(names, np.indices(values.shape), strict=True) if name != "_"
    }
    return pl.DataFrame({**axes, "tokens": values.ravel()}).with_columns(
        **{k: pl.lit(v) for k, v in more.items()}
    )


def numbers(column: pl.Series) -> list[float]:
    return [math.nan if v is None else float(v) for v in column]


def loads_of(con: duckdb.DuckDBPyConnection, counts: np.ndarray, bias: np.ndarray | None = None) -> None:
    """A short run [S, L, E] with loads and biases, without roll-ups."""
    rows = table(counts, "step", "layer", "expert").with_columns(ordinal=pl.col("step"))
    if bias is not None:
        rows = rows.with_columns(expert_bias=pl.Series(bias.ravel()))
    progress = pl.DataFrame({"table_name": ["expert_loads"], "samples": [len(counts)], "rolled": [0]})
    steps = pl.DataFrame({"step": np.arange(len(counts)), "ordinal": np.arange(len(counts))}).join(
        pl.DataFrame({"layer": np.arange(counts.shape[1])}), how="cross"
    )
    fill(con, counts.shape[-1], 1, expert_loads=rows, progress=progress, layer_metrics=steps)


@given(seed=seeds, steps=st.integers(1, 4), layers=st.integers(1, 3), experts=st.integers(2, 6))
def test_counts_at_a_step(con: Any, seed: int, steps: int, layers: int, experts: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, (steps, layers, experts))
    loads_of(con, counts)
    raw = health.counts_at(con, RUN, steps + 5)
    assert raw["step"].unique().to_list() == [steps - 1]
    assert raw["tokens"].to_numpy().reshape(layers, experts).tolist() == counts[-1].tolist()
    assert health.counts_at(con, RUN, -1).is_empty()


@given(seed=seeds, steps=st.integers(1, 8), window=st.integers(1, 10), experts=st.integers(2, 5))
def test_dead_experts_over_a_window(con: Any, seed: int, steps: int, window: int, experts: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 2, (steps, 2, experts))
    loads_of(con, counts)
    dead = health.dead_experts(con, RUN, window)
    last = counts[-window:]
    assert dead["dead"].to_list() == metrics.dead_experts(last).tolist()
    assert dead["dead"].to_list() == [figures.dead_experts(last[:, layer].tolist()) for layer in range(2)]
    assert dead["idle"].to_list() == metrics.idle_experts(counts[-1]).tolist()
    assert dead["experts"].to_list() == [np.flatnonzero(last[:, i].sum(0) == 0).tolist() for i in range(2)]
    assert dead["window"].to_list() == [min(window, steps)] * 2
    assert dead["last_step"].to_list() == [steps - 1] * 2


@given(
    seed=seeds,
    steps=st.integers(1, 9),
    micro_batches=st.integers(1, 3),
    sequences=st.integers(1, 3),
    size=st.integers(1, 6),
)
def test_computation_batches(
    con: Any, seed: int, steps: int, micro_batches: int, sequences: int, size: int
) -> None:
    counts = np.random.default_rng(seed).multinomial(
        12, [0.5, 0.3, 0.2], size=(steps, micro_batches, sequences, 2)
    )
    rows = table(counts, "step", "micro_batch", "sequence", "layer", "expert", split="train", domain="a")
    fill(con, 3, 2, sequence_loads=rows)
    batches = health.computation_batches(con, RUN, [size])
    by_step = counts.reshape(steps, micro_batches * sequences, 2, 3)
    if micro_batches * sequences < size:
        assert batches.is_empty()
        return
    by_step = by_step[-max(1, min(20, steps // 4)) :]  # the end of a training
    wanted = metrics.max_vio_computation_batch(by_step, size)
    assert numbers(batches["max_vio"]) == pytest.approx(wanted.tolist())
    slow = np.mean([figures.max_vio_computation_batch(one.tolist(), size) for one in by_step], axis=0)
    assert numbers(batches["max_vio"]) == pytest.approx(slow.tolist())
    assert batches["tokens"].to_list() == [6.0 * size] * 2
    assert batches["groups"].to_list() == [len(by_step) * (micro_batches * sequences // size)] * 2
    assert batches["uniform_mean"][0] == metrics.uniform_reference(3, 2, 6 * size)[0]
    every = health.computation_batches(con, RUN)["sequences"].unique().sort().to_list()
    assert every == [2**i for i in range(10) if 2**i <= micro_batches * sequences]


@given(seed=seeds, domains=st.integers(1, 4), layers=st.integers(1, 2), experts=st.integers(2, 5))
def test_domains_and_held_out_figures(con: Any, seed: int, domains: int, layers: int, experts: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 3, (2, domains, layers, experts))
    rows = table(counts, "step", "domain", "layer", "expert", split="held_out").with_columns(
        domain=pl.col("domain").cast(pl.String), step=10 * pl.col("step")
    )
    fill(con, experts, 1, eval_loads=rows)
    held_out = health.held_out_figures(con, RUN)
    for figure in OF_LOADS:
        wanted = np.asarray(figure.function(counts[1].sum(0)), dtype=float)
        assert numbers(held_out[figure.key]) == pytest.approx(wanted.tolist(), abs=1e-9, nan_ok=True)
    assert health.held_out_figures(con, RUN, 0)["tokens"].to_list() == counts[0].sum((0, 2)).tolist()
    frame = specialisation.specialisation(con, RUN)
    assert frame["step"].to_list() == [0] * layers + [10] * layers
    by_layer = counts.swapaxes(1, 2)  # [steps, L, D, E]
    for key, wanted in (
        ("mean_distance", metrics.mean_domain_distance(by_layer)),
        ("information", metrics.mutual_information(by_layer)),
    ):
        assert numbers(frame[key]) == pytest.approx(wanted.ravel().tolist(), abs=1e-7, nan_ok=True)


@st.composite
def probes(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """Choices [steps, layers, tokens, K] with some empty slots, E and K."""
    experts = draw(st.integers(2, 6))
    top_k, tokens = draw(st.integers(1, experts)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(seeds))
    slots = rng.random((draw(st.integers(1, 3)), 2, tokens, experts)).argsort(-1)[..., :top_k]
    if draw(st.booleans()):
        slots = np.where(rng.random(slots.shape) < 0.3, experts, slots)
    return slots, experts, top_k


@example(drawn=(np.full((1, 2, 1, 1), 2), 2, 1))  # nobody has an expert: tables of zeros
@given(drawn=probes())
def test_p31_choices_of_the_probe(con: Any, drawn: tuple[np.ndarray, int, int]) -> None:
    choices, experts, top_k = drawn
    rows = pl.DataFrame(
        [
            (7 * step, layer, token, choices[step, layer, token].tolist())
            for step, layer, token in np.ndindex(*choices.shape[:3])
        ],
        schema={
            "step": pl.Int64,
            "layer": pl.Int32,
            "token": pl.Int32,
            "selected_experts": pl.List(pl.Int32),
        },
        orient="row",
    )
    fill(con, experts, top_k, probe_scores=rows)
    frame = specialisation.saturation(con, RUN)
    settled = metrics.saturation(choices, np.broadcast_to(choices[-1], choices.shape), experts)
    changed = np.full(settled.shape, np.nan)
    changed[1:] = metrics.churn(choices[:-1], choices[1:], experts)
    assert frame["step"].to_list() == np.repeat(7 * np.arange(len(choices)), 2).tolist()
    assert numbers(frame["saturation"]) == pytest.approx(settled.ravel().tolist(), nan_ok=True)
    assert numbers(frame["churn"]) == pytest.approx(changed.ravel().tolist(), nan_ok=True)
    assert frame["chance"][0] == pytest.approx(top_k / experts)
    pairs = specialisation.coactivation(con, RUN, 1).within
    slow = metrics.coactivation(choices[-1, 1], experts)
    assert pairs["tokens"].to_numpy().reshape(experts, experts).tolist() == slow.tolist()
    both = specialisation.coactivation(con, RUN, 0, 1, step=0)
    across = both.across
    assert across["tokens"].to_numpy().reshape(experts, experts).tolist() == figures.cross_activation(
        choices[0, 0].tolist(), choices[0, 1].tolist(), experts, experts
    )
    own = metrics.coactivation(choices[0, 0], experts).diagonal()
    there = metrics.coactivation(choices[0, 1], experts).diagonal()
    assert both.other_loads.rows() == list(enumerate(there.tolist()))
    wanted = [t / own[e] if own[e] else math.nan for e, t in across.select("expert", "tokens").rows()]
    assert numbers(across["share"]) == pytest.approx(wanted, nan_ok=True)


# --- Roll-ups ---


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, np.ndarray]]:
    """A run long enough for roll-ups."""
    folder: Path = tmp_path_factory.mktemp("long")
    counts = write_run(folder / "runs", steps=1500, flush_every=500)
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder / "runs"])
        with index.cursor() as cur:
            yield cur, counts


@pytest.mark.parametrize("name", LAYER_FIGURES)
@pytest.mark.parametrize("layer", [None, 1])
def test_a_rolled_up_figure_is_the_mean_of_its_steps(
    long_run: tuple[Any, np.ndarray], name: str, layer: int | None
) -> None:
    cur, counts = long_run
    values = np.asarray(getattr(metrics, name)(counts), dtype=float)
    values = values.mean(1) if layer is None else values[:, layer]
    bins = layer_bins(cur, RUN, name, layer, max_bins=100)
    assert 1 < len(bins) <= 100
    for row in bins:
        part = values[row["first_step"] : row["last_step"] + 1]
        assert row["samples"] == len(part)
        assert row["value"] == pytest.approx(part.mean())
        assert row["value_min"] == pytest.approx(part.min())
        assert row["value_max"] == pytest.approx(part.max())


def test_the_bias_spread_is_rolled_up_too(long_run: tuple[Any, np.ndarray]) -> None:
    cur, _ = long_run
    bins = layer_bins(cur, RUN, "bias_spread", 0, max_bins=10_000)
    last = cur.execute(
        "SELECT expert_bias FROM expert_loads WHERE layer = 0 AND step = 1499 ORDER BY expert"
    ).fetchall()
    assert bins[-1]["value_min"] <= bins[-1]["value"] <= bins[-1]["value_max"]
    assert float(metrics.bias_spread([b for (b,) in last])) <= bins[-1]["value_max"] + 1e-6


@pytest.mark.parametrize(
    "query",
    [
        lambda cur, run: health.counts_at(cur, run, 9),
        health.held_out_figures,
        health.dead_experts,
        health.computation_batches,
        specialisation.specialisation,
        lambda cur, run: specialisation.coactivation(cur, run, 0, 1).within,
        lambda cur, run: specialisation.coactivation(cur, run, 0, 1).across,
        lambda cur, run: specialisation.coactivation(cur, run, 0, 1).other_loads,
        specialisation.saturation,
    ],
)
def test_an_unknown_run_gives_the_same_columns_without_rows(
    long_run: tuple[Any, np.ndarray], query: Any
) -> None:
    known, unknown = query(long_run[0], RUN), query(long_run[0], "nobody")
    assert unknown.height == 0
    assert unknown.schema == known.schema
