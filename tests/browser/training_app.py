"""The app, with training runs for tests: `python training_app.py PAUSE_S run app.py ...`.

Niced beside other tests, a training gets a quarter of its share, and its page draws for as long as that
takes: here it has all of it. With a pause, it rests after each step: a test that needs a training that goes
on, not one that gets far, leaves the processors to the page. The Train page ticks every two
seconds, a quarter as often as for users: a tick costs server and browser a third of a second, and no test
asks how often it comes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from streamlit.web.cli import main

from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Job
from explorer.ui.server import jobs
from explorer.ui.train import page as train_page

RESTING = Path(__file__).with_name("resting_trainer.py")
PAUSE_S = sys.argv.pop(1)
TICK_S = 2.0


def launched(job: Job, command: Sequence[str] | None = None, niceness: int = 0) -> LocalProcess:
    """As the server launches it, neither niced nor in a hurry."""
    return LocalProcess(job, (sys.executable, str(RESTING), PAUSE_S) if float(PAUSE_S) else command)


jobs.LocalProcess = launched  # type: ignore[assignment, attr-defined]
train_page.TICK_S = TICK_S
main()
