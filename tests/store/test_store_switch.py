"""A switch replaces run.json of a growing run: the index follows and keeps the rows that it has."""

import json
from pathlib import Path

import pytest
from store_runs import random_counts, record_steps

from explorer.config.presets import get_preset
from explorer.config.rule_text import parse_rules
from explorer.queries.events import events
from explorer.queries.runs import list_runs
from explorer.recording import run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EventRecord
from explorer.store import Index


@pytest.fixture
def index(tmp_path: Path):
    with Index.open(tmp_path / "index.duckdb") as opened:
        yield opened


def test_the_index_follows_a_switch_and_loads_nothing_again(tmp_path: Path, index: Index) -> None:
    config = get_preset("tiny")
    counts = random_counts(8, 2, 4)
    runs = tmp_path / "runs"
    recorder = RunWriter.create(runs, run_info_from_config(config, run_id="run"))
    record_steps(recorder, counts[:5], range(5))
    recorder.flush()
    first = index.ingest([runs])
    assert first.rows > 0
    # The document alone: no new part, no new status.
    changed = config.switched(5, parse_rules("loss_free"))
    recorder.rules_changed(changed)
    second = index.ingest([runs])
    assert (second.changed, second.rows) == (["run"], 0)
    with index.cursor() as cur:
        row = list_runs(cur).row(0, named=True)
        assert row["balancer"] == "none/5/loss_free"
        assert row["balancer_label"] == changed.label
        assert (row["balancer_family"], row["config_digest"]) == ("scheduled", changed.digest)
        assert row["pair_key"] == config.pair_key
        assert json.loads(row["config"]) == changed.to_dict()
        assert cur.execute("SELECT count(*) FROM expert_loads").fetchone() == (5 * 2 * 4,)
    recorder.record(EventRecord(step=5, kind="balancer_changed", detail="now loss-free"))
    record_steps(recorder, counts[5:], range(5, 8))
    recorder.finish("finished")
    third = index.ingest([runs])
    assert third.problems == {}
    assert index.ingest([runs]).changed == []
    with index.cursor() as cur:
        total, tokens = cur.execute("SELECT count(*), sum(tokens) FROM expert_loads").fetchone() or (0, 0)
        assert (total, tokens) == (8 * 2 * 4, counts.sum())
        assert events(cur, "run")["step"].to_list() == [5]


def test_another_run_in_the_same_folder_is_loaded_afresh(tmp_path: Path, index: Index) -> None:
    """What tells runs apart is still looked at: when they were made, and what they may be compared with."""
    runs = tmp_path / "runs"
    for seed in (0, 1):
        config = get_preset("tiny")
        info = run_info_from_config(config, run_id="run")
        if (runs / "run").exists():
            for file in (runs / "run").iterdir():
                file.unlink()
            (runs / "run").rmdir()
        recorder = RunWriter.create(runs, info)
        counts = random_counts(4, 2, 4, seed=seed)
        record_steps(recorder, counts, range(4))
        recorder.flush()
        index.ingest([runs])
        with index.cursor() as cur:
            rows = cur.execute("SELECT tokens FROM expert_loads ORDER BY step, layer, expert").fetchall()
        assert [tokens for (tokens,) in rows] == counts.ravel().tolist()
