"""One queue of training runs in child processes, for the command line and for the app.

    with RunQueue(at_once=2) as queue:
        for job in queue.run(jobs):         # each job as it ends, in any order
            print(job.run_id, job.failure or "finished")

or, as a server does, `queue.add(jobs)` at any time and `queue.jobs()` to list them. A thread starts the
next job when one ends. A job that fails, or cannot even be started, has the reason in `Job.problem`
and does not affect the others. Leaving the block (also by an error or by KeyboardInterrupt, into which
`explorer.cli.interrupts` turns SIGINT, SIGTERM and SIGHUP) stops every run after its current step.
If this process is killed, the children notice it by their pipes.

Where a training runs is decided by `launch`: any function from a job to a `Child`.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from explorer.errors import ConfigError, TrainingError
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Child, Job
from explorer.running.last_words import reason
from explorer.running.messages import stop_line, switch_answers, switch_line

POLL_S = 0.1
STOP_GRACE_S = 30.0
"""Time for children to finish their current step and their last rows before they are killed."""
INTERRUPTED = 130
"""Exit code of a child after the second Ctrl-C; it was asked to stop, too."""


class RunQueue:
    """Starts, queues, switches and stops training runs. Safe to call from any thread."""

    def __init__(self, at_once: int, launch: Callable[[Job], Child] = LocalProcess) -> None:
        """at_once: maximum number of jobs at a time. launch: raises any exception if a job does not start."""
        self.at_once = at_once
        self._launch = launch
        self._jobs: list[Job] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "RunQueue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, jobs: Iterable[Job]) -> None:
        """Queue all jobs or none, and start as many as there are free slots.

        Raises ConfigError for a run id that would be queued twice. A closed queue cancels them.
        """
        jobs = list(jobs)
        with self._lock:
            names = [job.run_id for job in self._jobs]
            for job in jobs:
                if job.run_id in names:
                    raise ConfigError("run_id", job.run_id, "is in the queue already", "start it again")
                names.append(job.run_id)
            self._jobs.extend(jobs)
            if self._closing.is_set():
                self._stop(jobs)
                return
            self._advance()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="run-queue", daemon=True)
                self._thread.start()

    def run(self, jobs: Iterable[Job], on_poll: Callable[[], None] = lambda: None) -> Iterator[Job]:
        """Queue jobs and yield each as soon as it is closed.

        on_poll: called about every `POLL_S` seconds in between, e.g. to move a progress bar.
        """
        pending = list(jobs)
        self.add(pending)
        while pending:
            time.sleep(POLL_S)
            on_poll()
            with self._lock:
                self._reap()
                done = [job for job in pending if not job.is_open]
            pending = [job for job in pending if job not in done]
            yield from done

    def jobs(self) -> list[Job]:
        """Every job that was added and not forgotten, oldest first."""
        with self._lock:
            self._reap()
            return list(self._jobs)

    def open_jobs(self) -> list[Job]:
        """The jobs that are queued, training or about to stop."""
        return [job for job in self.jobs() if job.is_open]

    def find(self, run_id: str) -> Job | None:
        """The job with this run id."""
        return next((job for job in self.jobs() if job.run_id == run_id), None)

    def forget(self, jobs: Iterable[Job]) -> None:
        """Drop closed jobs from the list; their runs stay on disk."""
        with self._lock:
            dropped = [job for job in jobs if not job.is_open]
            self._jobs = [job for job in self._jobs if job not in dropped]

    def stop_job(self, run_id: str) -> None:
        """Ask a run to stop after its current step, or cancel its job if it is queued."""
        with self._lock:
            self._stop([job for job in self._jobs if job.run_id == run_id])

    def stop_all(self) -> None:
        """Ask every run to stop, and cancel queued jobs."""
        with self._lock:
            self._stop(self._jobs)

    def switch_rules(self, run_id: str, text: str) -> None:
        """Ask a run to continue under other rules, e.g. `loss_free:u=0.003` or `none`.

        Does not wait for the answer (`answers`). Raises ConfigError for rules that do not fit the run,
        TrainingError if it is not training or does not read its pipe.
        """
        with self._lock:
            job = self.find(run_id)
            if job is None or job.child is None or job.state != "training":
                state = job.state if job else "not a training run of this server"
                raise TrainingError(
                    f"{run_id} is {state}: the rule can only be switched while a run trains; start a new run."
                )
            job.rules_of(text)
            if not job.child.send(switch_line(text)):
                raise TrainingError(f"{run_id} does not take commands at the moment; try again.")
            job.sent_rules.append(text)

    def answers(self, run_id: str) -> list[str]:
        """A run's answers to its rule switches, one sentence each, in order; [] once it has ended."""
        with self._lock:
            job = self.find(run_id)
            return [] if job is None or job.child is None else switch_answers(job.child.output())

    def close(self) -> None:
        """Stop all jobs and wait for them; no further job starts."""
        with self._lock:
            self._closing.set()
            self._stop(self._jobs)
            children = [job.child for job in self._jobs if job.child is not None and job.is_open]
            for child in children:
                child.hang_up()
        deadline = time.monotonic() + STOP_GRACE_S
        for child in children:
            child.end(deadline)
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._reap()

    def _stop(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.state == "waiting":
                job.state = "cancelled"
            elif job.state == "training" and job.child is not None:
                job.state = "stopping"
                if not job.child.send(stop_line()):
                    # It does not read its pipe; closing the pipe is a command, too.
                    job.child.hang_up()

    def _watch(self) -> None:
        """Detect jobs that end and start the next, until the queue is closed."""
        while not self._closing.wait(POLL_S):
            with self._lock:
                self._reap()
                self._advance()

    def _reap(self) -> None:
        for job in self._jobs:
            code = job.child.poll() if job.child is not None and job.is_open else None
            if job.child is not None and code is not None:
                job.child.hang_up()
                job.state = "ended" if code in (0, INTERRUPTED) else "failed"
                if job.state == "failed":
                    job.problem = f"{job.run_id}: {reason(job.child.output(), code)}"
                job.child.release()

    def _advance(self) -> None:
        if self._closing.is_set():
            return
        busy = sum(job.child is not None and job.is_open for job in self._jobs)
        for job in self._jobs:
            if busy >= self.at_once:
                return
            if job.state == "waiting":
                self._start(job)
                busy += job.is_open

    def _start(self, job: Job) -> None:
        try:
            job.child = self._launch(job)
            job.state = "training"
        except Exception as error:  # any error of a launcher: the jobs after this one must start
            job.state, job.problem = "failed", f"{job.run_id}: the training could not be started ({error})."
