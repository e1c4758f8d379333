"""A training run in a fork equals one in a process of its own."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from explorer.config.presets import tiny
from explorer.recording import RunFolder
from explorer.running.forked_process import ForkedProcess, forking, is_available
from explorer.running.into_folder import train_run
from explorer.running.jobs import Job
from explorer.running.run_queue import RunQueue

pytestmark = pytest.mark.skipif(not is_available(), reason="this system has no fork server")


def test_forks_train_as_processes_do_and_failures_have_their_sentence(tmp_path: Path) -> None:
    config = tiny().with_settings({"balancer": "loss_free:u=0.01"})
    alone = train_run(config, tmp_path / "alone", run_id="one")
    jobs = [Job(config=config, run_id=name, runs=tmp_path / "forked") for name in ("one", "two")]
    (tmp_path / "forked" / "two").mkdir(parents=True)  # a folder in the way
    (tmp_path / "forked" / "two" / "file").touch()
    before = os.environ.get("OMP_NUM_THREADS")
    with forking(), RunQueue(at_once=2, launch=ForkedProcess) as queue:
        ended = {job.run_id: job for job in queue.run(jobs)}
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert ended["one"].failure == ""
    assert RunFolder(ended["one"].path).status.results == RunFolder(alone.path).status.results
    assert ended["two"].failure.startswith("two: ")
    assert not Path(ended["one"].child._folder.name).exists()  # type: ignore[union-attr]


def test_a_fork_runs_no_script_of_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ModuleType("__main__")
    script.__file__ = str(tmp_path / "script.py")
    Path(script.__file__).write_text("raise SystemExit(3)\n")
    monkeypatch.setitem(sys.modules, "__main__", script)
    with forking(), RunQueue(at_once=1, launch=ForkedProcess) as queue:
        [ended] = queue.run([Job(config=tiny(), run_id="one", runs=tmp_path / "runs")])
    assert ended.failure == ""
    assert sys.modules["__main__"] is script


def test_a_fork_stops_when_its_parent_hangs_up(tmp_path: Path) -> None:
    config = tiny().with_settings({"training.num_steps": 100_000, "training.eval_interval": 100_000})
    with forking():
        child = ForkedProcess(Job(config=config, run_id="long", runs=tmp_path))
    while not (tmp_path / "long" / "run.json").exists():
        assert child.poll() is None, child.output()
        time.sleep(0.05)
    child.hang_up()
    child.end(time.monotonic() + 60)
    assert child.poll() is not None
    assert child.poll() >= 0  # type: ignore[operator]
    assert RunFolder(tmp_path / "long").status.state == "stopped"
    child.release()
