"""Detected events are those that slow loops find, however the run was taken in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_index import empty_tables
from reference import events as reference
from sentences import sentence
from slow_examples import slow_examples
from store_runs import make_info

from explorer.config.run import BalancerConfig, RunConfig
from explorer.queries import events
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord
from explorer.store import Index, episodes
from explorer.store.derive import derive

L, E, KEY = 2, 4, 7
LENGTHS = [1, 2, 30, 63, 64, 65, 99, 100, 101, 130]
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """A run and how it comes in."""

    steps: np.ndarray
    counts: np.ndarray
    """[S, L, E]"""
    bias: np.ndarray
    """[S, L, E] float32, NaN: none"""
    losses: np.ndarray
    """[S], NaN: none"""
    cuts: tuple[int, ...]


def spans(rng: np.random.Generator, samples: int) -> Iterator[tuple[slice, int]]:
    """Neighbouring pieces with lengths about the thresholds, and a number for each."""
    start = 0
    while start < samples:
        length = int(rng.choice(LENGTHS))
        yield slice(start, start + length), int(rng.integers(0, 4))
        start += length


@st.composite
def cases(draw: st.DrawFn) -> Case:
    samples = draw(st.one_of(st.integers(1, 380), st.sampled_from([1, 64, 100, 128, 192])))
    rng = np.random.default_rng(draw(seeds))
    steps = np.cumsum(rng.integers(1, draw(st.integers(2, 9)), samples)) - 1
    counts = rng.integers(1, 50, (samples, L, E))
    for layer in range(L):
        for expert in range(E):
            for span, what in spans(rng, samples):
                counts[span, layer, expert] *= what > 1
    for span, what in spans(rng, samples):
        if what == 0:
            counts[span, 0] = 0  # nothing was routed at all
    return Case(
        steps=steps,
        counts=counts,
        bias=biases(rng, samples),
        losses=losses(rng, samples),
        cuts=(*draw(st.lists(st.integers(1, samples), max_size=5, unique=True).map(sorted)), samples),
    )


def biases(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Moves of 1/64 that turn around rarely, by chance, mostly or always; pieces without any."""
    result = np.full((samples, L, E), np.nan, dtype=np.float32)
    for layer in range(L):
        move, level = np.ones(E), np.zeros(E)
        for span, what in spans(rng, samples):
            for i in range(samples)[span]:
                turning = rng.random(E) < (0.05, 0.5, 0.62, 1.0)[what]
                move = np.where(turning, -move, move)
                level = level + move * (rng.random(E) < 0.9) / 64
                result[i, layer] = level
            if rng.random() < 0.2:
                result[span, layer] = np.nan
        for at in rng.integers(0, samples, rng.choice([0, 0, 3])):
            result[at : at + rng.integers(1, 70), layer, rng.integers(E)] = rng.choice([np.inf, -np.inf])
    return result


def losses(rng: np.random.Generator, samples: int) -> np.ndarray:
    result = 3 + rng.choice([0.0, 0.01, 0.05]) * rng.normal(size=samples)
    for at in rng.integers(0, samples, 6):
        result[at : at + rng.integers(1, 4)] += rng.choice([0.05, 0.2, 1.0])
    result[rng.random(samples) < rng.choice([0.0, 0.3, 0.6])] = np.nan
    for at in rng.integers(0, samples, rng.choice([0, 0, 3])):
        result[at : at + rng.integers(1, 60)] = np.inf
    return result


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_tables() as connection:
        yield connection


def config_of(balancer: str) -> dict[str, Any]:
    return RunConfig(balancer=BalancerConfig.parse(balancer)).to_dict()


CONFIG = config_of("loss_free")
"""An added bias on sigmoid scores: a spread of more than 1 decides alone."""


def take_in(con: duckdb.DuckDBPyConnection, case: Case, config: Any = CONFIG) -> pl.DataFrame:
    """Fill the tables part by part; returns the episodes."""
    for table in (
        "runs",
        "expert_loads",
        "steps",
        "layer_metrics",
        "layer_summary",
        "episodes",
        "probe_scores",
    ):
        con.execute(f"DELETE FROM raw.{table}")
    con.execute(
        f"INSERT INTO raw.runs BY NAME SELECT {KEY} AS run_key, 'run' AS run_id, {E} AS num_experts, "
        "? AS config",
        [json.dumps(config)],
    )
    start = 0
    for stop in case.cuts:
        put(con, "expert_loads", load_rows(case, start, stop))
        put(con, "steps", loss_rows(case, start, stop))
        derive(con, KEY, start, stop)
        episodes.update_episodes(con, KEY, (start, stop), (start, stop), {"expert_loads", "steps"})
        start = stop
    return con.execute("SELECT * FROM episodes ORDER BY ALL").pl()


