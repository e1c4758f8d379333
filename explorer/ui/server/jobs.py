"""Training jobs started from the app: what its visitors may queue, and what its pages list.

The training runs themselves are children of a `RunQueue`: closing the browser changes nothing, and when the
server ends, however it ends, they stop by themselves.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from explorer.config.limits import AT_ONCE, Limits
from explorer.errors import ConfigError, TrainingError
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Job
from explorer.running.run_queue import RunQueue

NICENESS = 5
"""Pages must stay quick beside two training runs on two cores."""
MOST_ENDED = 24
"""Ended training runs that are still listed."""
READ_ONLY = (
    "This app only shows runs: no training and no switching of rules here; start your own app for that."
)


class JobManager(RunQueue):
    """The queue of one server, within the limits of its host."""

    def __init__(
        self,
        runs_dir: Path,
        at_once: int = AT_ONCE,
        command: Sequence[str] | None = None,
        *,
        limits: Limits | None = None,
        read_only: bool = False,
    ) -> None:
        """command: see `LocalProcess`. limits: how many runs of all visitors may train or wait, and what a
        switch may ask of a run; None: those of an untouched host. read_only: refuse every run."""
        super().__init__(at_once, partial(LocalProcess, command=command, niceness=NICENESS))
        self.runs_dir = runs_dir
        self.limits = limits or Limits()
        self.read_only = read_only

    def add(self, jobs: Iterable[Job]) -> None:
        """As `RunQueue.add`. Raises ConfigError when the queue has no room for them, TrainingError in an app
        that only shows."""
        jobs = list(jobs)
        # The lock is held over check and change, so that two visitors come one by one.
        with self._lock:
            self._check_allowed()
            self._check_room(len(jobs))
            super().add(jobs)
            ended = [job for job in self.jobs() if not job.is_open]
            self.forget(ended[: max(0, len(ended) - MOST_ENDED)])

    def switch_rules(self, run_id: str, text: str) -> None:
        """As `RunQueue.switch_rules`. Raises ConfigError for rules that this host does not allow, too,
        TrainingError in an app that only shows."""
        with self._lock:
            self._check_allowed()
            job = self.find(run_id)
            if job is not None and job.state == "training":
                self.limits.check(job.under(job.rules_of(text)))
            super().switch_rules(run_id, text)

    def forget_ended(self) -> None:
        """Drop those that are no longer open from the list; their runs stay on disk."""
        self.forget(self.jobs())

    def _check_allowed(self) -> None:
        if self.read_only:
            raise TrainingError(READ_ONLY)

    def _check_room(self, added: int) -> None:
        waiting = len(self.open_jobs())
        if waiting + added > self.limits.queue:
            raise ConfigError(
                "runs",
                added,
                f"are too many: {waiting} train or are queued already, and the queue holds "
                f"{self.limits.queue}",
                "choose fewer, or wait until some have ended",
            )
