"""A server that ends although a browser no longer reads what it was sent."""

import signal

GRACE_S = 5.0
"""Time for open connections to receive what is under way after SIGTERM."""


def limit_wait_for_connections() -> None:
    """Let uvicorn end open connections `GRACE_S` seconds after SIGTERM or Ctrl-C. Called while it starts.

    By default it waits for them without limit, and stops training runs and index only afterwards. A suspended
    tab with a figure on its way to it would keep the server alive for good. Streamlit has no option for this.
    A limit that the host has set is kept.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    config = getattr(server, "config", None)
    if config is not None and getattr(config, "timeout_graceful_shutdown", GRACE_S) is None:
        config.timeout_graceful_shutdown = GRACE_S
