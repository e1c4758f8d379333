"""Settings of the server's connections (uvicorn) for which Streamlit has no option. Call while it starts."""

import asyncio
import signal
import socket
from typing import Any

GRACE_S = 5.0
"""Time for open connections to receive what is under way after SIGTERM."""


def limit_wait() -> None:
    """Let uvicorn end open connections `GRACE_S` seconds after SIGTERM or Ctrl-C.

    By default it waits for them without limit, and stops training runs and index only afterwards. A suspended
    tab with a figure on its way to it would keep the server alive for good. Streamlit has no option for this.
    A limit that the host has set is kept.
    """
    config = _config()
    if config is not None and getattr(config, "timeout_graceful_shutdown", GRACE_S) is None:
        config.timeout_graceful_shutdown = GRACE_S


def send_at_once() -> None:
    """Let the connections that are opened from now on send small messages without delay.

    asyncio sets TCP_NODELAY only where a socket names its protocol, and the one that Streamlit listens on
    does not. A small message then waits until the previous one is acknowledged, which the receiver delays
    by 40 ms: a first visit asks for a hundred files, each sent as a head and a body, and a click is answered
    by several messages.
    """
    config = _config()
    protocol = getattr(config, "http_protocol_class", None)
    if config is not None and isinstance(protocol, type) and not issubclass(protocol, _AtOnce):
        # Websockets begin as connections of this class, too.
        config.http_protocol_class = type(protocol.__name__, (_AtOnce, protocol), {})


def _config() -> Any:
    """The configuration of the server that handles SIGTERM; None where that is not uvicorn."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "config", None)


class _AtOnce(asyncio.Protocol):
    """Mixin for uvicorn's protocol class: sets TCP_NODELAY on every connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
