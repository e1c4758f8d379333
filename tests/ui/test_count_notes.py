"""Pages say once that the counts of a run do not add up, and say nothing of runs whose counts do."""

from pathlib import Path

import numpy as np
import pytest
from app_pages import Opener, words
from sentences import sentence

from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord
from explorer.ui.server.services import services
from explorer.ui.shared import cached, count_notes

SAID = sentence(
    "count_sums.note",
    share="0.125",
    counted=256,
    expected="2,048",
    step=9,
    cause="one of 8 ranks or micro-batches",
)


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one_rank")
    info = RunInfo(
        run_id="rank-0", name="", num_moe_layers=2, num_experts=4, top_k=2, tokens_per_step=1024, num_steps=20
    )
    with RunWriter.create(folder, info) as recorder:
        for step in range(20):
            recorder.record(StepRecord(step=step, tokens_seen=1024 * (step + 1), lm_loss=1.0))
            recorder.record(LoadRecord(step=step, tokens_LE=np.full((2, 4), 64)))
            recorder.step_done(step)
    return folder


def test_replay_says_it_once(open_app: Opener, one_rank: Path) -> None:
    app = open_app(one_rank, "replay", run="rank-0")
    assert not app.exception
    assert [warning.value for warning in app.warning] == [SAID]


def test_compare_says_of_which_run(open_app: Opener, one_rank: Path) -> None:
    app = open_app(one_rank, "compare", runs="rank-0")
    assert not app.exception
    assert [warning.value for warning in app.warning] == [
        sentence("glossary.rule_not_stated", metric="rule not stated", note=SAID)
    ]


def test_nothing_is_said_of_any_shipped_run(open_shipped: Opener) -> None:
    app = open_shipped("replay")
    runs = cached.list_runs()
    with services().index.cursor() as cur:
        rows = cur.execute("SELECT count(DISTINCT run_id) FROM layer_metrics").fetchone()
    assert rows is not None
    assert rows[0] > 30
    assert [note for run in runs for note in count_notes.sentences(run)] == []
    assert "add up to" not in words(app)
