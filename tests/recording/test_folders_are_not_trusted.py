"""A folder with a wrong field is listed with its reason or is harmless; it keeps no other run out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_runs import write_run

from explorer.recording import list_runs
from explorer.store import Index

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    "x",
    "\x00",
    -1,
    -(2**63) - 1,
    0,
    1,
    10**9,
    2**53 + 1,
    10**19,
    10**30,
    2.5,
    -0.5,
    1e308,
    [],
    [None],
    {},
    {"x": None},
    {"steps": None},
    {"steps": ["../../good/steps-g1.parquet"]},
    {"steps": ["steps-g1.parquet", "steps-g1.parquet"]},
)
FILES = ("run.json", "status.json", "manifest.json", "attempts.json")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small runs, `good` and `bad`."""
    folder = tmp_path_factory.mktemp("pair")
    for run_id in ("good", "bad"):
        write_run(folder, run_id, steps=6, layers=1, experts=2)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open(tmp_path_factory.mktemp("index") / "index.duckdb") as opened:
        yield opened


def mutations(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with each of its fields replaced by each hostile value, and without the field."""
    for name in document:
        for value in HOSTILE:
            yield f"{name} = {value!r:.40}", {**document, name: value}
        yield f"{name} left out", {k: v for k, v in document.items() if k != name}


def good_rows(index: Index) -> tuple[int, int]:
    with index.cursor() as cur:
        row = cur.execute("SELECT count(*), sum(tokens) FROM expert_loads WHERE run_id = 'good'").fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("file", FILES)
def test_a_wrong_field_of_one_run_reaches_no_other(pair: Path, index: Index, file: str) -> None:
    path = pair / "bad" / file
    before = path.read_bytes()
    document = json.loads(before)
    wrap: Callable[[Any], Any] = (lambda line: [line]) if isinstance(document, list) else (lambda d: d)
    index.ingest([pair])
    rows = good_rows(index)
    assert rows == (12, 6 * 128)
    refused = False
    try:
        for name, changed in mutations(document[0] if isinstance(document, list) else document):
            path.write_text(json.dumps(wrap(changed)))
            listed = {listing.run_id: listing.problem for listing in list_runs(pair)}
            assert sorted(listed) == ["bad", "good"], name
            assert listed["good"] is None, name
            problem = listed["bad"]
            if problem is None or not refused:  # the index does the same with every refused run
                refused = problem is not None
                report = index.ingest([pair])
                assert set(report.problems) <= {"bad"}, name
                assert good_rows(index) == rows, name
                problem = report.problems.get("bad")
            if problem is not None:
                assert str(pair / "bad") in problem, (name, problem)
                assert problem.endswith("."), problem
                assert "Error" not in problem, problem
    finally:
        path.write_bytes(before)
    assert index.ingest([pair]).problems == {}
