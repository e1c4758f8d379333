"""Ingest: every part once, and one transaction per run."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from indexed import counts_of, loads_in, loads_on_disk, rewrite
from sentences import sentence
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.recording import RunFolder
from explorer.recording.run_writer import RunWriter
from explorer.store import Index


def test_every_table_of_a_run_arrives(index: Index, runs: Path) -> None:
    write_run(runs)
    report = index.ingest([runs])
    folder = RunFolder(runs / "run")
    counts = counts_of(index)
    for table in ("steps", "expert_loads", "evals", "eval_loads", "events"):
        assert counts[table] == folder.read(table).height > 0
    assert report.changed == ["run"]
    assert report.rows == sum(counts[t] for t in ("steps", "expert_loads", "evals", "eval_loads", "events"))


def test_a_second_ingest_changes_nothing(index: Index, runs: Path) -> None:
    write_run(runs, finish=False)
    index.ingest([runs])
    before = counts_of(index)
    report = index.ingest([runs])
    assert (report.rows, report.parts, report.changed) == (0, 0, [])
    assert counts_of(index) == before


def test_a_fresh_look_at_a_known_run_takes_no_part_twice(tmp_path: Path, runs: Path) -> None:
    write_run(runs, finish=False)
    for _ in range(2):
        with Index.open(tmp_path / "again.duckdb") as index:
            index.ingest([runs])
            assert loads_in(index) == loads_on_disk(runs / "run")


def test_parts_arrive_one_by_one(index: Index, runs: Path) -> None:
    counts = random_counts(40, 2, 4)
    recorder = RunWriter.create(runs, make_info())
    for start in range(0, 40, 8):
        record_steps(recorder, counts[start : start + 8], range(start, start + 8))
        recorder.flush()
        index.ingest([runs])
        assert loads_in(index) == loads_on_disk(runs / "run")
        assert len(loads_in(index)) == (start + 8) * 8
    recorder.finish("finished")
    index.ingest([runs])  # compaction: another generation
    assert loads_in(index) == loads_on_disk(runs / "run")
    with index.cursor() as cur:
        assert cur.execute("SELECT generation, state FROM runs").fetchone() == (1, "finished")
        ordinals = cur.execute("SELECT DISTINCT ordinal, step FROM layer_metrics ORDER BY 1").fetchall()
    assert ordinals == [(i, i) for i in range(40)]


def merge_parts(folder: Path, table: str) -> None:
    """Replace the parts of a table by one, as a writer does when they become many."""
    parts = RunFolder(folder).parts(table)
    merged = pl.concat([pl.read_parquet(part.path) for part in parts])
    merged.write_parquet(folder / f"{table}-0-{parts[0].first}-{parts[-1].last}.parquet")
    for part in parts:
        part.path.unlink()


def test_merged_parts_are_not_taken_twice(index: Index, runs: Path) -> None:
    counts = random_counts(40, 2, 4)
    recorder = RunWriter.create(runs, make_info())
    for start in (0, 10, 20):
        record_steps(recorder, counts[start : start + 10], range(start, start + 10))
        recorder.flush()
    index.ingest([runs])
    record_steps(recorder, counts[30:], range(30, 40))
    recorder.flush()
    merge_parts(runs / "run", "expert_loads")  # known parts and one that was never seen
    report = index.ingest([runs])
    assert loads_in(index) == loads_on_disk(runs / "run")
    assert report.rows == 10 * (8 + 1)


def test_a_new_attempt_replaces_the_steps_from_its_start(index: Index, runs: Path) -> None:
    counts = random_counts(40, 2, 4)
    recorder = RunWriter.create(runs, make_info())
    record_steps(recorder, counts[:30], range(30))
    recorder.finish("stopped")
    index.ingest([runs])
    again = RunWriter.resume(runs / "run", 12)
    record_steps(again, counts[20:], range(12, 32))
    again.flush()
    index.ingest([runs])
    rows = loads_in(index)
    assert rows == loads_on_disk(runs / "run")
    assert {row[0] for row in rows} == set(range(32))
    at_12 = np.array([row[3] for row in rows if row[0] == 12]).reshape(2, 4)
    assert (at_12 == counts[20]).all()


def test_a_new_attempt_takes_steps_away_before_it_brings_any(index: Index, runs: Path) -> None:
    write_run(runs, steps=30)
    index.ingest([runs])
    RunWriter.resume(runs / "run", 12)
    index.ingest([runs])
    assert loads_in(index) == loads_on_disk(runs / "run")
    assert {row[0] for row in loads_in(index)} == set(range(12))
    assert counts_of(index)["evals"] == 0


def test_a_folder_made_again_under_the_same_name_is_loaded_again(index: Index, runs: Path) -> None:
    write_run(runs, finish=False)
    index.ingest([runs])
    shutil.rmtree(runs / "run")
    write_run(runs, finish=False, seed=5)
    index.ingest([runs])
    assert loads_in(index) == loads_on_disk(runs / "run")


def test_a_part_deleted_by_hand_takes_its_rows_along(index: Index, runs: Path) -> None:
    write_run(runs, finish=False)
    index.ingest([runs])
    (runs / "run" / "expert_loads-0-10-19.parquet").unlink()
    index.ingest([runs])
    assert loads_in(index) == loads_on_disk(runs / "run")
    assert len(loads_in(index)) == 30 * 8


def test_parts_that_arrive_out_of_order_are_still_right(index: Index, runs: Path, tmp_path: Path) -> None:
    write_run(runs, finish=False)
    early = runs / "run" / "expert_loads-0-10-19.parquet"
    early.rename(tmp_path / "kept")
    index.ingest([runs])
    (tmp_path / "kept").rename(early)
    index.ingest([runs])
    assert loads_in(index) == loads_on_disk(runs / "run")
    with index.cursor() as cur:
        ordinals = cur.execute("SELECT DISTINCT ordinal, step FROM expert_loads ORDER BY 1").fetchall()
    assert ordinals == [(i, i) for i in range(40)]


def test_a_removed_run_vanishes(index: Index, runs: Path) -> None:
    write_run(runs)
    write_run(runs, "other")
    index.ingest([runs])
    shutil.rmtree(runs / "run")
    report = index.ingest([runs])
    assert report.removed == ["run"]
    assert loads_in(index) == []
    assert len(loads_in(index, "other")) == 320
    shutil.rmtree(runs / "other")
    index.ingest([runs])
    assert set(counts_of(index).values()) == {0}


def test_missing_nullable_columns_are_null_and_unknown_ones_ignored(index: Index, runs: Path) -> None:
    write_run(runs)
    path = runs / "run" / "expert_loads-g1.parquet"
    rewrite(path, lambda f: f.drop("mean_score", "run_id").with_columns(novelty=pl.lit(1)))
    assert index.ingest([runs]).problems == {}
    with index.cursor() as cur:
        result = cur.execute("SELECT count(*), count(mean_score), count(expert_bias) FROM expert_loads")
        assert result.fetchone() == (320, 0, 320)


def test_of_two_folders_with_one_run_id_the_first_directory_counts(
    index: Index, runs: Path, tmp_path: Path
) -> None:
    write_run(runs, steps=20)
    write_run(tmp_path / "data" / "runs", steps=40)
    report = index.ingest([tmp_path / "data" / "runs", runs])
    assert len(report.notices) == 1
    assert str(runs / "run") in report.notices[0]
    assert sentence("store.run_id_taken", run="run") in report.notices[0]
    assert len(loads_in(index)) == 320
    with index.cursor() as cur:
        assert cur.execute("SELECT dir_kind FROM runs").fetchall() == [("shipped",)]


@pytest.mark.parametrize("name", ["it's", "a [b] *c?", "ünï cødé"])
def test_any_folder_name_works(index: Index, tmp_path: Path, name: str) -> None:
    write_run(tmp_path / name, finish=False)
    assert index.ingest([tmp_path / name]).problems == {}
    assert len(loads_in(index)) == 320


def test_a_new_index_shows_runs_at_work_and_plain_arms_first(index: Index, runs: Path) -> None:
    for seed in (1, 0):
        write_run(runs, f"none-seed{seed}", steps=8, seed=seed)
        write_run(runs, f"aux_loss-coeff-1-seed{seed}", steps=8, seed=seed)
    write_run(runs, "zz-at-work-seed5", steps=8, seed=5, finish=False)
    assert index.ingest([runs]).changed == [
        "zz-at-work-seed5",
        "none-seed0",
        "aux_loss-coeff-1-seed0",
        "none-seed1",
        "aux_loss-coeff-1-seed1",
    ]


def test_missing_directories_and_stray_files_are_fine(index: Index, runs: Path) -> None:
    write_run(runs)
    (runs / "stray.txt").write_text("x")
    report = index.ingest([runs, runs / "nowhere"])
    assert report.runs == 1


def test_the_state_of_a_live_run_follows_its_status(index: Index, runs: Path) -> None:
    counts = random_counts(4, 2, 4)
    recorder = RunWriter.create(runs, make_info())
    record_steps(recorder, counts[:2], range(2))
    recorder.flush()
    index.ingest([runs])
    with index.cursor() as cur:
        assert cur.execute("SELECT state, last_step FROM runs").fetchone() == ("running", 1)
    recorder.finish("stopped", "by hand")
    index.ingest([runs])
    with index.cursor() as cur:
        assert cur.execute("SELECT state, message FROM runs").fetchone() == ("stopped", "by hand")


def test_runs_keep_their_configuration_as_json(index: Index, runs: Path) -> None:
    write_run(runs, config={"model": {"top_k": 2}})
    index.ingest([runs])
    with index.cursor() as cur:
        assert cur.execute("SELECT config->>'$.model.top_k' FROM runs").fetchone() == ("2",)
