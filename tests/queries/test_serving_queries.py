"""Loads in batches against the arrays that were recorded."""

from pathlib import Path

import numpy as np
import pytest
from store_runs import DOMAINS, make_info, random_counts, record_final, record_steps, write_run

from explorer.queries import serving
from explorer.recording.run_writer import RunWriter
from explorer.records.records import SequenceLoadRecord
from explorer.store import Index


def test_every_step_is_a_batch_where_they_are_few(tmp_path: Path) -> None:
    counts = write_run(tmp_path, steps=30, layers=3)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            batches = serving.load_batches(cur, "run", 12)
            nothing = serving.load_batches(cur, "gone", 12)
    assert batches.tokens.tolist() == counts.tolist()
    assert batches.first_steps.tolist() == batches.last_steps.tolist() == list(range(30))
    assert len(nothing) == 0


@pytest.mark.parametrize("steps", [300, 1500])
def test_a_long_run_is_read_in_few_batches_with_the_same_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Steps 0, 3, 6 …; 1,500 samples are rolled up, 300 are not."""
    monkeypatch.setattr(serving, "MOST_CELLS", 80)
    counts = random_counts(steps, 1, 4)
    recorder = RunWriter.create(tmp_path, make_info("run", layers=1))
    record_steps(recorder, counts, range(0, 3 * steps, 3))
    recorder.finish("finished")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            batches = serving.load_batches(cur, "run", 4)
    assert 2 <= len(batches) <= 20
    for first, last, tokens in zip(batches.first_steps, batches.last_steps, batches.tokens, strict=True):
        assert tokens.tolist() == counts[first // 3 : last // 3 + 1].sum(0).tolist()
    assert batches.tokens.sum() == counts.sum()


def test_held_out_text_by_domain_in_batches_of_sequences(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 9, (2, 13, 2, 4))
    recorder = RunWriter.create(tmp_path, make_info("run"))
    record_steps(recorder, random_counts(5, 2, 4), range(5))
    for micro_batch, domain in enumerate(DOMAINS):
        recorder.record(
            SequenceLoadRecord(
                step=5,
                split="held_out",
                micro_batch=micro_batch,
                domains_B=[domain] * 13,
                tokens_BLE=tokens[micro_batch],
            )
        )
    recorder.step_done(5)
    recorder.finish("finished")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            held_out = serving.held_out_batches(cur, "run")
    assert list(held_out) == list(DOMAINS)
    for expected, batches in zip(tokens, held_out.values(), strict=True):
        slow = [expected[start : start + serving.SEQUENCES_PER_BATCH].sum(0).tolist() for start in (0, 6, 12)]
        assert batches.tokens.tolist() == slow


def test_an_evaluation_without_sequences_is_one_batch_per_domain(tmp_path: Path) -> None:
    write_run(tmp_path, steps=6)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            held_out = serving.held_out_batches(cur, "run")
            nothing = serving.held_out_batches(cur, "gone")
    recorder = RunWriter.create(tmp_path / "again", make_info("run"))
    expected = record_final(recorder, 2, 4, 6)
    recorder.abandon()
    assert [batches.tokens.tolist() for batches in held_out.values()] == [[one.tolist()] for one in expected]
    assert nothing == {}
