"""The app, with training runs for tests: `python training_app.py PAUSE_S run app.py ...`.

Niced beside other tests, a training gets a quarter of its share, and its page draws for as long as that
takes: here it has all of it. With a pause, it rests after each step: a test that needs a training that goes
on, not one that gets far, leaves the processors to the page.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from streamlit.web.cli import main

from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Job
from explorer.ui.server import jobs

RESTING = Path(__file__).with_name("resting_trainer.py")
PAUSE_S = sys.argv.pop(1)


def launched(job: Job, command: Sequence[str] | None = None, niceness: int = 0) -> LocalProcess:
    """As the server launches it, neither niced nor in a hurry."""
    return LocalProcess(job, (sys.executable, str(RESTING), PAUSE_S) if float(PAUSE_S) else command)


jobs.LocalProcess = launched  # type: ignore[assignment, attr-defined]
main()
