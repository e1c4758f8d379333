"""An empty index and a folder for runs."""

from pathlib import Path
from typing import Any

import pytest

from explorer.store import Index


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.open(tmp_path / "index.duckdb") as index:
        yield index


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"
