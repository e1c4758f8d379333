"""Parts are merged while a run goes on, and compacted at its end."""

import itertools

import pytest
from recording_runs import E, L, give, steps_of

from explorer.recording import RunFolder, compaction
from explorer.recording import writer as writer_module
from explorer.recording.run_writer import RunWriter

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


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
