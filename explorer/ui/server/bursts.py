"""What a script run sends, in a few bursts instead of one message at a time."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_cache import create_reference_msg

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
    at once, e.g. of a fragment that a callback names, is no end to be told. If a run has several
    fragments, the elements of the first, which holds what was clicked, are sent ahead if they are large: the
    browser renders only them while the script draws the others. They are sent again with the rest of the run;
    otherwise the page would take them for elements of an earlier run and remove them at its end.
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
            await self._send_ahead()
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

    async def _send_ahead(self) -> None:
        """Send the waiting elements, if they are large, and keep them to be sent again with the rest.

        The message that a run begins is not sent ahead: the page renders as a whole on it, which should
        happen once.
        """
        elements = [message for message in self._waiting if changes_page(content_of(message))]
        if sum(len(message["bytes"]) for message in elements) < PART_BYTES:
            return
        self._stop_timer()  # the rest gets the full time again
        async with self._lock:
            for message in elements:
                await self._pass_on(message)
        self._waiting = [known_again(message) for message in self._waiting]

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


def changes_page(content: ForwardMsg | None) -> bool:
    """Whether it is an element or a container, or a reference to one that the page has already received."""
    return content is not None and content.WhichOneof("type") in ("delta", "ref_hash")


def known_again(message: Message) -> Message:
    """The message for a page that has already received it: a large element becomes its digest."""
    content = content_of(message)
    if not changes_page(content) or not content or not content.metadata.cacheable or not content.hash:
        return message
    return {**message, "bytes": create_reference_msg(content).SerializeToString()}


def ends_run(content: ForwardMsg | None) -> bool:
    """Whether it says that no script is running any more."""
    if content is None or content.WhichOneof("type") != "session_status_changed":
        return False
    return not content.session_status_changed.script_is_running
