"""What was logged around one update of the biases, against arrays that were written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.queries.bias_step import bias_step
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EvalLoadRecord
from explorer.store import Index

STEPS = 6


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """One run of six steps with an evaluation after the last, and one that logs every tenth step."""
    base = tmp_path / "runs"
    counts = random_counts(STEPS, 2, 4)
    bias = np.random.default_rng(1).normal(size=(STEPS + 1, 2, 4)).astype(np.float32)
    recorder = RunWriter.create(base, make_info("full", num_steps=STEPS))
    record_steps(recorder, counts, range(STEPS), bias[:-1])
    for domain in ("austen", "python"):
        recorder.record(
            EvalLoadRecord(
                step=STEPS, split="held_out", domain=domain, tokens_LE=counts[0], expert_bias_LE=bias[-1]
            )
        )
    recorder.finish("finished")
    sparse = RunWriter.create(base, make_info("sparse", num_steps=30))
    record_steps(sparse, counts[:3], range(0, 30, 10), bias[:3])
    sparse.finish("finished")
    write_run(base, "plain", bias=False)
    with Index.open(tmp_path / "index.duckdb") as opened:
        opened.ingest([base])
        opened.counts, opened.bias = counts, bias  # type: ignore[attr-defined]
        yield opened


def test_counts_and_both_biases_of_every_step(index: Index) -> None:
    counts, bias = index.counts, index.bias  # type: ignore[attr-defined]
    with index.cursor() as cur:
        for layer in range(2):
            for step in range(STEPS):
                frame = bias_step(cur, "full", layer, step)
                assert frame["step"].unique().to_list() == [step]
                assert frame["expert"].to_list() == [0, 1, 2, 3]
                assert frame["tokens"].to_list() == counts[step, layer].tolist()
                assert frame["expert_bias"].to_numpy().tobytes() == bias[step, layer].tobytes()
                assert frame["logged"].to_numpy().tobytes() == bias[step + 1, layer].tobytes()
                where = "training" if step < STEPS - 1 else "evaluation"
                assert frame["logged_in"].unique().to_list() == [where]


def test_between_recorded_steps_the_one_before_counts_and_nothing_follows_it(index: Index) -> None:
    with index.cursor() as cur:
        frame = bias_step(cur, "sparse", 0, 14)
        last = bias_step(cur, "sparse", 0, 29)
    assert frame["step"].unique().to_list() == [10]
    assert frame["next_step"].unique().to_list() == [20]
    assert frame["logged"].null_count() == 4
    assert frame["logged_in"].null_count() == 4
    assert last["step"].unique().to_list() == [20]
    assert last["next_step"].null_count() == 4


def test_a_run_without_biases_has_none_and_an_unknown_one_no_rows(index: Index) -> None:
    with index.cursor() as cur:
        assert bias_step(cur, "plain", 0, 3)["expert_bias"].null_count() == 4
        assert bias_step(cur, "gone", 0, 3).is_empty()
        assert bias_step(cur, "full", 9, 3).is_empty()
