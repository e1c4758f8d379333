"""The ingest thread: it keeps up, it stops, and it outlives a failure."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from store_runs import write_run

from explorer.errors import StoreError
from explorer.store import Index, IngestThread


def wait_until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_it_takes_in_what_appears_and_stops(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # the app's own, where its pages were tested before
    with Index.open(tmp_path / "index.duckdb") as index:
        thread = IngestThread(index, [tmp_path / "runs"], interval_s=0.01)
        thread.start()
        thread.start()  # a second call does nothing
        assert len(set(threading.enumerate()) - others) == 1
        write_run(tmp_path / "runs")
        wait_until(lambda: thread.report is not None and thread.report.runs == 1)
        thread.stop()
        rounds = thread.rounds
        assert set(threading.enumerate()) <= others
        time.sleep(0.05)
        assert thread.rounds == rounds
        thread.stop()


def test_wake_ends_the_wait(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        thread = IngestThread(index, [tmp_path], interval_s=3600)
        thread.start()
        wait_until(lambda: thread.rounds == 1)
        thread.wake()
        wait_until(lambda: thread.rounds == 2)
        thread.stop()


@pytest.mark.parametrize("error", [StoreError("The disk is full."), RuntimeError("unforeseen")])
def test_a_failure_is_kept_as_a_sentence_and_the_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        real, failures = index.ingest, iter([error])

        def once(dirs: Any) -> Any:
            for failure in failures:
                raise failure
            return real(dirs)

        monkeypatch.setattr(index, "ingest", once)
        thread = IngestThread(index, [tmp_path / "runs"], interval_s=3600)
        thread.start()
        wait_until(lambda: thread.rounds == 1)
        assert thread.problem is not None
        assert str(error) in thread.problem
        thread.wake()
        wait_until(lambda: thread.rounds == 2)
        assert thread.problem is None
        thread.stop()
