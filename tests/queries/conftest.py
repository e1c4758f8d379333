"""An empty index, and the folder of the runs that a test writes for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.store import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index.duckdb") as empty:
        yield empty


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "runs"
