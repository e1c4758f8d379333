"""What the queries answer, against numbers made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from store_runs import make_info, random_counts, record_final, record_steps, sequence_record, write_run

from explorer import metrics
from explorer.queries import _frames, balance, biases, domains, events, loads, losses, runs, steps
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord
from explorer.store import Index
from explorer.store.pyramids import LEVELS, LOADS


def test_the_heatmap_of_a_small_run_shows_every_step(index: Index, base: Path) -> None:
    counts = write_run(base)
    index.ingest([base])
    with index.cursor() as cur:
        cells = loads.load_heatmap(cur, "run", 1)
    assert cells["tokens"].to_numpy().reshape(40, 4).tolist() == counts[:, 1].tolist()
    np.testing.assert_allclose(cells["load_ratio"].to_numpy().reshape(40, 4), counts[:, 1] * 4 / 128)
    assert cells["is_dead"].to_list() == (counts[:, 1] == 0).ravel().tolist()
    assert cells["bin"].to_list() == np.repeat(np.arange(40), 4).tolist()


def test_a_long_run_has_at_most_the_asked_number_of_bins(index: Index, base: Path) -> None:
    write_run(base, steps=1500, flush_every=500)
    index.ingest([base])
    with index.cursor() as cur:
        levels = cur.execute("SELECT DISTINCT level FROM load_bins").fetchall()
        heat = loads.load_heatmap(cur, "run", 0, max_bins=200)
        lines = biases.bias_trajectories(cur, "run", 0, max_bins=50)
        series = balance.max_vio_series(cur, ["run"], max_bins=300)
    assert len(levels) == LEVELS - LOADS.finest + 1
    assert 100 <= heat["bin"].n_unique() <= 200
    assert 25 <= lines["bin"].n_unique() <= 50
    assert 150 <= series.height <= 300
    assert series["samples"].sum() == 1500


def test_the_player_gets_every_step_while_it_can(index: Index, base: Path) -> None:
    counts = write_run(base)
    index.ingest([base])
    with index.cursor() as cur:
        full = loads.load_matrix(cur, "run", 0, max_columns=40)
        binned = loads.load_matrix(cur, "run", 0, max_columns=10)
        nothing = loads.load_matrix(cur, "run", 9)
    assert full.steps.tolist() == full.last_steps.tolist() == list(range(40))
    np.testing.assert_array_equal(full.tokens, counts[:, 0])
    assert (full.tokens.dtype, full.steps.dtype) == (np.int64, np.int64)
    assert full.bias is not None
    assert full.bias.dtype == np.float32
    np.testing.assert_array_equal(binned.tokens, counts[:, 0].reshape(10, 4, 4).sum(1))
    assert binned.last_steps.tolist() == list(range(3, 40, 4))
    assert nothing.tokens.shape == (0, 0)


def test_a_wide_layer_is_read_from_its_finest_bins(
    index: Index, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = write_run(base, steps=1500, flush_every=500)
    index.ingest([base])
    answers = []
    for rows in (1500 * 4, 1500 * 4 - 1):
        monkeypatch.setattr(_frames, "READ_ROWS", rows)
        with index.cursor() as cur:
            answers.append(loads.load_heatmap(cur, "run", 0, max_bins=200))
    by_rows, by_bins = answers
    # Widths of 8 and of 16 samples: below the bins there are only the rows.
    assert (by_rows["bin"].n_unique(), by_bins["bin"].n_unique()) == (-(-1500 // 8), -(-1500 // 16))
    sums = np.add.reduceat(counts[:, 0], np.arange(0, 1500, 16))
    np.testing.assert_array_equal(by_bins["tokens"].to_numpy().reshape(-1, 4), sums)


def test_a_run_without_a_bias_rule_has_none(index: Index, base: Path) -> None:
    write_run(base, bias=False)
    index.ingest([base])
    with index.cursor() as cur:
        assert loads.load_matrix(cur, "run", 0).bias is None
        assert biases.bias_trajectories(cur, "run", 0).is_empty()
        assert loads.loads_at(cur, "run", 0, 3)["expert_bias"].to_list() == [None] * 4


def record_sparse(base: Path) -> np.ndarray:
    """Loads at steps 0, 10, 20, 30, 40; scalars at every step."""
    counts = random_counts(5, 2, 4)
    with RunWriter.create(base, make_info()) as recorder:
        for step in range(41):
            recorder.record(
                StepRecord(step=step, tokens_seen=64 * (step + 1), lm_loss=1, wall_time_s=step / 4)
            )
            if step % 10 == 0:
                recorder.record(LoadRecord(step=step, tokens_LE=counts[step // 10]))
            recorder.step_done(step)
    return counts


def test_loads_at_takes_the_last_recorded_step(index: Index, base: Path) -> None:
    counts = record_sparse(base)
    index.ingest([base])
    with index.cursor() as cur:
        frame = loads.loads_at(cur, "run", 1, 29)
        assert loads.loads_at(cur, "run", 1, 10**9)["step"].to_list() == [40] * 4
        assert loads.loads_at(cur, "run", 1, -1).is_empty()
        assert loads.loads_at(cur, "run", 1, 20)["step"].to_list() == [20] * 4, "a recorded step is its own"
    assert frame["step"].to_list() == [20] * 4
    assert frame["tokens"].to_list() == counts[2, 1].tolist()
    np.testing.assert_allclose(frame["load_ratio"], counts[2, 1] * 4 / 128)


def test_sparse_loads_are_samples_of_their_own(index: Index, base: Path) -> None:
    counts = record_sparse(base)
    index.ingest([base])
    with index.cursor() as cur:
        by_step = balance.max_vio_series(cur, ["run"], layer=0)
        by_time = balance.max_vio_series(cur, ["run"], x="time")
        by_tokens = balance.max_vio_series(cur, ["run"], x="tokens", max_bins=2)
    assert by_step["x"].to_list() == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(by_step["max_vio"], metrics.max_vio(counts)[:, 0])
    assert by_time["x"].to_list() == [0, 2.5, 5, 7.5, 10]
    assert by_tokens["x"].to_list() == [21 * 64, 41 * 64]
    assert by_tokens["samples"].to_list() == [3, 2]


def test_loads_between_recorded_steps_take_the_latest_one_before(index: Index, base: Path) -> None:
    counts = random_counts(12, 2, 4)
    with RunWriter.create(base, make_info()) as recorder:
        for step in range(12):
            if step % 4 == 2:
                recorder.record(StepRecord(step=step, tokens_seen=64 * (step + 1), lm_loss=1))
            if step % 2 == 0:
                recorder.record(LoadRecord(step=step, tokens_LE=counts[step]))
            recorder.step_done(step)
    index.ingest([base])
    with index.cursor() as cur:
        series = balance.max_vio_series(cur, ["run"], x="tokens")
        assert steps.nearest_step(cur, "run", 5) == 4
    assert series["last_step"].to_list() == [0, 2, 4, 6, 8, 10]
    assert series["x"].to_list() == [None, 192, 192, 448, 448, 704]


def test_nearest_steps(index: Index, base: Path) -> None:
    write_run(base, steps=20)
    index.ingest([base])
    with index.cursor() as cur:
        assert [steps.nearest_step(cur, "run", s) for s in (-3, 0, 7, 99)] == [0, 0, 7, 19]
        assert steps.nearest_step(cur, "nobody", 3) is None
        assert steps.step_row(cur, "run", 7)["tokens_seen"].to_list() == [8 * 64]
        assert steps.step_row(cur, "run", 99).is_empty()


def test_evaluations_weigh_domains_equally_and_follow_their_updates(index: Index, base: Path) -> None:
    recorder = RunWriter.create(base, make_info())
    record_final(recorder, 2, 4, 0)
    record_steps(recorder, random_counts(6, 2, 4), range(6))
    record_final(recorder, 2, 4, 6, seed=1)
    recorder.finish("finished")
    index.ingest([base])
    with index.cursor() as cur:
        series = losses.eval_series(cur, ["run"], x="tokens")
        steps_found = losses.eval_series(cur, ["run"])
    assert series["step"].to_list() == [0, 0, 0, 6, 6, 6]
    assert series["domain"].to_list() == ["all", "austen", "python"] * 2
    assert series["x"].to_list() == [0.0] * 3 + [6 * 64.0] * 3
    assert steps_found["x"].to_list() == [0, 0, 0, 6, 6, 6]
    np.testing.assert_allclose(series["lm_loss"].to_list()[3:], [2.6, 2.1, 3.1])
    np.testing.assert_allclose(series["perplexity"][3], np.exp(2.6))
    bits = [metrics.bits_per_byte(2.1, 1000, 3000), metrics.bits_per_byte(3.1, 1000, 3001)]
    np.testing.assert_allclose(series["bits_per_byte"].to_list()[3:], [np.mean(bits), *bits])


def test_domains_take_the_last_evaluation_unless_told(index: Index, base: Path) -> None:
    recorder = RunWriter.create(base, make_info())
    early = record_final(recorder, 2, 4, 0, seed=3)
    record_steps(recorder, random_counts(6, 2, 4), range(6))
    late = record_final(recorder, 2, 4, 6, seed=4)
    recorder.finish("finished")
    index.ingest([base])
    with index.cursor() as cur:
        last = domains.domain_expert(cur, "run", 1)
        first = domains.domain_expert(cur, "run", 1, step=0)
        assert domains.domain_expert(cur, "run", 1, step=5).is_empty()
    assert last["tokens"].to_list() == late[:, 1].ravel().tolist()
    assert first["tokens"].to_list() == early[:, 1].ravel().tolist()
    np.testing.assert_allclose(last["load_ratio"], late[:, 1].ravel() * 4 / 128)


def test_domains_of_several_runs_are_those_of_each(index: Index, base: Path) -> None:
    for run_id, final in (("one", 6), ("other", 4)):
        recorder = RunWriter.create(base, make_info(run_id))
        record_final(recorder, 2, 4, 0, seed=3)
        record_steps(recorder, random_counts(final, 2, 4), range(final))
        record_final(recorder, 2, 4, final, seed=final)
        recorder.finish("finished")
    recorder = RunWriter.create(base, make_info("without"))
    record_steps(recorder, random_counts(3, 2, 4), range(3))
    recorder.finish("finished")
    index.ingest([base])
    with index.cursor() as cur:
        read = domains.domain_expert_of_runs(cur, ["one", "other", "without"], 1)
        assert set(read) == {"one", "other"}
        for run_id, rows in read.items():
            assert rows.equals(domains.domain_expert(cur, run_id, 1))
        assert not domains.domain_expert_of_runs(cur, ["one"], 9)


def test_events_and_configuration(index: Index, base: Path) -> None:
    write_run(base, config={"model": {"top_k": 2}})
    index.ingest([base])
    with index.cursor() as cur:
        assert events.events(cur, "run").rows() == [(40, 0, None, "note", "the end", "recorded")]
        assert json.loads(runs.list_runs(cur)["config"][0]) == {"model": {"top_k": 2}}


def test_references_use_the_sequences_of_the_last_quarter(index: Index, base: Path) -> None:
    rng = np.random.default_rng(0)
    recorded: dict[int, np.ndarray] = {}
    with RunWriter.create(base, make_info(tokens_per_step=64)) as recorder:
        for step in range(40):
            recorder.record(LoadRecord(step=step, tokens_LE=rng.multinomial(128, [0.25] * 4, size=2)))
            if step % 5 == 0:  # two micro-batches of two sequences of 16 tokens, K = 2
                recorded[step] = rng.multinomial(32, [0.1, 0.2, 0.3, 0.4], size=(4, 2))
                for micro_batch in range(2):
                    part = recorded[step][2 * micro_batch : 2 * micro_batch + 2]
                    recorder.record(sequence_record(step, micro_batch, part))
            recorder.step_done(step)
    index.ingest([base])
    with index.cursor() as cur:
        levels = balance.references(cur, "run")
        unknown = balance.references(cur, "nobody")
    uniform = metrics.uniform_reference(4, 2, 64, 2)
    last = np.concatenate([recorded[30], recorded[35]])
    resampled = metrics.resampled_reference(last, 4, strata=["austen", "python"] * 4)
    assert (levels["uniform_mean"], levels["uniform_p95"]) == pytest.approx(uniform)
    assert (levels["resampled_mean"], levels["resampled_p95"]) == pytest.approx(resampled)
    assert set(unknown.values()) == {None}


@pytest.mark.parametrize("model", [{"top_p": 0.4}, {"random_second": True}, {"routing": "expert_threshold"}])
def test_where_tokens_take_different_numbers_of_experts_chance_has_no_line(
    index: Index, base: Path, model: dict[str, Any]
) -> None:
    with RunWriter.create(base, make_info(config={"model": model})) as recorder:
        recorder.record(LoadRecord(step=0, tokens_LE=np.ones((2, 4), dtype=np.int64)))
        recorder.step_done(0)
    index.ingest([base])
    with index.cursor() as cur:
        assert set(balance.references(cur, "run").values()) == {None}


def growing_batch(base: Path) -> None:
    """40 steps of random routing, K = 2 of 4 experts, two layers: 64 tokens, and 4,096 from step 20 on."""
    rng = np.random.default_rng(4)
    pairs = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]])
    with RunWriter.create(base, make_info(tokens_per_step=64)) as recorder:
        for step in range(40):
            tokens = 64 if step < 20 else 4096
            picked = rng.multinomial(tokens, [1 / 6] * 6, size=2)
            recorder.record(LoadRecord(step=step, tokens_LE=picked @ pairs))
            recorder.step_done(step)


def test_baselines_follow_the_tokens_that_each_step_counted(index: Index, base: Path) -> None:
    growing_batch(base)
    index.ingest([base])
    with index.cursor() as cur:
        end = balance.references(cur, "run")
        along = balance.uniform_series(cur, "run")
        seen = balance.max_vio_series(cur, ["run"])
    # The configuration says 64 tokens; by it this random routing would be far more even than chance.
    assert end["tokens"] == 4096
    assert (end["uniform_mean"], end["uniform_p95"]) == metrics.uniform_reference(4, 2, 4096, 2)
    assert along["tokens"].to_list() == [64] * 20 + [4096] * 20
    for tokens in (64, 4096):
        here = along.filter(tokens=tokens)
        assert here["uniform_mean"].unique().to_list() == [metrics.uniform_reference(4, 2, tokens, 2)[0]]
        measured = seen.filter(pl.col("bin").is_in(here["bin"].implode()))["max_vio"].mean()
        assert measured == pytest.approx(here["uniform_mean"][0], rel=0.25)


def test_the_baseline_of_the_held_out_text_is_that_of_its_counted_tokens(index: Index, base: Path) -> None:
    recorder = RunWriter.create(base, make_info(config={"training": {"final_eval_tokens": 10}}))
    record_steps(recorder, random_counts(4, 2, 4), range(4))
    counts = record_final(recorder, 2, 4, 4, seed=5)
    recorder.finish("finished")
    index.ingest([base])
    with index.cursor() as cur:
        levels = balance.references(cur, "run")
    tokens = int(counts[:, 0].sum()) // 2
    assert levels["held_out_tokens"] == tokens
    assert (levels["held_out_mean"], levels["held_out_p95"]) == metrics.uniform_reference(4, 2, tokens, 2)


def test_references_without_sequences_are_half_known(index: Index, base: Path) -> None:
    write_run(base)
    index.ingest([base])
    with index.cursor() as cur:
        levels: dict[str, Any] = balance.references(cur, "run")
    assert levels["resampled_mean"] is levels["resampled_p95"] is None
    assert levels["uniform_mean"] > 0
