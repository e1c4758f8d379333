"""A training job for a child process: its configuration, folder and state."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from explorer.config.presets import RULE_DEFAULTS
from explorer.config.rule_text import Rule, parse_rules
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import RunFolderError
from explorer.recording import RunFolder
from explorer.recording.status import RunStatus, read_status
from explorer.running.last_words import reason

OPEN_STATES = ("waiting", "training", "stopping")


class Child(Protocol):
    """Interface of a started training process, to be implemented by launchers."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def send(self, line: bytes) -> bool:
        """Write one line of `explorer.running.messages`. Never blocks; False if it cannot be delivered."""

    def hang_up(self) -> None:
        """Close the pipe, which also requests a stop."""

    def output(self) -> str:
        """Its standard error so far; empty after `release`."""

    def end(self, deadline: float) -> None:
        """Wait until `deadline` (`time.monotonic`), then kill it."""

    def release(self) -> None:
        """Free the resources of the process; called once it has ended."""


@dataclass(kw_only=True, eq=False)
class Job:
    """One training of a `RunQueue`. Compared by identity: two jobs may have equal configurations."""

    config: RunConfig
    run_id: str
    runs: Path
    """The folder that holds the run folder."""
    preset: str | None = None
    """Preset for settings that a rule's text omits."""
    resume: bool = False
    """Resume the run in `path` from its newest checkpoint; its folder holds the configuration."""
    keep_model: bool = False
    """Keep the finished model in `path`, for `explorer.tasks`."""
    state: str = "waiting"
    """waiting, training, stopping, ended (as asked, or with its last step), failed or cancelled."""
    problem: str = ""
    """Reason of a failure: one sentence that begins with the run id."""
    child: Child | None = field(default=None, repr=False)
    sent_rules: list[str] = field(default_factory=list)
    """The rules of every rule switch sent, as typed; see `RunQueue.answers`."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.runs / self.run_id

    @property
    def is_open(self) -> bool:
        """True until it has ended, failed or been cancelled."""
        return self.state in OPEN_STATES

    @property
    def status(self) -> RunStatus | None:
        """The run's status; None before there is a run folder."""
        return read_status(self.path) if self.path.exists() else None

    @property
    def steps_done(self) -> int:
        """Optimizer steps recorded so far."""
        status = self.status
        return 0 if status is None else status.last_step + 1

    @property
    def failure(self) -> str:
        """Why a closed job did not finish its run; empty if it did."""
        status = self.status
        if self.state == "ended" and status is not None and status.state == "finished":
            return ""
        return self.problem or f"{self.run_id}: {reason('', 0)}"

    def rules_of(self, text: str) -> tuple[Rule, ...]:
        """Parse rules for this job. Raises ConfigError if they do not fit it."""
        rules = parse_rules(text, RULE_DEFAULTS.get(self.preset or ""))
        self.under(rules)
        return rules

    def under(self, rules: tuple[Rule, ...]) -> RunConfig:
        """The configuration under these rules alone, as after a switch, without earlier rules."""
        return replace(self.config, balancer=BalancerConfig(rules=rules))


def is_already_finished(job: Job) -> bool:
    """Whether the run folder holds a finished run of exactly this configuration.

    Raises RunFolderError for a folder with anything else: an unfinished run, or another configuration.
    """
    if not job.path.exists():
        return False
    folder = RunFolder(job.path)
    if folder.status.state != "finished":
        raise RunFolderError(
            f"{job.run_id}: exists and is {folder.status.state}; resume it with train --resume, or delete it."
        )
    if folder.info.config_digest != job.config.digest:
        raise RunFolderError(
            f"{job.run_id}: exists with another configuration; delete it or choose another --runs folder."
        )
    return True
