"""A sound run of the tiny model, and a copy of it to damage."""

import shutil
from pathlib import Path

import pytest
from verified import record


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("sound"), "loss_free:u=0.01")


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    """A copy of its own, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "runs" / "run"))
