"""A folder with a wrong field is listed with its reason or is harmless; it keeps no other run out."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from store_runs import write_run

from explorer.recording import list_runs
from explorer.store import Index

# Numbers of one type from the least to the largest that a field may take.
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    "x",
    "\x00",
    -(2**63) - 1,
    -1,
    0,
    1,
    10**9,
    2**53 + 1,
    10**19,
    10**30,
    -0.5,
    2.5,
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
READ_BY_LISTING = FILES[:2]
"""Documents of which the index knows what a listing says, so that equal listings are ingested once."""


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


Mutation = tuple[str, Any]
"""What was changed, and the changed document."""


def mutations(document: Any) -> Iterator[tuple[type | None, list[Mutation]]]:
    """The document with each of its fields replaced by each hostile value, in groups of one type, and without
    the field."""
    for name in document:
        for kind, values in groupby(sorted(HOSTILE, key=type_name), key=type):
            yield kind, [(f"{name} = {value!r:.40}", {**document, name: value}) for value in values]
        yield None, [(f"{name} left out", {k: v for k, v in document.items() if k != name})]


def type_name(value: object) -> str:
    return type(value).__name__


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
    index.ingest([pair])
    rows = good_rows(index)
    assert rows == (12, 6 * 128)

    def write(changed: Any) -> None:
        path.write_text(json.dumps([changed] if isinstance(document, list) else changed))

    def check(name: str, problem: str) -> None:
        assert str(pair / "bad") in problem, (name, problem)
        assert problem.endswith("."), problem
        assert "Error" not in problem, problem

    def ingest(name: str, changed: Any) -> None:
        write(changed)
        report = index.ingest([pair])
        assert set(report.problems) <= {"bad"}, name
        assert good_rows(index) == rows, name
        for problem in report.problems.values():
            check(name, problem)

    refused: list[Mutation] = []
    seen: set[str] = set()
    try:
        for kind, group in mutations(document[0] if isinstance(document, list) else document):
            listed: list[Mutation] = []
            for name, changed in group:
                write(changed)
                bad, good = sorted(list_runs(pair), key=lambda listing: listing.run_id)
                assert (bad.run_id, good.run_id, good.problem) == ("bad", "good", None), name
                if bad.problem is not None:
                    check(name, bad.problem)
                    refused.append((name, changed))
                elif file not in READ_BY_LISTING or repr((bad.info, bad.status)) not in seen:
                    seen.add(repr((bad.info, bad.status)))
                    listed.append((name, changed))
            # Of the numbers that a field may have, the index is given the extremes.
            for one in listed if kind not in (int, float) else listed[:1] + listed[1:][-1:]:
                ingest(*one)
        for one in refused[-1:]:  # the index does the same with every refused run
            ingest(*one)
    finally:
        path.write_bytes(before)
    assert index.ingest([pair]).problems == {}
