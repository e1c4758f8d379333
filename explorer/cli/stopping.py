"""How a run is asked to stop: Ctrl-C, SIGTERM, or a line on standard input."""

import json
import signal
import sys
import threading
from types import FrameType
from typing import Any


class StopSignal:
    """Called between steps. The first Ctrl-C asks for a stop, the second interrupts at once."""

    def __init__(self, control_stdin: bool = False) -> None:
        self._event = threading.Event()
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if control_stdin:
            threading.Thread(target=self._read_commands, daemon=True).start()

    def __call__(self) -> bool:
        return self._event.is_set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()

    def _read_commands(self) -> None:
        """One JSON object a line; the end of the pipe means that whoever started us is gone."""
        for line in sys.stdin:
            if _command(line) == "stop":
                break
        self._event.set()


def _command(line: str) -> Any:
    try:
        data = json.loads(line)
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("command") != "stop":
        print(f'control: {line.strip()!r} is not known; write {{"command": "stop"}}', file=sys.stderr)
        return None
    return data["command"]
