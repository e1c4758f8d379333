"""Folders that another program wrote, or damaged: their own pages open, and say what is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import Opener, words
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.recording.run_writer import RunWriter
from explorer.records.records import ProbeRecord
from explorer.ui.shared.plain import plain


@pytest.mark.parametrize("section", ["model", "training", "corpus"])
def test_a_configuration_of_another_form_is_compared_as_a_whole(
    open_app: Opener, tmp_path: Path, section: str
) -> None:
    write_run(tmp_path / "own", "ours", steps=8, seed=0)
    write_run(tmp_path / "own", "theirs", steps=8, seed=1, config={section: "theirs-8x7b"})
    app = open_app(page="compare", runs=["ours", "theirs"])
    assert not app.exception
    assert f"{section} (" in words(app)
    assert "theirs-8x7b" in words(app)


@pytest.mark.parametrize(
    "document", ["[" * 50_000, "[]", '{"tokens": 5, "sequence_length": 0}', '{"sequence_length": 1e999}']
)
def test_a_damaged_probe_document_leaves_tokens_without_texts(
    open_app: Opener, tmp_path: Path, document: str
) -> None:
    recorder = RunWriter.create(tmp_path / "own", make_info(num_steps=2))
    record_steps(recorder, random_counts(2, 2, 4), range(2))
    logits = np.random.default_rng(0).normal(size=(8, 2, 4))
    expert_ids = np.argsort(-logits, -1)[..., :2]
    recorder.record(ProbeRecord(step=2, router_logits_PLE=logits, selected_experts_PLK=expert_ids))
    recorder.finish("finished")
    (recorder.path / "probe.json").write_text(document)
    app = open_app(page="microscope", run="run")
    assert not app.exception
    assert "#0" in words(app) + json.dumps([str(e) for e in app.get("component")], default=str)


@pytest.mark.parametrize(("field", "value"), [("num_experts", 10**9), ("num_experts", 2**20), ("config", 5)])
def test_a_refused_run_is_listed_with_its_reason_and_cannot_be_opened(
    open_app: Opener, tmp_path: Path, field: str, value: Any
) -> None:
    write_run(tmp_path / "own", "good", steps=8)
    write_run(tmp_path / "own", "bad", steps=8)
    file = tmp_path / "own" / "bad" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    app = open_app()
    assert not app.exception
    text = words(app).replace("\u00a0", " ")
    assert plain(f"{field} = {value}: must be").replace("\u00a0", " ") in text
    replay = open_app(page="replay", run="bad")
    assert not replay.exception
    assert "good is shown" in words(replay)
