"""A training run that a queue runs in this process, so that a test waits for no interpreter."""

from explorer.running.into_folder import train_run
from explorer.running.jobs import Job


class Finished:
    """A child of the queue that has ended when it has been launched."""

    pid = 0

    def __init__(self, job: Job) -> None:
        train_run(job.config, job.runs, run_id=job.run_id, preset=job.preset)

    def poll(self) -> int:
        return 0

    def send(self, line: bytes) -> bool:
        return False

    def hang_up(self) -> None: ...

    def output(self) -> str:
        return ""

    def end(self, deadline: float) -> None: ...

    def release(self) -> None: ...
