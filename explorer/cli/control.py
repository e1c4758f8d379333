"""Requests to stop a run or to change its rules: Ctrl-C, SIGTERM, SIGHUP, or messages of
`explorer.running.messages` on standard input.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from explorer.config.rule_text import Defaults
from explorer.running.messages import PREFIX
from explorer.training.switching import SwitchRequest

KNOWN = '{"command": "stop"} or {"command": "switch", "rules": "loss_free"}'


class Control:
    """Polled by the loop between steps: whether to stop (a call), and rule switches (`Switches`).

    The first Ctrl-C requests a stop, the second interrupts at once.
    """

    def __init__(self, control_stdin: bool = False) -> None:
        self.defaults: Defaults | None = None
        """Default settings of rules from the run's preset."""
        self._stop = threading.Event()
        self._rule_texts: queue.SimpleQueue[str] = queue.SimpleQueue()
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        # A closed terminal stops a run like Ctrl-C; under `nohup` the signal stays ignored.
        hang_up = getattr(signal, "SIGHUP", None)
        if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
            signal.signal(hang_up, self._on_signal)
        if control_stdin:
            threading.Thread(target=self._read_commands, daemon=True).start()

    def __call__(self) -> bool:
        return self._stop.is_set()

    def waiting(self) -> bool:
        return not self._rule_texts.empty()

    def take(self) -> Sequence[SwitchRequest]:
        requests = []
        while self.waiting():
            requests.append(SwitchRequest(text=self._rule_texts.get(), defaults=self.defaults))
        return requests

    def answer(self, sentence: str) -> None:
        say(sentence)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def _read_commands(self) -> None:
        """One JSON object per line; the end of the pipe means that the parent process is gone."""
        for line in _lines(sys.stdin.fileno()):
            command = read_command(line.decode("utf-8", "replace"))
            if isinstance(command, Stop):
                break
            if isinstance(command, Switch):
                self._rule_texts.put(command.rules)
        self._stop.set()


def _lines(handle: int) -> Iterator[bytes]:
    """The lines of a pipe until it closes.

    Read without Python's file object: a thread blocked in one aborts the process at exit.
    """
    rest = b""
    with suppress(OSError):
        while chunk := os.read(handle, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    if rest:
        yield rest


@dataclass(frozen=True)
class Stop:
    """Stop after this step."""


@dataclass(frozen=True)
class Switch:
    """Change the rules."""

    rules: str


def read_command(line: str) -> Stop | Switch | None:
    """Parse a command. An invalid line gets a message, and the run continues."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        data = None
    match data:
        case {"command": "stop"}:
            return Stop()
        case {"command": "switch", "rules": str(rules)}:
            return Switch(rules)
        case {"command": "switch"}:
            say('switch: rules must be a text such as "loss_free:u=0.003" or "none"; nothing changes.')
        case _:
            excerpt = line.strip()
            excerpt = f"{excerpt[:80]}…" if len(excerpt) > 80 else excerpt
            say(f"{excerpt!r} is not known; write {KNOWN}.")
    return None


def say(sentence: str) -> None:
    print(f"{PREFIX}{sentence}", file=sys.stderr, flush=True)
