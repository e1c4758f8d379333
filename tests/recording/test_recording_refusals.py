"""What breaks a rule of the run format is refused in a sentence when it is given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_runs import E, K, L, give, loads, make_info, steps_of
from sentences import pattern

from explorer.errors import RunFolderError
from explorer.recording import RunFolder
from explorer.recording.folder_schema import LARGEST_STEP
from explorer.recording.run_writer import RunWriter
from explorer.recording.schema import KEYS
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    RankLoadRecord,
    Record,
    SequenceLoadRecord,
    StepRecord,
)

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (
            LoadRecord(step=0, tokens_LE=np.full((L, E), 0.5)),
            r"tokens_LE of step 0 = 0.5 at .*integers",
        ),
        (LoadRecord(step=0, tokens_LE=np.ones((L, E), dtype=bool)), "type bool"),
        (LoadRecord(step=0, tokens_LE=np.ones((L, E + 1), dtype=int)), r"shape \(2, 5\).*L = 2, E = 4"),
        (LoadRecord(step=0, tokens_LE=np.ones(L * E, dtype=int)), r"shape \(8,\)"),
        (
            LoadRecord(step=0, tokens_LE=np.full((L, E), -1)),
            "-1 to -1: " + pattern("errors.must_lie_between") + " 0",
        ),
        (
            LoadRecord(step=0, tokens_LE=np.full((L, E), 2**63, dtype=np.uint64)),
            pattern("errors.must_lie_between"),
        ),
        (LoadRecord(step=-1, tokens_LE=np.ones((L, E), dtype=int)), "step = -1"),
        (LoadRecord(step=1.5, tokens_LE=np.ones((L, E), dtype=int)), "step = 1.5"),  # type: ignore[arg-type]
        (LayerRecord(step=0, aux_loss_L=np.ones(L + 1, dtype=np.float32)), "aux_loss_L"),
        (LayerRecord(step=0, aux_loss_L=np.array(["a", "b"])), pattern("recording.numbers")),
        (LayerRecord(step=0, num_layers=L + 1), "num_layers"),
        (
            SequenceLoadRecord(
                step=0, split="train", micro_batch=0, domains_B=["a"], tokens_BLE=np.ones((2, L, E), int)
            ),
            "domains_B of step 0 = 1 names: " + pattern("recording.one_name_of_each", sequences=2),
        ),
        (
            ProbeRecord(
                step=0,
                router_logits_PLE=np.ones((3, L, E), np.float32),
                selected_experts_PLK=np.ones((3, L, K + 1), int),
            ),
            "selected_experts_PLK",
        ),
        ("a word", "not a record"),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused(recorder: RunWriter, record: Record, says: str) -> None:
    with pytest.raises(RunFolderError, match=says):
        recorder.record(record)
    recorder.step_done(0)
    recorder.finish("finished")
    assert RunFolder(recorder.path).read("expert_loads").is_empty()


def test_steps_do_not_go_back(recorder: RunWriter) -> None:
    give(recorder, 0, 1)
    with pytest.raises(RunFolderError, match="LoadRecord.step = 1: " + pattern("errors.at_least") + " 2"):
        recorder.record(loads(1))
    recorder.record(loads(5))
    with pytest.raises(RunFolderError, match=pattern("errors.at_least") + " 5"):
        recorder.record(loads(4))
    with pytest.raises(RunFolderError, match=r"step_done\(1\)"):
        recorder.step_done(1)


ONES = np.ones((L, E), dtype=int)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (
            StepRecord(step=5, tokens_seen=8, lm_loss=1.0),
            "StepRecord of step 5 " + pattern("errors.given_already") + "; .*micro-batches",
        ),
        (LoadRecord(step=5, tokens_LE=ONES), "LoadRecord of step 5 " + pattern("errors.given_already")),
        (LayerRecord(step=5, num_layers=L), "LayerRecord of step 5 " + pattern("errors.given_already")),
        (
            RankLoadRecord(step=5, tokens_RLE=ONES[None]),
            "RankLoadRecord of step 5 " + pattern("errors.given_already"),
        ),
        (
            SequenceLoadRecord(step=5, split="train", micro_batch=1, domains_B=["a"], tokens_BLE=ONES[None]),
            "SequenceLoadRecord of step 5, split train, micro_batch 1 "
            + pattern("recording.micro_batches_hint"),
        ),
        (
            EvalRecord(step=5, split="held_out", domain="a", lm_loss=1.0, num_tokens=1, num_bytes=1),
            "EvalRecord of step 5, split held_out, domain a " + pattern("errors.given_already"),
        ),
        (
            EvalLoadRecord(step=5, split="held_out", domain="a", tokens_LE=ONES),
            "EvalLoadRecord of step 5, split held_out, domain a " + pattern("errors.given_already"),
        ),
        (
            ProbeRecord(
                step=5,
                router_logits_PLE=np.ones((3, L, E), np.float32),
                selected_experts_PLK=np.ones((3, L, K), int),
            ),
            "ProbeRecord of step 5 " + pattern("errors.given_already"),
        ),
    ],
)
def test_one_key_is_given_once(recorder: RunWriter, record: Record, says: str) -> None:
    recorder.record(record)
    with pytest.raises(RunFolderError, match=says):
        recorder.record(record)
    recorder.step_done(5)
    recorder.record(replace(record, step=6))
    recorder.finish("finished")
    for table, keys in KEYS.items():
        frame = RunFolder(recorder.path).read(table)
        assert frame.select(keys).is_unique().all(), table


def test_another_micro_batch_domain_or_event_of_the_step_is_another_row(recorder: RunWriter) -> None:
    for index, domain in enumerate(("a", "b")):
        recorder.record(
            SequenceLoadRecord(
                step=0, split="train", micro_batch=index, domains_B=["a"], tokens_BLE=ONES[None]
            )
        )
        recorder.record(
            EvalRecord(step=0, split="held_out", domain=domain, lm_loss=1.0, num_tokens=1, num_bytes=1)
        )
        recorder.record(EventRecord(step=0, kind="note", detail="the same"))
    recorder.step_done(0)
    recorder.flush()
    run = RunFolder(recorder.path)
    assert [len(run.read(t)) for t in ("sequence_loads", "evals", "events")] == [2 * L * E, 2, 2]


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"wall_time_s": "x"},
            "wall_time_s = 'x': " + pattern("recording.one_number_not_remedy", kind="str"),
        ),
        ({"wall_time_s": True}, "wall_time_s = True: " + pattern("errors.number_not_truth_value")),
        (
            {"tokens_per_second": np.array([1.0, 2.0])},
            "tokens_per_second = .*: " + pattern("errors.one_number"),
        ),
        ({"tokens_per_second": 10**400}, pattern("errors.in_range_of") + " float64"),
    ],
)
def test_a_figure_that_is_no_number_is_refused(recorder: RunWriter, given: dict[str, Any], says: str) -> None:
    with pytest.raises(RunFolderError, match=says):
        recorder.set_throughput(**given)
    recorder.set_throughput(wall_time_s=np.array([1.5]), tokens_per_second=np.float32("inf"))
    give(recorder, 0)
    recorder.finish("finished")
    status = RunFolder(recorder.path).status
    assert (status.state, status.wall_time_s, status.tokens_per_second) == ("finished", 1.5, None)


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ([1, 2], r"results = \[1, 2\]: " + pattern("recording.map_of_results")),
        ({"deep": nested(80)}, "results " + pattern("recording.nested_deeper", levels=63)),
        ({"long": 10**5000}, "results " + pattern("errors.not_json")),
        ({"large": ["x" * 2**20] * 40}, "results: " + pattern("recording.most_bytes", bytes="33,554,432")),
    ],
)
def test_results_that_no_reader_takes_are_refused_when_they_are_given(
    recorder: RunWriter, results: Any, says: str
) -> None:
    with pytest.raises(RunFolderError, match=says):
        recorder.set_results(results)
    recorder.set_results({"deep": nested(62)})
    recorder.finish("finished")
    assert RunFolder(recorder.path).status.results == {"deep": nested(62)}


def test_documents_are_as_deep_as_a_reader_takes(tmp_path: Path) -> None:
    for deep in (80, 100_000):
        with pytest.raises(RunFolderError, match="config " + pattern("recording.nested_deeper", levels=63)):
            replace(make_info(), config={"deep": nested(deep)})
    recorder = RunWriter.create(tmp_path, replace(make_info(), config={"deep": nested(62)}))
    with pytest.raises(RunFolderError, match=r"deep\.json " + pattern("recording.nested_deeper", levels=64)):
        recorder.save_json("deep", nested(65))
    recorder.save_json("deep", nested(64))
    run = RunFolder(recorder.path)
    assert (run.info.config, run.document("deep")) == ({"deep": nested(62)}, nested(64))


def test_a_step_beyond_what_a_reader_takes_is_refused_and_nothing_is_lost(recorder: RunWriter) -> None:
    give(recorder, 0)
    with pytest.raises(RunFolderError, match=r"LoadRecord\.step = 1152921504606846976: must be a whole"):
        recorder.record(loads(2**60, 1))
    with pytest.raises(
        RunFolderError, match="from 0 to 9007199254740991; " + pattern("recording.call_step_done")
    ):
        recorder.step_done(2**60)
    recorder.finish("finished")
    with pytest.raises(
        RunFolderError, match="first_step = 1152921504606846976: " + pattern("errors.whole_number")
    ):
        RunWriter.resume(recorder.path, 2**60)
    run = RunFolder(recorder.path)
    assert (run.status.state, steps_of(recorder.path)) == ("finished", [0])
    last = RunWriter.resume(recorder.path, LARGEST_STEP)
    give(last, LARGEST_STEP)
    last.finish("finished")
    assert (run.status.last_step, steps_of(recorder.path)) == (LARGEST_STEP, [0, LARGEST_STEP])


def test_no_status_is_written_that_breaks_a_rule_of_it(recorder: RunWriter) -> None:
    """Whatever way a wrong value takes into it."""
    recorder._figures["tokens_per_second"] = "fast"
    give(recorder, 0)
    with pytest.raises(
        RunFolderError, match='of run: tokens_per_second = "fast": ' + pattern("recording.number")
    ):
        recorder.flush()
    recorder.set_throughput(tokens_per_second=1.0)
    recorder.finish("finished")
    assert steps_of(recorder.path) == [0]
