"""`python resting_trainer.py PAUSE_S ...` is `explorer train ...` that rests after each step."""

import sys
import time
from typing import Any

from explorer.cli import main
from explorer.training import loop

PAUSE_S = float(sys.argv[1])
step = loop.train_step


def rested(*arguments: Any) -> Any:
    """One step, and then the pause."""
    log = step(*arguments)
    time.sleep(PAUSE_S)
    return log


loop.train_step = rested
sys.exit(main(["train", *sys.argv[2:]]))
