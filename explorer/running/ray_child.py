"""A training run as a task of a Ray cluster: another `launch` of the run queue.

    with cluster() as cpus, RunQueue(at_once=cpus, launch=RayProcess) as queue: ...

A task trains into a folder of its own machine and returns that folder as an archive, so nothing needs to be
shared. Ray tries a task again whose worker was killed. Machines of a cluster need this package installed;
`RAY_ADDRESS` names a cluster, without it one is started on this machine.
"""

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.config.places import ROOT
from explorer.config.run import RunConfig
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Job
from explorer.running.messages import stop_line

RETRIES = 3
"""How often a task is tried again after its worker died."""
POLL_S = 0.2


@dataclass(frozen=True)
class Trained:
    """What a task returns."""

    code: int
    output: str
    """Standard error of the training."""
    archive: bytes
    """The run folder as a tar file; empty where there is none."""


@contextmanager
def cluster(num_cpus: int | None = None) -> Iterator[int]:
    """Connect to a cluster, or start one here; yields its number of CPUs. Needs the extra `ray`."""
    import ray

    # Workers of a cluster on this machine take their search path from here.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), before)))
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not os.environ.get("RAY_ADDRESS"):
        settings |= {"num_cpus": num_cpus, "include_dashboard": False}
        # Ray gives its workers a low priority; a training run here has that of this process.
        os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(**settings)
    try:
        resources = ray.cluster_resources()
        yield max(1, int(resources.get("CPU", 1)))
    finally:
        ray.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def train_remotely(config: dict[str, Any], run_id: str) -> Trained:
    """Train on the machine that runs this task.

    The training is a process of its own whose pipe this one holds: if the worker is killed, it stops.
    """
    with tempfile.TemporaryDirectory(prefix="explorer-ray-") as folder:
        job = Job(config=RunConfig.from_dict(config), run_id=run_id, runs=Path(folder))
        child = LocalProcess(job)
        try:
            while (code := child.poll()) is None:
                time.sleep(POLL_S)
            output = child.output()
        finally:
            child.hang_up()
            child.release()
        return Trained(code, output, _packed(job.path))


def _packed(folder: Path) -> bytes:
    if not folder.exists():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=folder.name)
    return buffer.getvalue()


class RayProcess:
    """A task of the cluster as a `Child` of the queue."""

    pid = 0
    """The process is on another machine."""

    def __init__(self, job: Job) -> None:
        """Submit the job's training; `cluster` must be open."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=RETRIES)(train_remotely)
        self._ray, self._runs = ray, job.runs
        self._reference = task.remote(job.config.to_dict(), job.run_id)
        self._code: int | None = None
        self._output = ""

    def poll(self) -> int | None:
        if self._code is None:
            ready, _ = self._ray.wait([self._reference], timeout=0)
            if ready:
                self._collect()
        return self._code

    def send(self, line: bytes) -> bool:
        """Only a stop reaches a task; it ends without a checkpoint."""
        if line != stop_line():
            return False
        self.hang_up()
        return True

    def hang_up(self) -> None:
        if self._code is None:
            self._ray.cancel(self._reference, force=True)

    def output(self) -> str:
        return self._output

    def end(self, deadline: float) -> None:
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def release(self) -> None:
        """The cluster frees what a task used."""

    def _collect(self) -> None:
        """Unpack the run folder of a finished task."""
        try:
            result: Trained = self._ray.get(self._reference)
        except self._ray.exceptions.RayError as error:
            self._code, self._output = 1, f"explorer train: the task failed ({type(error).__name__})."
            return
        self._code, self._output = result.code, result.output
        if result.archive:
            with tarfile.open(fileobj=io.BytesIO(result.archive)) as archive:
                archive.extractall(self._runs, filter="data")
