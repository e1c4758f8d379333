"""Ctrl-C, SIGTERM and SIGHUP as one exception that a command can clean up after."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""
ALARM: signal.Signals | None = getattr(signal, "SIGALRM", None)
AGAIN_S = 0.5
"""Seconds after which an interrupt that nobody took is raised again."""
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interrupts:
    """While the block runs, the first of these signals raises KeyboardInterrupt and is remembered.

    An interrupted library may raise something of its own instead (a database "Query interrupted", a half
    loaded module an ImportError), so `received` tells afterwards what the exception really was. A library
    may also swallow it (DuckDB does while it tries an optional import), so it is raised again until it gets
    out; not while an exception is being handled, which is when a command cleans up. A signal that the
    caller ignores (`nohup`) stays ignored, and a command may set its own handlers.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                if signal.getsignal(number) in DEFAULTS:
                    self._before[number] = signal.signal(number, self._on_signal)
            if ALARM is not None:
                self._before[ALARM] = signal.signal(ALARM, self._on_alarm)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if ALARM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count: 130 after Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if ALARM in self._before:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        raise KeyboardInterrupt

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if self.received and sys.exc_info()[0] is None:
            raise KeyboardInterrupt
