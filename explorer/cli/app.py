"""`app`: start the Streamlit server on 127.0.0.1."""

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

from explorer.cli.hosts import listening
from explorer.errors import ConfigError, ExplorerError

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.1"


def app_command(options: argparse.Namespace) -> int:
    entry = ROOT / "app.py"
    if not entry.is_file():
        raise ExplorerError(
            "app.py was not found: pages and data are part of a checkout, not of the installed package; "
            "clone the repository and run make app there."
        )
    if importlib.util.find_spec("streamlit") is None:
        raise ExplorerError("streamlit is not installed: the app needs it; run make app, which installs it.")
    where = listening(options)
    port = choose_port(options.port)
    print(
        f"The explorer is at {where.url(port)} (Ctrl-C stops it and the training it started)",
        flush=True,
    )
    command = [sys.executable, "-m", "streamlit", "run", str(entry)]
    command += [*where.flags, "--server.port", str(port), "--server.headless", "true"]
    environment = {**os.environ, **where.environment, "EXPLORER_RUNS": str(options.runs.resolve())}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()


def choose_port(port: int | None) -> int:
    """The port asked for, `PORT`, or 8501; a busy or impossible one gets a sentence."""
    text = str(port) if port is not None else os.environ.get("PORT", "8501")
    name = "--port" if port is not None else "PORT"
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigError(name, text, "must be a port from 1 to 65535", "write PORT=8502 make app")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, int(text)))
        except OSError as error:
            raise ConfigError(
                name,
                text,
                "is in use or not allowed",
                f"choose another: PORT={int(text) % 65535 + 1} make app",
            ) from error
    return int(text)
