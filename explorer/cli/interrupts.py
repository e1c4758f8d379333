"""Ctrl-C, SIGTERM and SIGHUP as one exception that a command can clean up after."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""
ALARM: signal.Signals | None = getattr(signal, "SIGALRM", None)
AGAIN_S = 0.5
"""Seconds after which an unhandled interrupt is raised again."""
AT_ONCE_S = 1e-3
"""An alarm in 0 s would be none."""
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interrupts:
    """While the block runs, the first of these signals raises KeyboardInterrupt and is remembered.

    An interrupted library may raise something of its own instead (a database "Query interrupted", a half
    loaded module an ImportError), so `received` tells afterwards what the exception really was. A library
    may also swallow it (DuckDB does while it tries an optional import), so it is raised again until it gets
    out; not while an exception is being handled, which is when a command cleans up. That takes the alarm
    clock of the process, from the signal to the end of the block; a caller who had set it gets it back.
    A signal that the caller ignores (`nohup`) stays ignored, and a command may set its own handlers.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._is_open = False
        self._before: dict[signal.Signals, Any] = {}
        self._alarm: _Alarm | None = None

    def __enter__(self) -> "Interrupts":
        self._is_open = True
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                if signal.getsignal(number) in DEFAULTS:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._alarm is not None:
            self._alarm.give_back()

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count: 130 after Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        # Only now: until a signal comes the clock is the caller's, who may be waiting for it.
        if self._alarm is None and ALARM is not None and signal.getsignal(ALARM) is not None:
            self._alarm = _Alarm(ALARM, self._on_alarm)
        raise KeyboardInterrupt

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if self._is_open and sys.exc_info()[0] is None:
            raise KeyboardInterrupt


class _Alarm:
    """The alarm clock of the process, borrowed from the caller that had set it."""

    def __init__(self, number: signal.Signals, on_alarm: Callable[[int, FrameType | None], None]) -> None:
        self._number = number
        self._seconds, self._interval = signal.setitimer(signal.ITIMER_REAL, 0)
        self._taken = time.monotonic()
        self._handler = signal.signal(number, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)

    def give_back(self) -> None:
        """Go on with the caller's time; an alarm that was due meanwhile comes at once."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(self._number, self._handler)
        if self._seconds:
            left = self._seconds - (time.monotonic() - self._taken)
            signal.setitimer(signal.ITIMER_REAL, max(left, AT_ONCE_S), self._interval)
