"""Worker processes that draw charts.

vl-convert holds Python's global lock while it works, so threads would block each other. A worker process
reads pickled orders from its input and answers on its output; it ends when its input closes, so none
outlives the command that started it, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from explorer.export.drawing import Chart
    from explorer.export.settings import FigureSettings

MOST = 2
"""Each takes about 150 MB and half a second to start; more hardly help, as the caller is slower."""
_CODE = "from explorer.export.converters import serve; serve()"
_FOLDER = Path(__file__).parents[2]


class ConverterError(Exception):
    """A chart could not be drawn; the text is the converter's error."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order to draw one chart."""

    chart: "Chart"
    settings: "FigureSettings"
    kinds: tuple[str, ...]
    """Formats of `drawing.convert`."""
    page: "tuple[Chart, FigureSettings] | None" = None
    """The chart for a report, if that is a different drawing."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The files of an order."""

    files: Mapping[str, bytes]
    """By format."""
    in_page: str
    """The drawing for a report, without its title."""


class Converters:
    """A pool of processes that draw charts. Close it, or use it in a `with`."""

    def __init__(self, most: int = MOST) -> None:
        # One core is busy building the charts.
        count = max(1, min(most, (os.cpu_count() or 1) - 1))
        self._free: list[subprocess.Popen[bytes]] = [_start() for _ in range(count)]
        self._all = list(self._free)
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(count, "converter")

    def draw(self, order: Order) -> "Future[Drawn]":
        """A future of an order's files, which raises ConverterError if the chart cannot be drawn."""
        return self._threads.submit(self._run, order)

    def _run(self, order: Order) -> Drawn:
        with self._lock:
            process = self._free.pop()
        try:
            answer = _ask(process, order)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            process.kill()
            with self._lock:
                process = _start()
                self._all.append(process)
            raise ConverterError("the converter exited without a result") from error
        finally:
            with self._lock:
                self._free.append(process)
        if isinstance(answer, str):
            raise ConverterError(answer)
        drawn: Drawn = answer
        return drawn

    def close(self) -> None:
        """End the processes; pending orders are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start() -> "subprocess.Popen[bytes]":
    # In a separate session: Ctrl-C goes to the command, which then closes the worker's input.
    return subprocess.Popen(
        [sys.executable, "-c", _CODE],
        cwd=_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _ask(process: "subprocess.Popen[bytes]", order: Order) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump(order, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    return pickle.load(process.stdout)


# --- In the process that draws ---


def serve() -> None:
    """Draw incoming orders until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    # Output of libraries must not mix with the answers.
    sys.stdout = sys.stderr
    from explorer.export import drawing

    drawing.warm_up()
    while True:
        try:
            order = pickle.load(source)
        except EOFError:
            return
        answer: Drawn | str
        try:
            answer = fill(order)
        except Exception as error:
            answer = words(error)
        pickle.dump(answer, target, pickle.HIGHEST_PROTOCOL)
        target.flush()


def fill(order: Order) -> Drawn:
    """Draw an order in this process."""
    from explorer.export import drawing

    whole, untitled = drawing.draw_twice(order.chart, order.settings)
    files = {kind: drawing.convert(whole, kind, order.settings.dpi) for kind in order.kinds}
    if order.page is not None:
        untitled = drawing.draw(*order.page)
    return Drawn(files=files, in_page=untitled.in_page(order.chart.subject))


def words(error: Exception) -> str:
    """Kind and text of an error in one line."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
