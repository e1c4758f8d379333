"""The ingest thread: it keeps up, it stops, and it outlives a failure."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from store_runs import write_run
from waiting import wait_for

from explorer.errors import StoreError
from explorer.store import Index, IngestThread, ingest


def test_it_takes_in_what_appears_and_stops(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # the app's own, where its pages were tested before
    with Index.open(tmp_path / "index.duckdb") as index:
        thread = IngestThread(index, [tmp_path / "runs"], interval_s=0.01)
        thread.start()
        thread.start()  # a second call does nothing
        assert len(set(threading.enumerate()) - others) == 1
        write_run(tmp_path / "runs")
        wait_for(lambda: thread.report is not None and thread.report.runs == 1)
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
        wait_for(lambda: thread.rounds == 1)
        thread.wake()
        wait_for(lambda: thread.rounds == 2)
        thread.stop()


@pytest.mark.parametrize("error", [StoreError("The disk is full."), RuntimeError("unforeseen")])
def test_a_failure_is_kept_as_a_sentence_and_the_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        real, failures = index.ingest, iter([error])

        def once(dirs: Any, stopping: Any) -> Any:
            for failure in failures:
                raise failure
            return real(dirs, stopping)

        monkeypatch.setattr(index, "ingest", once)
        thread = IngestThread(index, [tmp_path / "runs"], interval_s=3600)
        thread.start()
        wait_for(lambda: thread.rounds == 1)
        assert thread.problem is not None
        assert str(error) in thread.problem
        thread.wake()
        wait_for(lambda: thread.rounds == 2)
        assert thread.problem is None
        thread.stop()


ENDLESS = "SELECT count(*) FROM range(1_000_000_000_000) numbers(n) WHERE n % 7 = 3"


def test_a_round_ends_inside_a_query_and_the_run_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first reading of many runs takes minutes; the server must end in between."""
    for name in ("a", "b", "c"):
        write_run(tmp_path / "runs", name, steps=10)
    begun, real = threading.Event(), ingest.roll_up

    def endless_for_b(cur: Any, run_id: str, key: int) -> None:
        real(cur, run_id, key)
        if run_id == "b":
            begun.set()
            cur.execute(ENDLESS).fetchall()

    with Index.open(tmp_path / "index.duckdb") as index:
        with monkeypatch.context() as slow:
            slow.setattr(ingest, "roll_up", endless_for_b)
            thread = IngestThread(index, [tmp_path / "runs"])
            thread.start()
            assert begun.wait(60)
            thread.stop()
        with index.cursor() as cur:
            assert cur.execute("SELECT DISTINCT run_id FROM expert_loads").fetchall() == [("a",)]
            assert cur.execute("SELECT run_id, problem FROM runs").fetchall() == [("a", None)]
    with Index.open(tmp_path / "index.duckdb") as index:
        assert index.ingest([tmp_path / "runs"]).problems == {}
        with index.cursor() as cur:
            assert cur.execute("SELECT count(DISTINCT run_id) FROM expert_loads").fetchone() == (3,)


def test_a_round_ends_between_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "runs", name, steps=10)
    with Index.open(tmp_path / "index.duckdb") as index:
        real = ingest.roll_up

        stopping = threading.Event()

        def stop_then_go_on(cur: Any, run_id: str, key: int) -> None:
            stopping.set()
            index.interrupt()  # there is nothing to break off in this moment
            real(cur, run_id, key)

        monkeypatch.setattr(ingest, "roll_up", stop_then_go_on)
        with pytest.raises(ingest.Stopped):
            index.ingest([tmp_path / "runs"], stopping)
        with index.cursor() as cur:
            assert cur.execute("SELECT run_id FROM runs").fetchall() == [("a",)]


def test_a_thread_can_be_started_again(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        thread = IngestThread(index, [tmp_path / "runs"], interval_s=0.01)
        thread.start()
        thread.stop()
        write_run(tmp_path / "runs", steps=10)
        thread.start()
        wait_for(lambda: thread.report is not None and thread.report.runs == 1)
        thread.stop()
