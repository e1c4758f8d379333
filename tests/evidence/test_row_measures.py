"""Measures of a run's series and of its probes."""

from itertools import pairwise
from pathlib import Path

import pytest
from evidence_rows import row
from small_corpus import use_small_corpus

from explorer.config.presets import tiny
from explorer.evidence import plan
from explorer.evidence.measures import measure
from explorer.evidence.pairs import metric_of
from explorer.evidence.registry import EXPERIMENTS
from explorer.recording import RunFolder
from explorer.running.into_folder import train_run


def test_phases_are_measured_from_the_first_bin() -> None:
    experiment = EXPERIMENTS["dilemma"]
    run = plan.run_of(experiment, experiment.arm("global"), "quick", 0)
    series = [1.0, 3.0, *[5.0] * 16, 1.5, 0.5]
    assert metric_of(row(run, {}, series), "surge") == 4.0
    assert metric_of(row(run, {}, series), "relaxation") == pytest.approx(1.0 - 1.0)
    assert metric_of(row(run, {}, []), "surge") is metric_of(row(run, {}, []), "relaxation") is None
    assert metric_of(row(run, {"lm_loss": 2.0}), "lm_loss") == 2.0


def test_churn_counts_changed_experts_from_probe_to_probe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_small_corpus(monkeypatch)
    config = tiny().with_settings({"training.probe_tokens": 64})
    folder = RunFolder(train_run(config, tmp_path, run_id="probed").path)
    rows = folder.read("probe_scores")
    experts_of = {
        (step, layer, token): set(experts)
        for step, layer, token, experts in rows.select(
            "step", "layer", "token", "selected_experts"
        ).iter_rows()
    }
    steps = sorted({step for step, _, _ in experts_of})
    changed = total = 0
    for before, after in pairwise(steps):
        for layer, token in {(layer, token) for step, layer, token in experts_of if step == after}:
            changed += len(experts_of[after, layer, token] - experts_of[before, layer, token])
            total += config.model.top_k
    assert len(steps) > 2
    assert 0 < changed < total
    assert measure(folder)[0]["churn"] == pytest.approx(changed / total)


def test_without_probes_there_is_no_churn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_small_corpus(monkeypatch)
    folder = RunFolder(train_run(tiny(), tmp_path, run_id="plain").path)
    assert measure(folder)[0]["churn"] is None
