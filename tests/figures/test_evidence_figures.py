"""The panels of the Evidence page, from rows whose effects are known."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from evidence_rows import rows_of, worse_with_raw_scores

from explorer.charts import evidence as charts
from explorer.evidence import results
from explorer.evidence.registry import CLAIMS
from explorer.figures import evidence
from explorer.figures.panel import Missing, Panel
from explorer.figures.views import evidence as view_of

NO_STORE: Any = None


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of rows with eight pairs of one experiment."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)

    for row in rows_of("normalisation", range(8), worse_with_raw_scores, series=True).values():
        results.append_row(tmp_path / results.FILE, row)
    return tmp_path


def panels(claim: str) -> dict[str, Panel | Missing]:
    view = view_of.open_view(NO_STORE, [], {"claim": (claim,)})
    assert not view.notices
    return {question.key: question.answer(NO_STORE) for question in view.questions}


def test_a_claim_with_rows_shows_its_comparisons_and_runs(files: Path) -> None:
    shown = panels("X5")
    assert all(isinstance(panel, Panel) for panel in shown.values())
    claim = shown["evidence_claim"]
    assert isinstance(claim, Panel)
    assert claim.finding.count("supported") == 2
    assert "(8 pairs at quick)" in claim.finding
    assert claim.table is not None
    assert claim.table.height == 16
    points = [rows for rows in claim.spec.datasets.values() if {"seed", "value"} <= set(rows.columns)]
    assert points[0].height == 16
    plane = shown["evidence_runs"]
    assert isinstance(plane, Panel)
    assert plane.table is not None
    assert plane.table.height == 16


def test_an_arm_with_more_seeds_is_compared_over_those_of_the_others(files: Path) -> None:
    before = panels("X5")

    def much_worse(arm: str, seed: int) -> dict[str, float | None]:
        return {"mean_score": 0.1, "max_vio_global": 9.0, "lm_loss": 9.0}

    more = rows_of("normalisation", range(8, 40), much_worse, series=True).values()
    for row in (row for row in more if row.arm == next(iter(more)).arm):
        results.append_row(files / results.FILE, row)
    after = panels("X5")
    for key in ("evidence_runs", "evidence_course"):
        first, second = before[key], after[key]
        assert isinstance(first, Panel)
        assert isinstance(second, Panel)
        assert second.finding == first.finding
    runs = after["evidence_runs"]
    assert isinstance(runs, Panel)
    assert "over 8 seeds" in runs.finding
    assert runs.table is not None
    assert runs.table.height == 48


def test_a_claim_without_rows_says_how_to_make_them(files: Path) -> None:
    shown = panels("A8")
    answer = shown["evidence_claim"]
    assert isinstance(answer, Missing)
    assert "python -m explorer experiment run loss-free" in answer.reason
    assert isinstance(panels("A4")["evidence_claim"], Missing)


def test_every_claim_opens(files: Path) -> None:
    for claim in evidence.claim_ids():
        more = {"evidence_answers"} if claim == "006" else set()
        assert set(panels(claim)) == more | {
            "evidence_verdicts",
            "evidence_claim",
            "evidence_runs",
            "evidence_course",
        }


def test_answers_stand_beside_their_chance_level(files: Path) -> None:
    assert isinstance(panels("006")["evidence_answers"], Missing)

    def made(arm: str, seed: int) -> dict[str, float | None]:
        shares = {"top_1": 0.25, "top_2": 0.5, "lynx_keep_0.75": 0.375}
        return {"two_hop_chance_exact_match": 1 / 3} | {
            f"{rule}_decode_8_{name}": share + seed / 1000
            for rule, share in shares.items()
            for name in ("exact_match", "f1")
        }

    for row in rows_of("answers", range(5), made).values():
        results.append_row(files / results.FILE, row)
    panel = panels("006")["evidence_answers"]
    assert isinstance(panel, Panel)
    assert "between 0.252 and 0.502" in panel.finding
    assert "gives 0.333" in panel.finding
    assert panel.table is not None
    assert panel.table.height == 15


def test_equal_answers_of_all_rules_are_one_number(files: Path) -> None:
    def made(arm: str, seed: int) -> dict[str, float | None]:
        answers = {
            f"{rule}_decode_8_{name}": 0.0 for rule in ("top_1", "top_2") for name in ("exact_match", "f1")
        }
        return answers | {"two_hop_chance_exact_match": 1 / 3}

    for row in rows_of("answers", range(5), made).values():
        results.append_row(files / results.FILE, row)
    panel = panels("006")["evidence_answers"]
    assert isinstance(panel, Panel)
    assert panel.finding.startswith("Mean exact match is 0.000 under every rule;")


def test_the_verdicts_are_counted(files: Path) -> None:
    verdicts = panels("X5")["evidence_verdicts"]
    assert isinstance(verdicts, Panel)
    assert verdicts.finding.startswith(
        f"Of {len(CLAIMS)} claims: 1 supported, {len(CLAIMS) - 4} not run and 3 not testable here."
    )
    assert verdicts.table is not None
    assert verdicts.table["id"].to_list() == ["X5"]


def test_the_sql_gives_the_rows(files: Path) -> None:
    claim = panels("X5")["evidence_claim"]
    assert isinstance(claim, Panel)
    (statement,) = claim.statements
    sql = statement.sql.replace("data/evidence", str(files))
    rows = duckdb.execute(sql, dict(statement.params)).fetchall()
    assert len(rows) == 16
    assert {row[0] for row in rows} == {"normalisation"}


def test_new_rows_are_new_panels(files: Path) -> None:
    before = view_of.settings_of("X5")
    rows = rows_of("normalisation", range(9), lambda arm, seed: {"mean_score": 0.5}, series=True)
    for row in rows.values():
        results.append_row(files / results.FILE, row)
    assert view_of.settings_of("X5") != before


def test_an_unknown_claim_is_a_notice(files: Path) -> None:
    view = view_of.open_view(NO_STORE, [], {"claim": ("Z9",)})
    assert view.query == {"claim": ("A9",)}
    assert "Z9" in view.notices[0]


def test_numbers_have_their_sign() -> None:
    assert [charts.signed(value) for value in (0.0, 0.25, -0.5)] == ["0", "+0.25", "−0.5"]
