"""Ctrl-C, SIGTERM and SIGHUP as one exception that a command can clean up after."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interrupts:
    """While the block runs, the first of these signals raises KeyboardInterrupt and is remembered.

    An interrupted library may raise something of its own instead (a database "Query interrupted", a half
    loaded module an ImportError), so `received` tells afterwards what the exception really was. A signal
    that the caller ignores (`nohup`) stays ignored, and a command may set its own handlers.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                if signal.getsignal(number) in DEFAULTS:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count: 130 after Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        raise KeyboardInterrupt
