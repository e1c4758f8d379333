"""What a script run sends, in a few bursts instead of one message at a time."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

HOLD_S = 0.2
"""How long a message waits for the next ones of its script run."""
STATUS_BYTES = 1024
"""No message on the state of a run is longer, though it names all of its fragments; others are not parsed."""


class Bursts:
    """ASGI middleware.

    Streamlit's page is rendered anew after every message that arrives alone: each render visits every element
    of the page whose state of the script run changes, and 20 messages of one move cost more than everything
    else in it. Messages that arrive together are rendered together. The first run of a connection is not held
    back: while it lasts the browser loads what the messages name. A run that ends because another one follows
    at once, e.g. of a fragment that a callback names, is no end to be told.
    """

    def __init__(self, app: ASGIApp, hold_s: float = HOLD_S) -> None:
        self.app = app
        self.hold_s = hold_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold back what a websocket sends while a script runs; everything else passes."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        burst = Burst(send, self.hold_s)
        try:
            await self.app(scope, receive, burst.send)
        finally:
            burst.close()


class Burst:
    """The messages of one connection that wait. Mutable: one per connection, used by its event loop alone."""

    def __init__(self, send: Send, hold_s: float) -> None:
        self._pass_on, self._hold_s = send, hold_s
        self._waiting: list[Message] = []
        self._lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._has_run = False
        self._is_followed = False

    async def send(self, message: Message) -> None:
        """Send a message now, or together with those that follow.

        Raises what sending raises, where a message that waited could not be sent also with the next one.
        """
        self._waiting.append(message)
        status = status_of(message)
        if status and status.WhichOneof("type") == "script_finished":
            self._is_followed = status.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        has_ended = ends_run(status) and not self._is_followed
        if has_ended or not self._has_run or "bytes" not in message:
            self._has_run |= has_ended
            self._stop_timer()
            await self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._later())
        if self._error:
            raise self._error

    def close(self) -> None:
        """Forget what waits: the connection has ended."""
        self._stop_timer()
        self._waiting.clear()

    async def _later(self) -> None:
        await asyncio.sleep(self._hold_s)
        self._timer = None
        try:
            await self._flush()
        except Exception as error:  # raised by the next send, where the server expects it
            self._error = error

    async def _flush(self) -> None:
        # One at a time, or two bursts would be sent into each other.
        async with self._lock:
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                await self._pass_on(message)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def status_of(message: Message) -> ForwardMsg | None:
    """What a message says if it is short enough to be on the state of a script run."""
    data = message.get("bytes")
    return ForwardMsg.FromString(data) if data and len(data) <= STATUS_BYTES else None


def ends_run(status: ForwardMsg | None) -> bool:
    """Whether it says that no script is running any more."""
    if status is None or status.WhichOneof("type") != "session_status_changed":
        return False
    return not status.session_status_changed.script_is_running
