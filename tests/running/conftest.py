"""A queue of stand-ins for training runs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trainers

from explorer.running.child_process import LocalProcess
from explorer.running.run_queue import RunQueue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[RunQueue]:
    """A queue that runs two at a time."""
    launch = partial(LocalProcess, command=trainers.trainer_command(tmp_path))
    with RunQueue(2, launch) as made:
        yield made
