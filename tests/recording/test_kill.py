"""Kill the writer anywhere: acknowledged steps are there, a step is whole or absent, no row is double."""

import itertools
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kills import INFO, E, Killed, L, give, kill_at  # noqa: F401 (a fixture)

from explorer.recording import RunFolder, run_writer
from explorer.recording import writer as writer_module
from explorer.recording.run_writer import RunWriter


def expected_loads(last: int) -> list[tuple[int, ...]]:
    return [
        (step, layer, expert, step * 100 + layer * E + expert)
        for step in range(last + 1)
        if step % 3
        for layer in range(L)
        for expert in range(E)
    ]


def check(path: Path, acknowledged: int) -> int:
    """Whole steps 0 ... last, last >= acknowledged, each row once, in both tables. Returns last."""
    run = RunFolder(path)
    steps = run.read("steps").sort("step")
    last = steps.height - 1
    assert last >= acknowledged
    assert steps["step"].to_list() == steps["tokens_seen"].to_list() == list(range(last + 1))
    loads = run.read("expert_loads", ["step", "layer", "expert", "tokens"])
    assert sorted(loads.rows()) == expected_loads(last)
    assert run.last_step == run.status.last_step == last
    return last


def life(path: Path, acknowledge: Callable[[int], None]) -> None:
    """Flushes, merges, a compaction, a resume that takes steps back, and another compaction."""
    recorder = RunWriter.create(path, INFO)
    for step in range(5):
        give(recorder, step)
        recorder.flush()
        acknowledge(step)
    recorder.finish("stopped")
    acknowledge(2)  # what is recorded again may be gone for a moment
    recorder = RunWriter.resume(path / "run", 3)
    for step in range(3, 7):
        give(recorder, step)
        if step % 2 == 0:
            recorder.flush()
            acknowledge(step)
    recorder.finish("finished")
    acknowledge(6)


def test_a_kill_at_every_change_of_the_disk(
    tmp_path: Path,
    kill_at: Callable[[int], list[str]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", float("inf"))
    monkeypatch.setattr(writer_module, "MAX_PARTS", 3)
    for limit in itertools.count():
        folder = tmp_path / str(limit)
        folder.mkdir()
        acknowledged = [-1]
        kill_at(limit)
        try:
            life(folder, acknowledged.append)
            survived = True
        except Killed:
            survived = False
        kill_at(10**9)
        if not (folder / "run").exists():
            assert acknowledged == [-1]
            continue
        last = check(folder / "run", acknowledged[-1])
        again = RunWriter.resume(folder / "run", last + 1)
        give(again, last + 1)
        again.finish("finished")
        assert check(folder / "run", last + 1) == last + 1
        names = {path.name for path in (folder / "run").iterdir()}
        assert not [name for name in names if name.endswith(".tmp")]
        assert len([name for name in names if name.endswith(".parquet")]) <= 2
        if survived:
            break
    assert limit > 70  # else the guard does not guard


CHILD = """
import os, sys
from pathlib import Path
sys.path[:0] = [{support!r}, {root!r}]
from explorer.recording import writer
from explorer.recording.run_writer import RunWriter
from kills import INFO, give
writer.MAX_PARTS = 4
os.fsync = lambda _: None
path = Path(sys.argv[1])
if (path / "run").exists():
    first = int(sys.argv[2])
    recorder = RunWriter.resume(path / "run", first)
else:
    first = 0
    recorder = RunWriter.create(path, INFO)
for step in range(first, 100_000):
    give(recorder, step)
    if step % 2:
        recorder.flush()
        print(step, flush=True)
    if step % 25 == 24:
        recorder.finish("stopped")
        recorder = RunWriter.resume(path / "run", step + 1)
"""


def start(tmp_path: Path, first: int = 0) -> "subprocess.Popen[str]":
    here = Path(__file__).parent
    code = CHILD.format(support=str(here.parent / "support"), root=str(here.parent.parent))
    command = [sys.executable, "-c", code, str(tmp_path), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    """One run, killed and resumed five times."""
    rng = random.Random(0)
    last = -1
    for _ in range(5):
        process = start(tmp_path, last + 1)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randrange(1, 25))]
        time.sleep(rng.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        assert process.returncode == -signal.SIGKILL
        acknowledged = int([line for line in lines if line.strip()][-1])
        assert acknowledged > last
        last = check(tmp_path / "run", acknowledged)
        assert RunFolder(tmp_path / "run").status.state in ("interrupted", "stopped")


def test_reading_beside_a_writer_that_merges_and_compacts(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        last = -1
        while last < 80:
            run = RunFolder(tmp_path / "run")
            before = run.last_step
            loads = run.read("expert_loads", ["step", "layer", "expert", "tokens"])
            now = loads["step"].max() or -1
            assert isinstance(now, int)
            assert sorted(loads.rows()) == expected_loads(now)
            assert now >= max(last, before - 1)
            last = now
        process.kill()
