"""What `make check` says of known vulnerabilities: found, none, and not looked up are three answers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import audit

FINE = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found"}
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["13.0.1"], "aliases": [], "description": "…"}
BAD = {"name": "pillow", "version": "13.0.0", "vulns": [HOLE]}


def test_a_known_vulnerability_fails_and_is_named_with_its_remedy() -> None:
    lines, code = audit.verdict({"dependencies": [FINE, BAD]})
    assert code == 1
    assert lines[0] == "pillow 13.0.0: PYSEC-2026-1, mended in 13.0.1"
    assert "2 packages checked, some known" in lines[1]


def test_packages_without_any_pass() -> None:
    assert audit.verdict({"dependencies": [FINE]}) == (
        ["Vulnerabilities: 1 packages checked, none known."],
        0,
    )


def test_what_the_service_does_not_know_is_named() -> None:
    lines, code = audit.verdict({"dependencies": [FINE, UNKNOWN]})
    assert (lines[-1], code) == ("Not checked: torch.", 0)


@pytest.mark.parametrize("report", [None, {"dependencies": [UNKNOWN]}, {"dependencies": []}])
def test_a_check_that_did_not_happen_does_not_read_as_one_that_passed(report: object) -> None:
    lines, code = audit.verdict(report)  # type: ignore[arg-type]
    assert code == 0
    assert len(lines) == 1
    assert "not checked" in lines[0]


def test_no_answer_at_all_is_no_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert audit.audit(tmp_path / "requirements.txt") is None
