"""The writer: what is given is what is read, and what breaks a rule is refused in a sentence."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_runs import E, K, L, give, loads, make_info, steps_of
from sentences import pattern

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, compaction, run_writer
from explorer.recording import writer as writer_module
from explorer.recording.folder_schema import LARGEST_STEP, MAX_TEXT
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
    Recorder,
    SequenceLoadRecord,
    StepRecord,
)


@pytest.fixture(autouse=True)
def _flush_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", float("inf"))


@pytest.fixture
def recorder(tmp_path: Path) -> RunWriter:
    return RunWriter.create(tmp_path, make_info())


def test_it_is_a_recorder(recorder: RunWriter) -> None:
    assert isinstance(recorder, Recorder)


def test_a_run_is_written_and_read(tmp_path: Path) -> None:
    info = make_info()
    with RunWriter.create(tmp_path, info) as recorder:
        give(recorder, *range(5))
    run = RunFolder(tmp_path / "run")
    table = run.read("expert_loads").sort("step", "layer", "expert")
    assert table["tokens"].to_list() == [s for s in range(5) for _ in range(L * E)]
    assert table["expert_bias"].null_count() == 5 * L * E
    assert table["dropped_tokens"].to_list() == [0] * (5 * L * E)
    assert (run.last_step, run.generation, run.status.state) == (4, 1, "finished")
    assert run.info == info


def test_what_is_flushed_can_be_read_while_the_run_goes_on(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.flush()
    give(recorder, 1)
    run = RunFolder(recorder.path)
    assert steps_of(recorder.path) == [0]
    assert (run.last_step, run.status.state) == (0, "running")


def test_a_flush_writes_whole_steps_only(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.record(loads(1))
    recorder.record(EvalRecord(step=1, split="held_out", domain="a", lm_loss=1.0, num_tokens=1, num_bytes=1))
    recorder.flush()
    assert steps_of(recorder.path, "expert_loads") == [0] * L * E
    assert steps_of(recorder.path, "evals") == []
    recorder.step_done(1)
    recorder.flush()
    assert steps_of(recorder.path, "evals") == [1]


def test_step_done_flushes_by_itself_once_the_interval_is_over(
    recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", 0.0)
    give(recorder, 0)
    recorder._settle(wait=True)
    assert steps_of(recorder.path) == [0]


def test_step_done_flushes_when_much_is_in_memory(
    recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "MAX_PENDING_CELLS", 3 * L * E)
    give(recorder, 0, 1)
    assert steps_of(recorder.path) == []
    give(recorder, 2)
    recorder._settle(wait=True)
    assert steps_of(recorder.path) == [0, 1, 2]


def test_a_buffer_that_the_loop_reuses_is_copied(recorder: RunWriter) -> None:
    counts, bias = np.ones((L, E), dtype=np.int64), np.ones((L, E), dtype=np.float32)
    recorder.record(LoadRecord(step=0, tokens_LE=counts, expert_bias_LE=bias))
    counts += 41
    bias += 41
    recorder.step_done(0)
    recorder.flush()
    table = RunFolder(recorder.path).read("expert_loads")
    assert set(table["tokens"]) == {1}
    assert set(table["expert_bias"]) == {1.0}


def test_counts_above_two_to_the_53_stay_exact(recorder: RunWriter) -> None:
    large = np.arange(L * E).reshape(L, E) + 2**53 + 1
    recorder.record(LoadRecord(step=0, tokens_LE=large))
    recorder.finish("finished")
    table = RunFolder(recorder.path).read("expert_loads").sort("layer", "expert")
    assert table["tokens"].to_list() == large.reshape(-1).tolist()


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


def test_an_evaluation_after_the_last_step_is_kept(recorder: RunWriter) -> None:
    give(recorder, 0, 1)
    final = EvalRecord(step=2, split="held_out", domain="a", lm_loss=1.0, num_tokens=1, num_bytes=1)
    recorder.record(final)
    recorder.finish("finished")
    assert steps_of(recorder.path, "evals") == [2]
    assert RunFolder(recorder.path).last_step == 1


def test_a_failed_run_keeps_whole_steps_and_events(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0)
            recorder.record(loads(1))
            recorder.record(EventRecord(step=1, kind="not_finite", detail="the loss is NaN"))
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        train()
    run = RunFolder(tmp_path / "run")
    assert set(steps_of(run.path, "expert_loads")) == {0}
    assert steps_of(run.path, "events") == [1]
    assert (run.status.state, run.status.message) == ("failed", "ZeroDivisionError: by zero")
    assert run.last_step == 0


def test_ctrl_c_leaves_an_interrupted_run(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            give(recorder, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    status = RunFolder(tmp_path / "run").status
    assert (status.state, status.message) == ("interrupted", "KeyboardInterrupt")


def test_finish_says_how_it_ended_and_ends_it(recorder: RunWriter) -> None:
    give(recorder, 0)
    recorder.set_results({"max_vio": np.float32(0.5), "nothing": float("nan"), "losses": np.array([1, 2])})
    with pytest.raises(RunFolderError, match="state = 'done'"):
        recorder.finish("done")
    recorder.finish("stopped", "by the user")
    recorder.finish("failed")
    status = RunFolder(recorder.path).status
    assert (status.state, status.message) == ("stopped", "by the user")
    assert status.results == {"max_vio": 0.5, "nothing": None, "losses": [1, 2]}
    with pytest.raises(RunFolderError, match=pattern("recording.finished")):
        give(recorder, 1)


def test_throughput_comes_from_the_steps_unless_given(recorder: RunWriter) -> None:
    give(recorder, 0, 1)
    recorder.flush()
    status = RunFolder(recorder.path).status
    assert (status.wall_time_s, status.tokens_per_second, status.num_steps) == (2.0, 8.0, 9)
    recorder.set_throughput(wall_time_s=3.0, tokens_per_second=100.0)
    give(recorder, 2)
    recorder.flush()
    status = RunFolder(recorder.path).status
    assert (status.wall_time_s, status.tokens_per_second) == (3.0, 100.0)


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_a_long_message_is_cut_and_the_status_can_be_read(tmp_path: Path) -> None:
    recorder = RunWriter.create(tmp_path, make_info())
    give(recorder, 0)
    with pytest.raises(ValueError, match="xxx"), recorder:
        raise ValueError("x" * 20_000)
    status = RunFolder(recorder.path).status
    assert (status.state, len(status.message)) == ("failed", MAX_TEXT)
    assert status.message.startswith("ValueError: xxx")
    assert status.message.endswith("x…")
    again = RunWriter.resume(recorder.path, 1)
    again.finish("stopped", "y" * MAX_TEXT)
    assert RunFolder(recorder.path).status.message == "y" * MAX_TEXT


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


def test_documents_lie_beside_the_tables(recorder: RunWriter) -> None:
    recorder.save_json("probe", {"tokens": np.arange(3)})
    recorder.save_json("tokenizer.json", ["é"])
    run = RunFolder(recorder.path)
    assert run.document("probe") == {"tokens": [0, 1, 2]}
    assert run.document("tokenizer") == ["é"]
    for name in ("run", "status.json", "../other", "a/b", ".hidden", "attempts", "manifest"):
        with pytest.raises(RunFolderError, match=pattern("recording.file_name")):
            recorder.save_json(name, {})


def test_compacted_files_are_sorted_by_layer_expert_step(recorder: RunWriter) -> None:
    for step in range(4):
        give(recorder, step)
        recorder.flush()
    recorder.finish("finished")
    files = sorted(p.name for p in recorder.path.glob("*.parquet"))
    assert files == ["expert_loads-g1.parquet", "steps-g1.parquet"]
    table = RunFolder(recorder.path).read("expert_loads", ["layer", "expert", "step"])
    assert table.rows() == sorted(table.rows())


def test_a_large_table_is_sorted_by_a_few_layers_at_a_time(
    recorder: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(6):
        give(recorder, step)
        recorder.flush()
    before = RunFolder(recorder.path).read("expert_loads")
    monkeypatch.setattr(compaction, "CHUNK_ROWS", 3 * L * E)
    recorder.finish("finished")
    after = RunFolder(recorder.path).read("expert_loads")
    assert after.equals(before.sort("layer", "expert", "step"))
    assert sorted(p.name for p in recorder.path.glob("*.parquet*")) == [
        "expert_loads-g1.parquet",
        "steps-g1.parquet",
    ]


def test_many_parts_are_merged(recorder: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_PARTS", 4)
    for step in range(30):
        give(recorder, step)
        recorder.flush()
        assert len(list(recorder.path.glob("steps-*.parquet"))) <= 4
        assert steps_of(recorder.path) == list(range(step + 1))
    ranges = [(p.first, p.last) for p in RunFolder(recorder.path).parts("steps")]
    assert ranges[0][0] == 0
    assert all(left[1] + 1 == right[0] for left, right in itertools.pairwise(ranges))


def test_a_merge_leaves_much_larger_parts_alone(recorder: RunWriter) -> None:
    give(recorder, *range(3000))
    recorder.flush()
    for step in (3000, 3001):
        give(recorder, step)
        recorder.flush()
    left = compaction.merge(RunFolder(recorder.path).parts("expert_loads"))
    assert [(p.first, p.last) for p in left] == [(0, 2999), (3000, 3001)]


def test_a_merge_holds_a_bounded_number_of_rows(recorder: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MAX_MERGED_ROWS", 3 * L * E)
    for step in range(5):
        give(recorder, step)
        recorder.flush()
    left = compaction.merge(RunFolder(recorder.path).parts("expert_loads"))
    assert [(p.first, p.last) for p in left] == [(0, 0), (1, 1), (2, 4)]


def test_recording_loads_no_heavy_package() -> None:
    code = (
        "import sys, explorer.recording\n"
        "heavy = {'torch', 'duckdb', 'streamlit', 'altair', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
