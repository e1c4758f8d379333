"""A run whose layers have the model's own numbers and different widths, in the index and in the queries."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from layered_runs import LAYERS, WIDTHS, K, layered_info, record_layered

from explorer import metrics
from explorer.queries import balance, bias_step, health, loads, mechanism, probe, specialisation
from explorer.store import Index

STEPS = 1100
"""More than `pyramids.ROLL_FROM`, so that roll-ups are made."""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, list[np.ndarray]]]:
    folder = tmp_path_factory.mktemp("layered")
    return folder, record_layered(folder, steps=STEPS)


@pytest.fixture(scope="module")
def cursor(counts: tuple[Path, dict[int, list[np.ndarray]]]) -> Iterator[duckdb.DuckDBPyConnection]:
    with Index.open(counts[0] / "index.duckdb") as index:
        report = index.ingest([counts[0]])
        assert report.problems == {}
        with index.cursor() as cur:
            yield cur


def test_figures_are_those_of_each_layers_own_experts(
    cursor: duckdb.DuckDBPyConnection, counts: tuple[Path, dict[int, list[np.ndarray]]]
) -> None:
    rows = cursor.execute(
        "SELECT step, layer, max_vio, effective_experts, idle_experts FROM layer_metrics ORDER BY step, layer"
    ).fetchall()
    assert [row[1] for row in rows] == list(LAYERS) * STEPS
    for row in rows[:60]:
        mine = counts[1][row[0]][LAYERS.index(row[1])]
        assert row[2:4] == pytest.approx((metrics.max_vio(mine), metrics.effective_experts(mine)))
        assert row[4] == (mine == 0).sum()
    dead = cursor.execute("SELECT count(*) FROM episodes WHERE kind IN ('idle', 'low')").fetchone()
    assert dead == (0,)


def test_roll_ups_have_the_models_layers(cursor: duckdb.DuckDBPyConnection) -> None:
    cells = cursor.execute("SELECT DISTINCT layer, expert FROM load_bins ORDER BY ALL").fetchall()
    assert cells == [(layer, e) for layer, width in zip(LAYERS, WIDTHS, strict=True) for e in range(width)]
    layers = cursor.execute("SELECT DISTINCT layer FROM layer_bins ORDER BY ALL").fetchall()
    assert layers == [(-1,), *((layer,) for layer in LAYERS)]


@pytest.mark.parametrize(("layer", "width"), zip(LAYERS, WIDTHS, strict=True))
def test_a_layer_has_its_own_experts_everywhere(
    cursor: duckdb.DuckDBPyConnection,
    counts: tuple[Path, dict[int, list[np.ndarray]]],
    layer: int,
    width: int,
) -> None:
    matrix = loads.load_matrix(cursor, "layered", layer)
    assert matrix.tokens.tolist() == [counts[1][s][LAYERS.index(layer)].tolist() for s in range(STEPS)]
    assert loads.load_matrix(cursor, "layered", layer, max_columns=100).tokens.shape[1] == width
    assert len(loads.loads_at(cursor, "layered", layer, 7)) == width
    assert len(bias_step.bias_step(cursor, "layered", layer, 7)) == width
    one_layer = probe.layer_probe(cursor, "layered", STEPS, layer)
    assert one_layer is not None
    assert (one_layer.num_experts, one_layer.bias is not None) == (width, True)
    assert len(specialisation.coactivation(cursor, "layered", layer).within) == width * width


def test_layers_of_different_width_beside_each_other(cursor: duckdb.DuckDBPyConnection) -> None:
    across = specialisation.coactivation(cursor, "layered", 3, 5).across
    assert (across["expert"].max(), across["other"].max(), len(across)) == (3, 7, 32)
    assert across["tokens"].sum() == 6 * K * K
    chance = specialisation.saturation(cursor, "layered").filter(step=STEPS).sort("layer")["chance"]
    assert chance.to_list() == [K / width for width in WIDTHS]
    churn = mechanism.choice_churn(cursor, ["layered"])
    assert churn["chance"].to_list() == [pytest.approx(np.mean([1 - K / width for width in WIDTHS]))]


def test_no_query_takes_layer_0_for_granted(cursor: duckdb.DuckDBPyConnection) -> None:
    assert health.held_out_figures(cursor, "layered")["layer"].to_list() == list(LAYERS)
    assert len(health.counts_at(cursor, "layered", 5)) == sum(WIDTHS)
    batches = health.computation_batches(cursor, "layered")
    assert batches.select("sequences", "layer").rows() == [(n, layer) for n in (1, 2) for layer in LAYERS]
    assert set(specialisation.specialisation(cursor, "layered")["layer"]) == set(LAYERS)
    assert probe.probes(cursor, ["layered"]).rows() == [("layered", 0, True), ("layered", STEPS, True)]


def test_no_baseline_is_made_up_for_layers_of_different_width(
    cursor: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert set(balance.references(cursor, "layered").values()) == {None}


def test_a_baseline_of_numbered_layers_is_that_of_as_many_layers(tmp_path: Path) -> None:
    from explorer.recording.run_writer import RunWriter
    from explorer.records.records import LoadRecord, SequenceLoadRecord

    rng = np.random.default_rng(1)
    sequences = {step: rng.multinomial(64, np.full(8, 1 / 8), size=(2, 3)) for step in range(8)}
    for name, layers in (("numbered", LAYERS), ("plain", None)):
        info = layered_info(name, layers=layers, experts_per_layer=None)
        with RunWriter.create(tmp_path, info) as recorder:
            for step, tokens in sequences.items():
                recorder.record(LoadRecord(step=step, tokens_LE=tokens.sum(0)))
                recorder.record(
                    SequenceLoadRecord(
                        step=step, split="train", micro_batch=0, domains_B=["a", "b"], tokens_BLE=tokens
                    )
                )
                recorder.step_done(step)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            numbered, plain = balance.references(cur, "numbered"), balance.references(cur, "plain")
    assert numbered == plain
    assert {name for name, value in plain.items() if value is None} == {
        "held_out_mean",
        "held_out_p95",
        "held_out_tokens",
    }  # nothing was held out
