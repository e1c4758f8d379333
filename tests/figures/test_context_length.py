"""Imbalance beyond the training length: means of the rows, every one of them a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from evidence_rows import rows_of

from explorer.charts import theme
from explorer.evidence import results
from explorer.evidence.experiment import Metrics
from explorer.figures import context_length
from explorer.figures.arm_set import ArmSet
from explorer.figures.context_length import FACTORS
from explorer.figures.evidence import EvidenceSettings
from explorer.figures.panel import Missing, Panel

NO_STORE: Any = None


def metrics(arm: str, seed: int) -> Metrics:
    size = 1.0 if arm == "loss_free" else 0.5
    return {
        f"{name}_{factor}x": size * factor + shift + 0.1 * (seed - 2)
        for factor in FACTORS
        for name, shift in (("max_vio", 1.0), ("excess", 0.0))
    }


def answer(folder: Path, seeds: int, monkeypatch: pytest.MonkeyPatch) -> Panel | Missing:
    monkeypatch.setattr(results, "FOLDER", folder)
    for row in rows_of("long-context", range(seeds), metrics).values():
        results.append_row(folder / results.FILE, row)
    settings = EvidenceSettings(claim="002", version=results.fingerprint())
    return context_length.by_length(NO_STORE, ArmSet.of(()), settings)


def test_every_model_is_a_line_and_the_sentence_has_the_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = answer(tmp_path, 5, monkeypatch)
    assert isinstance(panel, Panel)
    assert panel.table.height == 2 * 5 * len(FACTORS)
    assert (
        "With loss-free, MaxVio goes from 2.00 to 9.00, its excess over chance from +1 to +8."
        in panel.finding
    )
    assert "With aux, sequence, MaxVio goes from 1.50 to 5.00, its excess" in panel.finding
    drawn = json.dumps(panel.spec.vega).lower()
    for family, scope in (("loss_free", "global_batch"), ("aux_loss", "sequence")):
        assert theme.family_ink(family, scope).light.lower() in drawn
    own = panel.table.filter(arm="loss-free", seed=4, factor=8)
    assert own["excess"].to_list() == [pytest.approx(8.2)]


def test_four_seeds_are_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(answer(tmp_path, 4, monkeypatch), Missing)
