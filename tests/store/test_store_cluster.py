"""How rows lie in the index: a view of one layer must be able to skip the others."""

from itertools import pairwise
from pathlib import Path

import pytest
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.recording.run_writer import RunWriter
from explorer.store import Index, cluster


def layers_in_order_of_storage(index: Index, table: str = "expert_loads") -> list[int]:
    with index.cursor() as cur:
        return [row[0] for row in cur.execute(f"SELECT layer FROM raw.{table} ORDER BY rowid").fetchall()]


def test_a_whole_run_is_stored_by_layer(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", layers=3)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        layers = layers_in_order_of_storage(index)
    assert layers == sorted(layers)


def test_a_growing_run_is_sorted_by_layer_once_enough_rows_have_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SEGMENT_ROWS", 120)
    counts = random_counts(40, 3, 4)
    recorder = RunWriter.create(tmp_path, make_info(layers=3))
    inversions = []
    with Index.open(tmp_path / "index.duckdb") as index:
        for start in range(0, 40, 5):
            record_steps(recorder, counts[start : start + 5], range(start, start + 5))
            recorder.flush()
            index.ingest([tmp_path])
            layers = layers_in_order_of_storage(index)
            inversions.append(sum(a > b for a, b in pairwise(layers)))
    # Descents: each look adds one, until two looks (120 rows) are sorted into one segment.
    assert inversions == [0, 1, 1, 2, 2, 3, 3, 4]
