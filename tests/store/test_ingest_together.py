"""The index while several threads and processes are at work."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from store_runs import make_info, random_counts, record_steps, write_run

from explorer.queries import balance, comparison, loads
from explorer.recording import RunFolder
from explorer.recording.run_writer import RunWriter
from explorer.store import Index, IngestThread

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from explorer.store import Index
with Index.open({path!r}) as index:
    index.ingest([{runs!r}])
    print("ready", flush=True)
    sys.stdin.read()
"""
ENDLESS_INGEST = """
from explorer.store import Index
while True:
    with Index.open({path!r}) as index:
        print("round", flush=True)
        index.ingest([{runs!r}])
        with index.cursor() as cur:
            pass
    import pathlib
    pathlib.Path({path!r}).unlink()
"""


def start(code: str, **values: Any) -> subprocess.Popen[str]:
    text = code.format(**{name: str(value) for name, value in values.items()})
    return subprocess.Popen(
        [sys.executable, "-c", text], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_four_readers_never_meet_an_empty_or_torn_answer(tmp_path: Path) -> None:
    """Rows grow step by step, are merged, compacted and loaded again; what was there never goes away."""
    runs, layers, experts = tmp_path / "runs", 2, 8
    steps = 120
    counts = random_counts(steps, layers, experts)
    recorder = RunWriter.create(runs, make_info(layers=layers, experts=experts))
    record_steps(recorder, counts[:5], range(5))
    recorder.flush()
    faults: list[str] = []
    answers = [0] * 4
    done = threading.Event()

    def read(number: int, index: Index) -> None:
        most = 0
        while not done.is_set() or not answers[number]:
            with index.cursor() as cur:
                heat = loads.load_heatmap(cur, "run", 1, max_bins=400)
                series = balance.max_vio_series(cur, ["run"], max_bins=400)
                rows = comparison.summary(cur)
            seen = series.height
            if rows.height != 1 or seen < max(most, 5) or heat.height != seen * experts:
                faults.append(f"{rows.height} runs, {seen} steps after {most}, {heat.height} cells")
            if heat["tokens"].sum() != 128 * seen:
                faults.append(f"torn: {heat['tokens'].sum()} tokens in {seen} steps")
            most = max(most, seen)
            answers[number] += 1

    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([runs])
        thread = IngestThread(index, [runs], interval_s=0.01)
        readers = [threading.Thread(target=read, args=(i, index)) for i in range(4)]
        thread.start()
        for reader in readers:
            reader.start()
        for first in range(5, steps, 5):
            record_steps(recorder, counts[first : first + 5], range(first, first + 5))
            recorder.flush()
        recorder.finish("finished")
        rounds = thread.rounds
        while thread.rounds < rounds + 2:
            time.sleep(0.01)
        done.set()
        for reader in readers:
            reader.join()
        thread.stop()
        assert thread.problem is None
        assert faults == []
        assert min(answers) > 0
        with index.cursor() as cur:
            matrix = loads.load_matrix(cur, "run", 1)
    np.testing.assert_array_equal(matrix.tokens, counts[:, 1])


def test_a_second_process_gets_a_sentence_and_a_private_index(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    path = tmp_path / "index.duckdb"
    holder = start(HOLDER, path=path, runs=tmp_path / "runs")
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with Index.open(path) as index:
            assert index.private
            assert index.notice is not None
            assert f"process {holder.pid}" in index.notice
            assert str(path) in index.notice
            private = index.path
            index.ingest([tmp_path / "runs"])
            with index.cursor() as cur:
                assert comparison.summary(cur)["run_id"].to_list() == ["run"]
        assert not private.exists()
    finally:
        holder.communicate("")
    with Index.open(path) as index:  # the owner is gone: the usual file again
        assert (index.private, index.notice) == (False, None)
        with index.cursor() as cur:
            assert comparison.summary(cur)["run_id"].to_list() == ["run"]


def test_an_ingest_that_is_killed_takes_every_part_exactly_once_later(tmp_path: Path) -> None:
    for number in range(3):
        write_run(tmp_path / "runs", f"run-{number}", steps=60, finish=False, flush_every=4)
    path = tmp_path / "index.duckdb"
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = start(ENDLESS_INGEST, path=path, runs=tmp_path / "runs")
        assert process.stdout is not None
        assert process.stdout.readline() == "round\n"
        time.sleep(rng.uniform(0, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with owned(path) as index:
            index.ingest([tmp_path / "runs"])
            for number in range(3):
                check_rows(index, tmp_path / "runs" / f"run-{number}")


def owned(path: Path) -> Index:
    """The index itself: on a busy machine the lock of a killed process may outlive it for a moment."""
    end = time.monotonic() + 20
    while True:
        index = Index.open(path)
        if not index.private:
            return index
        notice = index.notice
        index.close()
        assert time.monotonic() < end, notice
        time.sleep(0.1)


def check_rows(index: Index, folder: Path) -> None:
    keys = ["step", "layer", "expert", "tokens"]
    with index.cursor() as cur:
        rows = cur.execute(
            f"SELECT {', '.join(keys)} FROM expert_loads WHERE run_id = ? ORDER BY ALL", [folder.name]
        ).fetchall()
    assert rows == sorted(RunFolder(folder).read("expert_loads", keys).rows())
