"""What other pages take from the evidence: values with their interval, never typed."""

from pathlib import Path
from typing import Any

import pytest
from evidence_rows import rows_of
from sentences import pattern

from explorer.errors import ConfigError
from explorer.evidence import results
from explorer.evidence.report import evaluate
from explorer.figures import evidence_values
from explorer.figures.facts import catalogue
from explorer.figures.facts.recorded import MissingRun

NO_RUNS: Any = None


def add_rows(folder: Path, seeds: range) -> dict[str, results.Row]:
    rows = rows_of(
        "normalisation",
        seeds,
        lambda arm, seed: {"mean_score": 0.5 - (arm == "raw_1") * (0.2 + 0.01 * seed), "max_vio_global": 1.0},
    )
    for row in rows.values():
        results.append_row(folder / results.FILE, row)
    return rows


def test_a_fact_is_the_effect_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    rows = add_rows(tmp_path, range(6))
    (expected,) = [result.results[0] for result in evaluate(rows) if result.claim.id == "X5"]
    assert expected.effect is not None
    values = {
        what: catalogue.value_of(NO_RUNS, f"evidence[X5; 1; {what}]")
        for what in ("effect", "half_width", "pairs", "scale", "verdict")
    }
    assert values == {
        "effect": pytest.approx(-0.225),
        "half_width": pytest.approx(expected.effect.half_width),
        "pairs": 6,
        "scale": "quick",
        "verdict": expected.verdict,
    }
    assert "−0.225" in evidence_values.over_seeds("X5")


def test_fewer_than_five_pairs_have_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    add_rows(tmp_path, range(4))
    assert evidence_values.over_seeds("X5") == ""
    for number in ("1", "9", "first"):
        with pytest.raises(MissingRun, match=pattern("lessons.no_pairs", number=number, claim="X5")):
            catalogue.value_of(NO_RUNS, f"evidence[X5; {number}; effect]")
    with pytest.raises(ConfigError, match="what"):
        catalogue.value_of(NO_RUNS, "evidence[X5; 1; mean]")


def test_new_rows_change_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    add_rows(tmp_path, range(5))
    assert catalogue.value_of(NO_RUNS, "evidence[X5; 1; pairs]") == 5
    add_rows(tmp_path, range(7))
    assert catalogue.value_of(NO_RUNS, "evidence[X5; 1; pairs]") == 7