def put(con: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    con.register("given_rows", rows.with_columns(run_key=pl.lit(KEY)))
    con.execute(f"INSERT INTO raw.{table} BY NAME SELECT * FROM given_rows")
    con.unregister("given_rows")


def load_rows(case: Case, start: int, stop: int) -> pl.DataFrame:
    ordinal, layer, expert = (grid.ravel() for grid in np.indices((stop - start, L, E)))
    return pl.DataFrame(
        {
            "step": case.steps[ordinal + start],
            "ordinal": ordinal + start,
            "layer": layer,
            "expert": expert,
            "tokens": case.counts[start:stop].ravel(),
            "expert_bias": case.bias[start:stop].ravel(),
        }
    ).with_columns(pl.col("expert_bias").fill_nan(None))


def loss_rows(case: Case, start: int, stop: int) -> pl.DataFrame:
    rows = {
        "step": case.steps[start:stop],
        "ordinal": np.arange(start, stop),
        "lm_loss": case.losses[start:stop],
    }
    return pl.DataFrame(rows).with_columns(pl.col("lm_loss").fill_nan(None))


def wanted(case: Case) -> list[tuple[Any, ...]]:
    steps, counts = case.steps.tolist(), case.counts.tolist()
    bias = [[[None if b != b else b for b in row] for row in rows] for rows in case.bias.tolist()]
    load_events = reference.of_loads(steps, counts) + reference.of_biases(steps, bias)
    losses = [None if loss != loss else loss for loss in case.losses.tolist()]
    return load_events + reference.of_losses(steps, losses)


def by_step(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


@slow_examples
@given(case=cases())
def test_events_are_those_of_the_loops(con: Any, case: Case) -> None:
    grown = take_in(con, case)
    frame = events.events(con, "run", most=10_000)
    assert by_step(frame.select("step", "layer", "expert", "kind").rows()) == by_step(wanted(case))
    assert frame["step"].is_sorted()
    counts = events.event_counts(con, ["run"])
    assert counts["events"].sum() == frame.height
    for row in counts.to_dicts():
        mine = frame.filter(pl.col("kind") == row["kind"])
        assert row["events"] == mine.height
        assert row["layers"] == mine["layer"].drop_nulls().unique().sort().to_list()
        assert (row["first_step"], row["last_step"]) == (mine["step"][0], mine["step"][-1])
    at_once = take_in(con, replace(case, cuts=(len(case.steps),)))
    assert grown.equals(at_once)
    with mock.patch.object(episodes, "CHUNK_ROWS", 37 * L * E):
        assert take_in(con, replace(case, cuts=(len(case.steps),))).equals(at_once)


def test_every_kind_is_in_the_examples(con: Any) -> None:
    """The property above would hold for a run in which nothing happens."""
    rng = np.random.default_rng(3)
    alive = np.ones((400, L, E), dtype=int)
    alive[50:150, 0, 1] = 0
    alive[200:320, 1, 1:] = 0
    bias = np.zeros((400, L, E), dtype=np.float32)
    bias[:, 0] = (np.arange(400) % 2)[:, None]
    bias[:, 1, 0] = np.arange(400) / 100
    loss = 3 + 0.01 * rng.normal(size=400)
    loss[333:336] += (0.5, 0.9, 0.4)
    case = Case(2 * np.arange(400), alive, bias, loss, (170, 400))
    take_in(con, case)
    frame = events.events(con, "run")
    assert frame.filter(pl.col("expert").is_null()).select("step", "layer", "kind", "detail").rows() == [
        (0, 0, "oscillation", ANY_TURN.format(384)),
        (202, 1, "bias_saturation", sentence("events.bias_range")),
        (400, 1, "collapse", sentence("events.collapse", steps=120, until=640)),
        (640, 1, "recovery", sentence("events.recovery", steps=120)),
        (668, None, "loss_spike", sentence("events.loss_spike", nats="0.89", steps=50)),
    ]
    dead = frame.filter(pl.col("expert").is_not_null())
    assert dead.select("step", "layer", "expert", "kind").rows()[:2] == [
        (100, 0, 1, "death"),
        (300, 0, 1, "revival"),
    ]
    assert dead["detail"][0] == sentence("events.no_token", steps=100, until=300)
    assert set(frame["source"]) == {"detected"}


ANY_TURN = sentence("events.oscillation", share="100 %", window=64, steps="{}")


def test_a_wide_spread_is_an_event_only_where_it_decides(con: Any) -> None:
    bias = np.zeros((40, L, E), dtype=np.float32)
    bias[5:, 1, 2] = 1.5
    case = Case(3 * np.arange(40), np.ones((40, L, E), dtype=int), bias, np.full(40, 3.0), (11, 40))

    def saturated(config: Any) -> list[int]:
        take_in(con, case, config)
        return events.events(con, "run").filter(pl.col("kind") == "bias_saturation")["step"].to_list()

    assert saturated(config_of("loss_free")) == [15]
    assert saturated(config_of("loss_free:bias_form=multiplicative")) == []
    assert saturated(config_of("loss_free:bias_form=multiplicative/60/loss_free")) == [60]
    assert saturated(config_of("loss_free/9/none")) == []
    assert saturated({"model": {"num_experts": E}}) == []


def test_many_events_are_cut_and_counted(con: Any) -> None:
    alive = np.ones((1, L, E), dtype=int).repeat(1100, 0)
    for start in range(1, 1000, 101):
        alive[start : start + 100, 0, 0] = 0
    take_in(con, Case(np.arange(1100), alive, np.full(alive.shape, np.nan), np.full(1100, 3.0), (1100,)))
    put(con, "events", pl.DataFrame({"step": [5], "kind": ["balancer_changed"], "detail": ["x"]}))
    frame = events.events(con, "run", most=5)
    con.execute("DELETE FROM raw.events")
    assert sorted(frame["kind"]) == ["balancer_changed", "death", "death", "revival", "revival"]
    assert frame["step"].to_list() == [1, 5, 101, 102, 202]
    assert events.event_counts(con, ["run"]).filter(pl.col("kind") == "death")["events"].to_list() == [10]


@given(seed=seeds, probes=st.integers(1, 4), experts=st.integers(2, 5), slots=st.integers(1, 3))
def test_choices_settle(con: Any, seed: int, probes: int, experts: int, slots: int) -> None:
    rng = np.random.default_rng(seed)
    choices = rng.integers(-1, experts + 1, (probes, L, 12, slots))
    for probe in range(probes - 1):
        kept = rng.random((L, 12)) < rng.choice([0.5, 0.92, 1.0])
        choices[probe][kept] = choices[-1][kept]
    for table in ("runs", "probe_scores", "episodes"):
        con.execute(f"DELETE FROM raw.{table}")
    con.execute(
        "INSERT INTO raw.runs BY NAME SELECT 7 AS run_key, 'run' AS run_id, ? AS num_experts", [experts]
    )
    for probe in range(probes):  # each one is the last for a while
        rows = [(9 * probe, layer, t, choices[probe, layer, t].tolist()) for layer, t in np.ndindex(L, 12)]
        names = ["step", "layer", "token", "selected_experts"]
        put(con, "probe_scores", pl.DataFrame(rows, schema=names, orient="row"))
        episodes.update_episodes(con, KEY, (0, 0), (0, 0), {"probe_scores"})
    event_rows = events.events(con, "run").select("step", "layer", "expert", "kind").rows()
    steps = [9 * probe for probe in range(probes)]
    assert by_step(event_rows) == by_step(reference.of_choices(steps, choices.tolist(), experts))


def test_a_run_that_grows_and_is_compacted_keeps_its_events(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    info = make_info(layers=1, experts=3, config=CONFIG)
    recorder = RunWriter.create(tmp_path / "runs", info)
    seen = []
    with Index.open(tmp_path / "index.duckdb") as index:
        for step in range(0, 700, 2):
            tokens = rng.integers(1, 9, (1, 3)) * [[1, step < 90 or step > 400, 1]]
            recorder.record(StepRecord(step=step, tokens_seen=step, lm_loss=3.0 + (step == 500)))
            recorder.record(
                LoadRecord(step=step, tokens_LE=tokens, expert_bias_LE=np.float32([[step % 4, 0, step % 4]]))
            )
            recorder.step_done(step)
            if step % 130 == 0:
                recorder.flush()
                index.ingest([tmp_path / "runs"])
        for finish in (recorder.flush, lambda: recorder.finish("finished")):
            finish()
            index.ingest([tmp_path / "runs"])
            with index.cursor() as cur:
                seen.append(cur.execute("SELECT * FROM episodes ORDER BY ALL").pl())
                rows = events.events(cur, "run").select("step", "kind").rows()
            assert rows == [
                (0, "oscillation"),
                (2, "bias_saturation"),
                (90, "death"),
                (402, "revival"),
                (500, "loss_spike"),
            ]
    assert seen[0].equals(seen[1])
