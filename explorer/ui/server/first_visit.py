"""The first visit of a fresh server: its picture comes before everything that would slow the browser."""

import threading
from collections.abc import Sequence

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

ARRIVAL_S = 1.5
"""How long a fresh server waits for its first visitor before it loads its libraries."""
DRAWING_S = 5.0
"""How long it then waits for the browser to draw; a busy machine must not hold the page back for longer."""
DRAWN = "first-picture-is-drawn"
"""Query of the request with which the page says that its first chart stands."""
_SCRIPT = f"""<script type="module">
const look = () => document.querySelector('[data-testid="stVegaLiteChart"] :is(svg, canvas)')
  ? fetch("./_stcore/health?{DRAWN}").catch(() => {{}}) : setTimeout(look, 30);
look();
</script>"""


class FirstVisit:
    """One per server. Shared by its threads: all of its state is events."""

    def __init__(self, messages: Sequence[ForwardMsg]) -> None:
        self.messages = tuple(messages)
        """The picture: what a script run sends for it."""
        self._has_arrived, self._is_drawn, self._is_over = (threading.Event() for _ in range(3))

    def on_visit(self) -> bytes:
        """A browser has asked for the Overview. Returns a script by which it reports that the chart stands.

        Empty where no picture is awaited.
        """
        if not self.is_awaited:
            return b""
        self._has_arrived.set()
        return _SCRIPT.encode()

    def report_drawn(self) -> None:
        """The picture stands, or a visitor wants something else: nothing waits any more."""
        self._has_arrived.set()
        self._is_drawn.set()

    @property
    def is_awaited(self) -> bool:
        """Whether the picture has still to be drawn for the first time."""
        return bool(self.messages) and not self._is_drawn.is_set()

    @property
    def is_due(self) -> bool:
        """Whether a browser that has come gets the kept picture: until the libraries have been loaded."""
        return bool(self.messages) and self._has_arrived.is_set() and not self._is_over.is_set()

    def wait_until_drawn(self) -> None:
        """Until the browser that has this picture has drawn it."""
        if self.messages:
            self._is_drawn.wait(DRAWING_S)

    def wait(self, arrival_s: float = ARRIVAL_S) -> None:
        """Until the picture stands, or it seems that nobody will come."""
        if self.messages and self._has_arrived.wait(arrival_s):
            self.wait_until_drawn()

    def end(self) -> None:
        """The libraries have been loaded: from now on every page is drawn from the runs themselves."""
        self._is_over.set()


_current = FirstVisit(())


def scripts_for(path: str, query: str) -> bytes:
    """What the page at this address is to run; any other than the plain Overview ends the waiting."""
    if path.endswith("/") and not query:
        return _current.on_visit()
    _current.report_drawn()
    return b""


def current() -> FirstVisit:
    """That of this server; one without a picture where none has been kept."""
    return _current


def begin(messages: Sequence[ForwardMsg]) -> FirstVisit:
    """The server has just started, and this is its picture."""
    global _current
    _current = FirstVisit(messages)
    return _current
