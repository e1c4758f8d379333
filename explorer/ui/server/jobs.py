"""Trainings that the app starts: child processes, two at a time; the rest are queued.

A child holds the other end of a pipe that this process keeps open. Closing the browser changes
nothing; when this process ends, however it ends, the pipe closes and the child stops by itself.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from explorer.config.limits import AT_ONCE, Limits
from explorer.config.presets import RULE_DEFAULTS
from explorer.config.rule_text import Rule, parse_rules
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError, TrainingError
from explorer.last_words import reason

POLL_S = 0.2
NICENESS = 5
STOP_GRACE_S = 20.0
MOST_WORDS = 1_000_000
"""Bytes of what a training has said that are looked through for its answers."""
ANSWER = "control: switch to "
MOST_ENDED = 24
"""Ended trainings that are still listed."""
READ_ONLY = (
    "This app only shows runs: nothing can be trained or switched here; start one of your own for that."
)
OPEN_STATES = ("waiting", "training", "stopping")


@dataclass(kw_only=True)
class Job:
    """One training that the app was asked for."""

    run_id: str
    config: RunConfig
    preset: str | None = None
    state: str = "waiting"
    """waiting, training, stopping, ended, failed or cancelled."""
    problem: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    errors: IO[bytes] | None = field(default=None, repr=False)
    config_file: Path | None = field(default=None, repr=False)
    asked: list[str] = field(default_factory=list)
    """Every rule that the training was told to switch to, as typed; see `JobManager.answers`."""

    def rules_of(self, text: str) -> tuple[Rule, ...]:
        """The rules that a text means for this training. Raises ConfigError if they do not fit it."""
        rules = parse_rules(text, RULE_DEFAULTS.get(self.preset or ""))
        self.under(rules)
        return rules

    def under(self, rules: tuple[Rule, ...]) -> RunConfig:
        """The training under these rules alone, as after a switch: it keeps nothing of earlier rules."""
        return replace(self.config, balancer=BalancerConfig(rules=rules))

    def release(self) -> None:
        """Close and remove what only a living training needs."""
        if self.errors is not None:
            self.errors.close()
        if self.config_file is not None:
            self.config_file.unlink(missing_ok=True)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


class JobManager:
    """Starts, queues and stops trainings. Safe to call from any thread."""

    def __init__(
        self,
        runs_dir: Path,
        at_once: int = AT_ONCE,
        command: Sequence[str] | None = None,
        *,
        limits: Limits | None = None,
        read_only: bool = False,
    ) -> None:
        """limits: how many runs of all visitors may train or wait, and what a switch may ask of a run; None:
        those of an untouched host. read_only: refuse every run."""
        self.runs_dir = runs_dir
        self.at_once = at_once
        self.limits = limits or Limits()
        self.read_only = read_only
        self._command = list(command or (sys.executable, "-m", "explorer", "train"))
        self._jobs: list[Job] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue trainings, all or none; free places start at once.

        Raises ConfigError when the queue has no room for them, when one of their ids is in it already, and
        in an app that only shows.
        """
        with self._lock:
            self._check(jobs)
            self._jobs.extend(jobs)
            self._drop_old()
            self._advance()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="explorer-jobs", daemon=True)
                self._thread.start()

    def _check(self, jobs: Sequence[Job]) -> None:
        """Refuse what cannot be queued; called with the lock held, so that two visitors come one by one."""
        if self.read_only:
            raise TrainingError(READ_ONLY)
        known = [job.run_id for job in self._jobs]
        for job in jobs:
            if job.run_id in known:
                raise ConfigError("run_id", job.run_id, "is in the queue already", "press Start again")
            known.append(job.run_id)
        self._reap()
        waiting = sum(job.is_open for job in self._jobs)
        if waiting + len(jobs) > self.limits.queue:
            raise ConfigError(
                "runs",
                len(jobs),
                f"are too many: {waiting} train or are queued already, and the queue takes "
                f"{self.limits.queue}",
                "choose fewer, or wait until some have ended",
            )

    def _drop_old(self) -> None:
        """Forget the oldest ended trainings beyond those that a page can list; their runs stay on disk."""
        ended = [job for job in self._jobs if not job.is_open]
        dropped = {id(job) for job in ended[: max(0, len(ended) - MOST_ENDED)]}
        self._jobs = [job for job in self._jobs if id(job) not in dropped]

    def jobs(self) -> list[Job]:
        """Every training of this server, oldest first."""
        with self._lock:
            self._reap()
            return list(self._jobs)

    def open_jobs(self) -> list[Job]:
        """Those that wait, train or are about to stop."""
        return [job for job in self.jobs() if job.is_open]

    def stop_job(self, run_id: str) -> None:
        """Ask a training to stop after its step, or take it out of the line."""
        with self._lock:
            for job in self._jobs:
                if job.run_id == run_id and job.is_open:
                    self._stop(job)

    def switch_rule(self, run_id: str, text: str) -> None:
        """Tell a training to go on under other rules, e.g. `loss_free:u=0.003` or `none`.

        Never waits for the training, which answers in its own time (`answers`). Raises ConfigError for
        rules that do not fit the run or this host, TrainingError when it does not train or does not listen.
        """
        with self._lock:
            self._reap()
            if self.read_only:
                raise TrainingError(READ_ONLY)
            job = next((job for job in self._jobs if job.run_id == run_id), None)
            if job is None or job.process is None or job.state != "training":
                state = job.state if job else "not one of this server's trainings"
                raise TrainingError(
                    f"{run_id} is {state}: only a run that trains can be given another rule; start a new one."
                )
            self.limits.check(job.under(job.rules_of(text)))
            if not _send(job.process, {"command": "switch", "rules": text}):
                raise TrainingError(f"{run_id} does not take commands at the moment; try again.")
            job.asked.append(text)

    def answers(self, run_id: str) -> list[str]:
        """What a training has said to the switches that it was asked for: a sentence each, in order."""
        with self._lock:
            job = next((job for job in self._jobs if job.run_id == run_id), None)
            if job is None or job.errors is None or job.errors.closed or not hasattr(os, "pread"):
                return []
            # From the file's beginning without moving its place, which the training shares.
            said = os.pread(job.errors.fileno(), MOST_WORDS, 0).decode("utf-8", "replace")
        found = (line.partition(ANSWER) for line in said.splitlines())
        return [f"{ANSWER.split(': ')[1]}{rest}" for before, mark, rest in found if mark and not before]

    def stop_all(self) -> None:
        """The same for every training."""
        with self._lock:
            for job in reversed(self._jobs):
                if job.is_open:
                    self._stop(job)

    def forget(self) -> None:
        """Drop the ended ones from the list; their runs stay on disk."""
        with self._lock:
            self._jobs = [job for job in self._jobs if job.is_open]

    def stop(self) -> None:
        """Stop everything and wait for it: the server is going down."""
        self._closing.set()
        self.stop_all()
        for job in self.jobs():
            if job.process is not None:
                _close_pipe(job.process)
                try:
                    job.process.wait(STOP_GRACE_S)
                except subprocess.TimeoutExpired:
                    job.process.kill()
                    job.process.wait()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._reap()

    def _stop(self, job: Job) -> None:
        if job.process is None:
            job.state = "cancelled"
        elif job.state == "training":
            job.state = "stopping"
            if not _send(job.process, {"command": "stop"}):
                # It does not read: the end of its pipe is a command, too.
                _close_pipe(job.process)

    def _watch(self) -> None:
        """Until the server ends: notice the end of a training and start the next."""
        while not self._closing.wait(POLL_S):
            with self._lock:
                self._reap()
                self._advance()

    def _reap(self) -> None:
        for job in self._jobs:
            if job.is_open and job.process is not None and job.process.poll() is not None:
                _close_pipe(job.process)
                code = job.process.returncode
                job.state = "ended" if code in (0, 130) else "failed"
                if job.state == "failed":
                    job.problem = f"{job.run_id}: {reason(_said(job.errors), code)}"
                job.release()

    def _advance(self) -> None:
        if self._closing.is_set():
            return
        busy = sum(job.process is not None and job.is_open for job in self._jobs)
        for job in self._jobs:
            if busy >= self.at_once:
                return
            if job.state == "waiting":
                self._start(job)
                busy += job.is_open

    def _start(self, job: Job) -> None:
        job.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the process has ended)
        try:
            # In the temporary folder and not among the runs, until the training has ended.
            handle, name = tempfile.mkstemp(prefix=f"{job.run_id}-", suffix=".json")
            job.config_file = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(job.config.to_dict(), file)
            job.process = subprocess.Popen(
                [*self._command, "--config", name, "--run-id", job.run_id, "--runs", str(self.runs_dir),
                 *(["--preset", job.preset] if job.preset else []), "--json", "--control-stdin"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=job.errors,
                # Ctrl-C in the terminal is the server's; it then stops the children through their pipes.
                start_new_session=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(job.config.training.num_threads),
                    # What it says on standard error is read here.
                    "PYTHONIOENCODING": "utf-8",
                },
            )  # fmt: skip
            if job.process.stdin is not None:
                with suppress(OSError, AttributeError):
                    os.set_blocking(job.process.stdin.fileno(), False)
            # The page must stay quick beside two trainings on two cores.
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, job.process.pid, NICENESS)
            job.state = "training"
        except OSError as error:
            job.state, job.problem = "failed", f"{job.run_id}: the training could not be started ({error})."
            job.release()


def _send(process: subprocess.Popen[bytes], message: dict[str, object]) -> bool:
    """Write one line into a pipe; False, at once, when there is no room or nobody at the other end."""
    line = json.dumps(message).encode() + b"\n"
    # Up to this length a pipe takes a line as a whole or not at all.
    if process.stdin is None or len(line) > getattr(select, "PIPE_BUF", 512):
        return False
    try:
        return os.write(process.stdin.fileno(), line) == len(line)
    except (OSError, ValueError):
        return False


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _said(errors: IO[bytes] | None) -> str:
    """All that a process has said; empty if that cannot be read."""
    if errors is None:
        return ""
    try:
        errors.seek(0)
        return errors.read().decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
