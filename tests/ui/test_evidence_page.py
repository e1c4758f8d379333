"""The Evidence page: every claim, the one that is open, published numbers apart from ours."""

import re
from pathlib import Path

import pytest
from app_pages import Opener, charts, words
from evidence_rows import rows_of, worse_with_raw_scores

from explorer.evidence import results
from explorer.evidence.published import CARDS
from explorer.evidence.registry import CLAIMS
from explorer.figures.evidence_values import name_of
from explorer.ui.shared.panels import KEY


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rows"
    monkeypatch.setattr(results, "FOLDER", folder)

    for row in rows_of("normalisation", range(8), worse_with_raw_scores, series=True).values():
        results.append_row(folder / results.FILE, row)
    return folder


def test_all_claims_are_listed_and_one_is_open(open_app: Opener, recorded: Path, rows: Path) -> None:
    app = open_app(recorded, "evidence", claim="X5")
    assert not app.exception
    answered, others = app.dataframe[0].value, app.dataframe[1].value
    assert len(answered) + len(others) == len(CLAIMS)
    assert list(answered.columns)[:2] == ["verdict", "claim"], "what a phone has room for"
    assert answered["claim"][0] == name_of("X5")
    assert answered["id"][0] == "X5"
    assert not {"· not run", "– not testable here"} & set(answered["verdict"])
    assert set(others["verdict"]) == {"· not run", "– not testable here"}
    text = words(app)
    assert f"**{name_of('X5')}**" in text
    assert not re.search(r"\b[ABCX]\d{1,2}\b", text), "ids say nothing to a reader"
    assert "✓ supported" in text
    assert "It would be contradicted by" in text
    assert charts(app) == 4
    assert set(app.session_state[KEY].panels) == {
        "evidence-verdicts",
        "evidence-claim",
        "evidence-runs",
        "evidence-course",
    }


def test_an_open_claim_names_the_comparison_that_keeps_it_open(
    open_app: Opener, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first comparison holds; MaxVio of the second is as often higher as lower."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "rows")

    def made(arm: str, seed: int) -> dict[str, float | None]:
        is_raw = arm == "raw_1"
        score = 0.5 - 0.2 * is_raw + 0.001 * ((seed * 7) % 5)
        return {"mean_score": score, "max_vio_global": 1 + 0.1 * (-1) ** seed * is_raw, "lm_loss": 4.0}

    for row in rows_of("normalisation", range(8), made).values():
        results.append_row(results.FOLDER / results.FILE, row)
    app = open_app(recorded, "evidence", claim="X5")
    assert not app.exception
    first, second = next(claim for claim in CLAIMS if claim.id == "X5").comparisons
    (change,) = re.findall(r"What would change the verdict:\*\* (.*)", words(app))
    assert change.startswith(
        f"an interval of “{second.words}” that is wholly above 0 after Holm's correction"
    )
    assert "−0.0894 to +0.0894" in change
    assert first.words not in change


def test_published_numbers_stand_apart(open_app: Opener, recorded: Path, rows: Path) -> None:
    text = words(open_app(recorded, "evidence"))
    assert all(card.title in text for card in CARDS)
    assert text.count("Our test at small scale:") == len(CARDS)
    assert "not run (" not in text
    assert "GPQA Diamond" in text
    assert all(number in text for number in ("2602.11688", "2409.04896"))


def test_without_rows_nothing_is_judged(
    open_app: Opener, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "nothing")
    app = open_app(recorded, "evidence")
    assert not app.exception
    assert charts(app) == 1
    assert "python -m explorer experiment run dilemma" in words(app)


def test_an_unknown_claim_is_reported(open_app: Opener, recorded: Path, rows: Path) -> None:
    app = open_app(recorded, "evidence", claim="Z9")
    assert "The link asks for claim = Z9" in words(app)
    assert not app.exception
