"""What a script run sends, in a few bursts instead of one message at a time."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

HOLD_S = 0.2
"""How long a message waits for the next ones of its script run."""
PART_BYTES = 8_000
"""What the first fragment of a run sends goes ahead of the others from this size on: less is not worth a
rendering of its own."""


class Bursts:
    """ASGI middleware.

    Streamlit's page is rendered anew after every message that arrives alone: each render visits every element
    of the page whose state of the script run changes, and 20 messages of one move cost more than everything
    else in it. Messages that arrive together are rendered together. The first run of a connection is not held
    back: while it lasts the browser loads what the messages name. A run that ends because another one follows
    at once, e.g. of a fragment that a callback names, is no end to be told. Of a run of several fragments the
    first, which holds what was clicked, is sent ahead if it is large: the browser renders it while the script
    draws the others.
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
        self._later_parts: frozenset[str] = frozenset()

    async def send(self, message: Message) -> None:
        """Send a message now, or together with those that follow.

        Raises what sending raises, where a message that waited could not be sent also with the next one.
        """
        content = content_of(message)
        if self._begins_later_part(content):
            self._later_parts = frozenset()
            if sum(len(waiting.get("bytes") or b"") for waiting in self._waiting) >= PART_BYTES:
                self._stop_timer()
                await self._flush()
        self._waiting.append(message)
        if content and content.WhichOneof("type") == "script_finished":
            self._is_followed = content.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        has_ended = ends_run(content) and not self._is_followed
        if has_ended or not self._has_run or "bytes" not in message:
            self._has_run |= has_ended
            self._stop_timer()
            await self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._later())
        if self._error:
            raise self._error

    def _begins_later_part(self, content: ForwardMsg | None) -> bool:
        """Whether a run's second fragment begins with it; notes the fragments of a new run."""
        if content is None:
            return False
        if content.WhichOneof("type") == "new_session":
            self._later_parts = frozenset(content.metadata.run.fragment_ids[1:])
            return False
        return content.delta.fragment_id in self._later_parts

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


def content_of(message: Message) -> ForwardMsg | None:
    """What a message tells the page; None of what is no message to it."""
    data = message.get("bytes")
    return ForwardMsg.FromString(data) if data else None


def ends_run(content: ForwardMsg | None) -> bool:
    """Whether it says that no script is running any more."""
    if content is None or content.WhichOneof("type") != "session_status_changed":
        return False
    return not content.session_status_changed.script_is_running
