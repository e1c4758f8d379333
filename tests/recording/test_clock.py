"""A clock that jumps while a run is recorded: the same rows, and a state that can be read."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from store_runs import make_info, random_counts, record_steps

from explorer.recording import RunFolder
from explorer.recording.listing import list_runs
from explorer.recording.run_writer import RunWriter

DAY_S = 86_400.0
CLOCKS: dict[str, Callable[[int], float]] = {
    "back a day again and again": lambda n: 1.8e9 - (n % 7) * DAY_S,
    "thirty years ahead": lambda n: 1.8e9 + 30 * 365 * DAY_S * (n > 9),
    "two years back": lambda n: 1.8e9 - 2 * 365 * DAY_S * (n > 9),
    "1970": lambda n: float(n),
}


def recorded(folder: Path) -> RunFolder:
    """A run that was stopped, resumed and finished."""
    counts_SLE = random_counts(24, 2, 4)
    with RunWriter.create(folder, make_info(num_steps=24)) as recorder:
        for step in range(12):
            record_steps(recorder, counts_SLE[step : step + 1], [step])
            recorder.flush()
        recorder.finish("stopped")
    with RunWriter.resume(folder / "run", 12) as recorder:
        record_steps(recorder, counts_SLE[12:], range(12, 24))
        recorder.finish("finished")
    return RunFolder(folder / "run")


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_jumps_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    quiet = recorded(tmp_path / "quiet")
    ticks = itertools.count()
    monkeypatch.setattr(time, "time", lambda: CLOCKS[clock](next(ticks)))
    jumped = recorded(tmp_path / "jumped")
    assert next(ticks) > 12, "the recorder did not look at this clock"
    for table in ("steps", "expert_loads"):
        assert jumped.read(table).equals(quiet.read(table)), table
    (listing,) = list_runs(tmp_path / "jumped")
    assert not listing.problem
    assert jumped.status.state == "finished"
    assert np.isfinite(jumped.status.heartbeat)
