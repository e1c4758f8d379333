"""A websocket between page and app that can keep back what the app sends, as a slow network does."""

from playwright.sync_api import WebSocketRoute
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


class DelayedSocket:
    """Passes everything on, and keeps what the app sends back while `is_holding`."""

    def __init__(self) -> None:
        self.is_holding = False
        self.held: list[bytes] = []
        self.passed = bytearray()
        """What the page was sent at once, one message after the other."""
        self._socket: WebSocketRoute | None = None

    def route(self, socket: WebSocketRoute) -> None:
        """Handler for `page.route_web_socket`."""
        self._socket = socket
        socket.connect_to_server().on_message(self._pass_on)

    def held_count(self, kind: str) -> int:
        """Messages of this type of ForwardMsg that are kept back."""
        return sum(ForwardMsg.FromString(data).WhichOneof("type") == kind for data in self.held)

    def release(self) -> None:
        """Send what was kept back, in its order."""
        self.is_holding = False
        assert self._socket is not None
        while self.held:
            self._socket.send(self.held.pop(0))

    def _pass_on(self, data: str | bytes) -> None:
        assert isinstance(data, bytes)
        assert self._socket is not None
        if self.is_holding:
            self.held.append(data)
        else:
            self.passed += data
            self._socket.send(data)
