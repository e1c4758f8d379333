"""A visitor without a browser: a Streamlit session over its websocket, using the browser's protocol.

A session opens a page, follows links and moves widgets, and receives elements until the script has run. It
keeps the URL and the elements of its page, and draws nothing.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

PATIENCE_S = 60.0
"""Default timeout: a script run that takes longer counts as unanswered."""


@dataclass(frozen=True)
class Widget:
    """The identifiers needed to change a widget."""

    id: str
    label: str
    kind: str
    fragment: str
    """The fragment that reruns when it changes; empty: the whole page."""
    parameter: str
    """The URL parameter that holds its value; empty: none."""


@dataclass
class Visitor:
    """One session. Must not be used by two tasks at once."""

    base: str
    """http://host:port of the server."""
    patience_s: float = PATIENCE_S
    page: str = ""
    query: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    """Path of a page -> the hash with which a browser requests it."""
    page_hash: str = ""
    elements: dict[tuple[int, ...], Any] = field(default_factory=dict)
    fragments: dict[tuple[int, ...], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    """Exceptions shown on the page."""
    bytes_received: int = 0
    socket: Any = None

    async def open(self, page: str = "", query: str = "") -> float:
        """Open a URL in a new session. Returns the seconds until the page has run."""
        await self.close()
        self.page, self.query, self.page_hash = page, query, ""
        self.elements, self.fragments = {}, {}
        self.socket = await websockets.connect(
            f"{self.base.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            origin=websockets.Origin(self.base),
            max_size=None,
            open_timeout=self.patience_s,
            ping_interval=None,
            # Requests to the local server bypass any proxy set in the environment.
            proxy=None,
        )
        return await self._run(self._message())

    async def follow(self, page: str) -> float:
        """Follow a link inside the app: same session, another page, only the app-wide URL parameters."""
        self.page, self.page_hash = page, self.pages[page]
        return await self._run(self._message())

    async def set_number(self, label: str, value: float) -> float:
        """Type a number into a field. Returns the seconds until everything that depends on it has run."""
        widget = self.widget(label, "number_input")
        if widget.parameter:
            self.query = urlencode(dict(parse_qsl(self.query)) | {widget.parameter: f"{value:g}"})
        message = self._message(widget.fragment)
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.double_value = widget.id, value
        return await self._run(message)

    def widget(self, label: str, kind: str) -> Widget:
        """The widget with this label. Raises LookupError, with the page's errors if there are any."""
        for path, element in self.elements.items():
            if element.WhichOneof("type") == kind and getattr(element, kind).label == label:
                proto = getattr(element, kind)
                return Widget(proto.id, label, kind, self.fragments[path], proto.query_param_key)
        raise LookupError(f"/{self.page}?{self.query} has no {kind} {label!r}; errors: {self.errors}")

    def texts(self) -> list[str]:
        """All texts of the page, in page order."""
        markdown = (self.elements[path] for path in sorted(self.elements))
        return [e.markdown.body for e in markdown if e.WhichOneof("type") == "markdown"]

    async def close(self) -> None:
        if self.socket is not None:
            await self.socket.close()
            self.socket = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _message(self, fragment: str = "") -> BackMsg:
        message = BackMsg()
        rerun = message.rerun_script
        rerun.query_string, rerun.page_script_hash, rerun.fragment_id = self.query, self.page_hash, fragment
        if not self.page_hash:
            rerun.page_name = self.page
        rerun.context_info.url = f"{self.base}/{self.page}"
        rerun.context_info.timezone, rerun.context_info.locale = "UTC", "en"
        return message

    async def _run(self, message: BackMsg) -> float:
        began = time.monotonic()
        await self.socket.send(message.SerializeToString())
        if not message.rerun_script.fragment_id:
            self.elements, self.fragments = {}, {}
        try:
            async with asyncio.timeout(self.patience_s):
                await self._until_finished()
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.patience_s:.0f} s") from None
        return time.monotonic() - began

    async def _until_finished(self) -> None:
        """Receive messages until the end of a script run that began meanwhile."""
        has_begun = False
        while True:
            data = await self.socket.recv()
            self.bytes_received += len(data)
            answer = ForwardMsg.FromString(data)
            kind = answer.WhichOneof("type")
            # Ignore the end of a run that this one interrupted.
            has_begun = has_begun or kind == "new_session"
            if kind == "script_finished" and has_begun:
                return
            self._take(answer, kind)

    def _take(self, answer: ForwardMsg, kind: str | None) -> None:
        if kind == "new_session":
            self.page_hash = answer.new_session.page_script_hash or self.page_hash
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in answer.navigation.app_pages}
            self.page_hash = answer.navigation.page_script_hash or self.page_hash
        elif kind == "page_info_changed":
            self.query = answer.page_info_changed.query_string
        elif kind == "session_event" and answer.session_event.HasField("script_compilation_exception"):
            self.errors.append(answer.session_event.script_compilation_exception.message)
        elif kind == "delta":
            self._change(tuple(answer.metadata.delta_path), answer.delta)

    def _change(self, path: tuple[int, ...], delta: Any) -> None:
        if delta.WhichOneof("type") == "new_element":
            element = delta.new_element
            self.elements[path], self.fragments[path] = element, delta.fragment_id
            if element.WhichOneof("type") == "exception":
                self.errors.append(f"{element.exception.type}: {element.exception.message}")
        elif delta.WhichOneof("type") == "add_block":
            # A block that replaces another one starts empty.
            for old in [p for p in self.elements if p[: len(path)] == path]:
                del self.elements[old], self.fragments[old]
