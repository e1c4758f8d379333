"""An empty index and a folder for runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from explorer.store import Index


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.open(tmp_path / "index.duckdb") as index:
        yield index


@pytest.fixture(scope="module")
def reused_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One index for all examples: each brings another folder, whose run replaces the one before."""
    with Index.open(tmp_path_factory.mktemp("index") / "index.duckdb") as index:
        yield index
