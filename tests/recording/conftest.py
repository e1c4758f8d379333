"""A writer of a small run that writes only when it is told to."""

from pathlib import Path

import pytest
from recording_runs import make_info

from explorer.recording import run_writer
from explorer.recording.run_writer import RunWriter


@pytest.fixture
def flush_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flush by the clock."""
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", float("inf"))


@pytest.fixture
def recorder(tmp_path: Path) -> RunWriter:
    """The writer of the run `run` in `tmp_path`."""
    return RunWriter.create(tmp_path, make_info())
