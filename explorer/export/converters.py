"""Two worker processes that draw charts: one as SVG, one that converts the SVG to the other formats.

vl-convert holds Python's global lock while it works, so threads would block each other. Only the first worker
starts the JavaScript engine, which takes longer than a drawing; when it has drawn everything, it helps the
other one. A worker reads pickled work from its input and answers on its output; it ends when its input
closes, so none outlives the command that started it, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from explorer.config.places import ROOT
from explorer.export.orders import Order, OrderFiles

if TYPE_CHECKING:
    from explorer.export.drawing import Drawing
    from explorer.export.kept import KeptDrawings

NICENESS = 5
"""Of a worker: the caller, on whose charts it waits, has a core of its own while all three start."""

Task = Literal["draw", "convert"]


class ConverterError(Exception):
    """A chart could not be drawn; the text is the converter's error."""


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """The drawings of an order, before their conversion."""

    whole: "Drawing"
    untitled: "Drawing"
    """For a report."""
    kinds: tuple[str, ...]
    dpi: int
    alt: str
    """Alternative text in a report."""


class Converters:
    """The two workers. Close them, or use this in a `with`.

    kept: drawings of earlier exports. With some of them the workers start with the first order that is not
    among them; otherwise at once, since they start while the caller loads its libraries.
    """

    def __init__(self, kept: "KeptDrawings | None" = None) -> None:
        self._kept = kept
        self._workers: tuple[_Worker, ...] = ()
        self._pending: deque[tuple[Future[Sketch], Future[OrderFiles]]] = deque()
        self._new: dict[str, Future[OrderFiles]] = {}
        self._taking = threading.Lock()
        if kept is None or kept.is_empty:
            self._start()

    def _start(self) -> None:
        if not self._workers:
            self._workers = (_Worker("draw"), _Worker("convert"))

    @property
    def drawing(self) -> "_Worker":
        """The worker that draws."""
        self._start()
        return self._workers[0]

    @property
    def converting(self) -> "_Worker":
        """The worker that converts."""
        self._start()
        return self._workers[1]

    def draw(self, order: Order) -> "Future[OrderFiles]":
        """A future of an order's files, which raises ConverterError if the chart cannot be drawn."""
        files: Future[OrderFiles] = Future()
        if self._kept is not None:
            from explorer.export.kept import digest_of

            digest = digest_of(order)
            known = self._kept.get(digest)
            if known is not None:
                files.set_result(known)
                return files
            self._new[digest] = files
        self._pending.append((self.drawing.submit(order), files))
        self.converting.call(self._convert_next)
        return files

    def share_rest(self) -> None:
        """Let the drawing worker convert as well, once it has drawn what was ordered by now."""
        for _ in range(len(self._pending)):
            self.drawing.call(self._convert_next)

    def keep(self) -> None:
        """Keep what has been drawn, for the next export."""
        if self._kept is None:
            return
        for digest, files in self._new.items():
            if files.done() and not files.cancelled() and files.exception() is None:
                self._kept.put(digest, files.result())
        self._kept.save()

    def _convert_next(self, worker: "_Worker") -> None:
        """Convert the oldest sketch that nobody has taken; none may be left."""
        with self._taking:
            # The drawing worker cannot wait for what it is yet to draw.
            if not self._pending or (worker is self._workers[0] and not self._pending[0][0].done()):
                return
            sketch, files = self._pending.popleft()
        try:
            files.set_result(worker.run(sketch.result()))
        except Exception as error:  # whatever it is, the one who waits for the files hears of it
            files.set_exception(error)

    def stop(self) -> None:
        """Kill the processes without waiting for their end; pending orders are dropped."""
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        """End the processes; pending orders are dropped."""
        self.stop()
        for worker in self._workers:
            worker.wait()
        while self._pending:
            self._pending.pop()[1].cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """A process and the thread that asks it, one piece of work after the other."""

    def __init__(self, task: Task) -> None:
        self._task: Task = task
        self.process = _start(task)
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = ThreadPoolExecutor(1, f"converter-{task}")

    def submit(self, work: Any) -> "Future[Any]":
        """The answer to some work."""
        return self._thread.submit(self.run, work)

    def call(self, function: "Callable[[_Worker], None]") -> None:
        """Call a function with this worker on its thread, when all that was submitted before is done."""
        self._thread.submit(function, self)

    def run(self, work: Any) -> Any:
        """The answer to some work; only on its thread. Raises ConverterError."""
        try:
            answer = _ask(self.process, work)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._replace()
            raise ConverterError("the converter exited without a result") from error
        if isinstance(answer, str):
            raise ConverterError(answer)
        return answer

    def _replace(self) -> None:
        with self._lock:
            self.process.kill()
            _reap(self.process)
            if not self._is_closed:
                self.process = _start(self._task)

    def stop(self) -> None:
        """Kill the process and drop what it was to do."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed = True
            self.process.kill()

    def wait(self) -> None:
        """Wait until the killed process has ended."""
        with self._lock:
            _reap(self.process)


def _start(task: Task) -> "subprocess.Popen[bytes]":
    # In a separate session: Ctrl-C goes to the command, which then closes the worker's input.
    return subprocess.Popen(
        [sys.executable, "-c", f"from explorer.export.converters import serve; serve({task!r})"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _reap(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


def _ask(process: "subprocess.Popen[bytes]", work: Any) -> Any:
    if process.stdin is None or process.stdout is None or process.stdin.closed:
        raise EOFError
    pickle.dump(work, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    return pickle.load(process.stdout)


# --- In the processes ---


def serve(task: Task) -> None:
    """Answer incoming work until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    # Output of libraries must not mix with the answers.
    sys.stdout = sys.stderr
    from explorer.export import drawing

    if task == "draw":
        drawing.warm_up()
    else:
        drawing.load_fonts()
    while True:
        try:
            work = pickle.load(source)
        except EOFError:
            return
        answer: Sketch | OrderFiles | str
        try:
            answer = sketch(work) if isinstance(work, Order) else convert(work)
        except Exception as error:
            answer = words(error)
        pickle.dump(answer, target, pickle.HIGHEST_PROTOCOL)
        target.flush()


def sketch(order: Order) -> Sketch:
    """Draw an order as SVG."""
    from explorer.export import drawing

    whole, untitled = drawing.draw_twice(order.chart, order.settings)
    if order.page is not None:
        untitled = drawing.draw(*order.page)
    return Sketch(
        whole=whole,
        untitled=untitled,
        kinds=order.kinds,
        dpi=order.settings.dpi,
        alt=order.chart.subject,
    )


def convert(drawings: Sketch) -> OrderFiles:
    """The files of drawings."""
    from explorer.export import drawing

    files = {kind: drawing.convert(drawings.whole, kind, drawings.dpi) for kind in drawings.kinds}
    return OrderFiles(files=files, in_page=drawings.untitled.in_page(drawings.alt))


def words(error: Exception) -> str:
    """Kind and text of an error in one line."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
