"""Wait for a condition; the time limit exists only to end a hanging test."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; the time limit exists only to end a hanging test."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
