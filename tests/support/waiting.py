"""Wait for a condition; the time limit exists only to end a hanging test."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def wait_for(condition: Callable[[], object], every_s: float = 0.02) -> None:
    """Wait until the condition holds; the time limit exists only to end a hanging test.

    every_s: how often it is asked; a condition that asks a browser costs both sides some milliseconds.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(every_s)
