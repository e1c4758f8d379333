"""Training runs as tasks of a Ray cluster on this machine; skipped where Ray is not installed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import make_tiny_config

from explorer.config.run import RunConfig
from explorer.recording import RunFolder
from explorer.running.jobs import Job
from explorer.running.ray_child import RayProcess, cluster
from explorer.running.run_queue import RunQueue

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[int]:
    with cluster(num_cpus=1) as cpus:
        yield cpus


def config(steps: int = 12) -> RunConfig:
    return make_tiny_config("loss_free", num_steps=steps)


def test_a_run_folder_comes_back_and_a_training_that_fails_says_why(ray_cluster: int, tmp_path: Path) -> None:
    """Two tasks of one queue, for one processor."""
    job = Job(config=config(), run_id="run", runs=tmp_path)
    # No held-out text is that long.
    bad = Job(config=make_tiny_config("none", sequence_length=10**6), run_id="bad", runs=tmp_path)
    with RunQueue(ray_cluster, RayProcess) as queue:
        ended = {one.run_id: one for one in queue.run([job, bad])}
    assert ended["run"].failure == ""
    assert RunFolder(job.path).info.config_digest == job.config.digest
    assert RunFolder(job.path).read("steps").height == 12
    assert ended["bad"].state == "failed"
    assert "bad: " in ended["bad"].problem


def test_a_killed_worker_is_tried_again(ray_cluster: int, tmp_path: Path) -> None:
    job = Job(config=config(60), run_id="killed", runs=tmp_path)
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=kill)
    with RunQueue(ray_cluster, RayProcess) as queue:
        thread.start()
        (ended,) = queue.run([job])
        thread.join()
    assert killed
    assert ended.failure == ""
    assert RunFolder(job.path).status.state == "finished"


def workers() -> list[int]:
    """Processes of Ray that execute a training; Ray writes the name of the task into the command line."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"ray::train_remotely"):
                pids.append(int(entry.name))
    return pids
