"""Ctrl-C, SIGTERM and SIGHUP as one exception, so that a command can clean up."""

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
"""Minimum delay: an alarm of 0 s is disabled."""
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interrupts:
    """Inside the block, the first of these signals raises KeyboardInterrupt and is stored.

    An interrupted library may raise another exception instead (a database "Query interrupted", a half
    loaded module an ImportError), so `received` holds the actual cause. A library may also swallow it
    (DuckDB does while it tries an optional import), so it is raised again until it propagates, but not
    while an exception is being handled, when a command cleans up. That uses the process's alarm timer,
    from the signal to the end of the block; a timer set by the caller is restored.
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
        """128 plus the signal number, as in shells: 130 after Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        # Only now: until a signal arrives the timer belongs to the caller, who may be waiting for it.
        if self._alarm is None and ALARM is not None and signal.getsignal(ALARM) is not None:
            self._alarm = _Alarm(ALARM, self._on_alarm)
        raise KeyboardInterrupt

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if self._is_open and sys.exc_info()[0] is None:
            raise KeyboardInterrupt


class _Alarm:
    """The process's alarm timer, borrowed from the caller."""

    def __init__(self, number: signal.Signals, on_alarm: Callable[[int, FrameType | None], None]) -> None:
        self._number = number
        self._seconds, self._interval = signal.setitimer(signal.ITIMER_REAL, 0)
        self._taken = time.monotonic()
        self._handler = signal.signal(number, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)

    def give_back(self) -> None:
        """Restore the caller's timer; an alarm that was due meanwhile fires at once."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(self._number, self._handler)
        if self._seconds:
            seconds_left = self._seconds - (time.monotonic() - self._taken)
            signal.setitimer(signal.ITIMER_REAL, max(seconds_left, AT_ONCE_S), self._interval)
