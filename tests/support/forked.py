"""A real training for tests in which starting an interpreter and loading torch prove nothing."""

from pathlib import Path

import pytest

from explorer.config.presets import tiny
from explorer.running.forked_process import ForkedProcess, forking, is_available
from explorer.running.jobs import Job

needs_fork_server = pytest.mark.skipif(not is_available(), reason="this system has no fork server")


def start_training(runs: Path, run_id: str, balancer: str = "none", **settings: object) -> ForkedProcess:
    """`explorer train --control-stdin` of the preset `tiny`, forked. settings: of `training`."""
    changes = {f"training.{name}": value for name, value in settings.items()}
    config = tiny().with_settings({**changes, "balancer": balancer})
    return launched(Job(config=config, run_id=run_id, runs=runs, preset="tiny"))


def launched(job: Job, **_: object) -> ForkedProcess:
    """A job's training, forked; takes the place of `LocalProcess`, whose options have no meaning here."""
    with forking():
        return ForkedProcess(job)
