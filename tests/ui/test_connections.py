"""What the server's connections are set to."""

import asyncio
import signal
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit.web.server.starlette import starlette_server

from explorer.ui.server import connections


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """As Streamlit binds it."""
    with starlette_server._bind_socket("127.0.0.1", 0, 5) as bound:
        yield bound


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> uvicorn.Server:
    """One that is about to start, and handles signals."""
    routes = [Route("/", lambda request: PlainTextResponse("hello"))]
    config = uvicorn.Config(Starlette(routes=routes), lifespan="off", log_level="critical")
    config.load()
    server = uvicorn.Server(config)
    monkeypatch.setattr(signal, "getsignal", lambda number: server.handle_exit)
    return server


async def _undelayed(server: uvicorn.Server, listening: socket.socket) -> bool:
    """Whether a connection that has been answered sends without delay."""
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listening])
    address = listening.getsockname()
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"hello")
        (connection,) = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        return bool(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    finally:
        writer.close()
        await server.shutdown(sockets=[listening])


def test_connections_send_without_delay(server: uvicorn.Server, listening: socket.socket) -> None:
    connections.send_at_once()
    connections.send_at_once()
    assert asyncio.run(_undelayed(server, listening))


def test_streamlit_itself_leaves_the_delay_on(server: uvicorn.Server, listening: socket.socket) -> None:
    assert not asyncio.run(_undelayed(server, listening)), "send_at_once is not needed any more"


def test_a_server_that_ends_waits_for_a_while_and_keeps_what_its_host_has_set(server: uvicorn.Server) -> None:
    connections.limit_wait()
    assert server.config.timeout_graceful_shutdown == connections.GRACE_S
    server.config.timeout_graceful_shutdown = 60
    connections.limit_wait()
    assert server.config.timeout_graceful_shutdown == 60


def test_another_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    connections.limit_wait()
    connections.send_at_once()
