"""Results of simulations beside the index."""

import os
from pathlib import Path

import pytest

from explorer.store import memo
from explorer.store.memo import Memo


def fail() -> list[float]:
    raise AssertionError("computed again")


def test_another_process_finds_the_numbers_exactly(tmp_path: Path) -> None:
    path = tmp_path / "index.baselines.json"
    numbers = (0.1 + 0.2, 1 / 3)
    assert Memo(path).get("a", lambda: numbers) == numbers
    again = Memo(path)
    assert again.get("a", fail) == numbers
    assert again.get("b", lambda: [2]) == (2.0,)
    assert Memo(path).get("b", fail) == (2.0,)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": ["x"]}', '{"a": [null]}', "\x00"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "index.baselines.json"
    path.write_text(content)
    assert Memo(path).get("a", lambda: [0.5]) == (0.5,)
    assert Memo(path).get("a", fail) == (0.5,)


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    assert Memo(tmp_path / "missing" / "x.json").get("a", lambda: [0.5]) == (0.5,)


def test_the_older_half_goes_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "MOST", 4)
    path = tmp_path / "x.json"
    for key in "abcde":
        Memo(path).get(key, lambda: [1.0])
    again = Memo(path)
    assert again.get("e", fail) == (1.0,)
    with pytest.raises(AssertionError, match="again"):
        again.get("a", fail)


def test_a_page_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    path = tmp_path / "x.json"
    Memo(path).get("a", lambda: [0.5])
    assert Memo(path).get("a", fail) == (0.5,)
    assert not waits
