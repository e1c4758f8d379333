"""A heartbeat that does not depend on progress: a timer thread beside the training loop.

A step, a compilation or a checkpoint may take minutes. The thread ends with its owner or
the process, and does not exist in a forked child.
"""

import threading
import weakref
from collections.abc import Callable

INTERVAL_S = 15.0


class Heartbeat:
    """Calls a bound method every `INTERVAL_S` seconds until it returns false, or its object is gone."""

    def __init__(self, beat: Callable[[], bool], name: str) -> None:
        self._ended = threading.Event()
        target = weakref.WeakMethod(beat)
        # A daemon, so that it does not keep a process alive that exits without `finish`.
        self._thread = threading.Thread(
            target=_run, args=(target, self._ended), name=f"heartbeat-{name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeat; no further beat begins after this returns."""
        self._ended.set()
        self._thread.join()


def _run(target: "weakref.WeakMethod[Callable[[], bool]]", ended: threading.Event) -> None:
    while not ended.wait(INTERVAL_S):
        beat = target()
        if beat is None or not beat():
            return
        del beat
