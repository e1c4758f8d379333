"""The findings of a large run are computed once, when it is complete in the index."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unhealthy_runs import Router, write

from explorer.health import Finding, diagnose, read_folder
from explorer.queries import diagnosis as query
from explorer.recording import RunFolder
from explorer.store import Index
from explorer.store import diagnosis as stored


def refuse(*_: Any) -> list[Finding]:
    raise ValueError("not to be asked")


def findings_in_index(base: Path) -> tuple[list[Finding], int]:
    """The findings of the run `run` below a folder, and the number of stored diagnoses."""
    with Index.open(base / "index.duckdb") as index:
        assert not index.ingest([base]).problems
        with index.cursor() as cur:
            row = cur.execute("SELECT count(*) FROM diagnoses").fetchone()
            assert row is not None
            return query.findings(cur, "run"), row[0]


@pytest.fixture
def unbalanced(tmp_path: Path) -> Path:
    return write(tmp_path, Router(steps=240, skew=2.0, update=None))


def test_a_large_run_is_diagnosed_at_ingest(unbalanced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LARGE_ROWS", 1)
    monkeypatch.setattr(query, "diagnose", refuse)
    expected = diagnose(read_folder(RunFolder(unbalanced)))
    assert expected
    assert findings_in_index(unbalanced.parent) == (expected, 1)


def test_a_small_run_is_diagnosed_when_it_is_looked_at(unbalanced: Path) -> None:
    assert findings_in_index(unbalanced.parent) == (diagnose(read_folder(RunFolder(unbalanced))), 0)


def test_nothing_wrong_is_stored_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LARGE_ROWS", 1)
    monkeypatch.setattr(query, "diagnose", refuse)
    write(tmp_path, Router(steps=60, skew=0.0, update=None))
    assert findings_in_index(tmp_path) == ([], 1)


def test_a_run_that_trains_has_none_until_it_ends(unbalanced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LARGE_ROWS", 1)
    change_status(unbalanced, lambda status: status | {"state": "running"})
    expected = diagnose(read_folder(RunFolder(unbalanced)))
    assert findings_in_index(unbalanced.parent) == (expected, 0)
    change_status(unbalanced, lambda status: status | {"state": "finished"})
    assert findings_in_index(unbalanced.parent) == (expected, 1)


def test_a_failing_check_does_not_hide_the_run(unbalanced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LARGE_ROWS", 1)
    monkeypatch.setattr(stored, "diagnose", refuse)
    assert findings_in_index(unbalanced.parent) == (diagnose(read_folder(RunFolder(unbalanced))), 0)


def change_status(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = path / "status.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
