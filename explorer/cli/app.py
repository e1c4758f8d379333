"""`app`: start the Streamlit server, on 127.0.0.1 unless another address is given."""

import argparse
import gc
import os
import re
import runpy
import signal
import sys
from types import FrameType

from explorer.cli.extras import need_checkout, need_extra
from explorer.cli.hosts import listening, take_port
from explorer.config.places import ROOT
from explorer.config.server import RUNS_VARIABLE, Settings
from explorer.errors import ConfigError


def app_command(options: argparse.Namespace) -> int:
    need_checkout()
    need_extra("app")
    if options.runs.exists() and not options.runs.is_dir():
        raise ConfigError(
            "--runs", str(options.runs), "is not a folder", "give the folder that holds the runs"
        )
    where = listening(options)
    port = choose_port(options.port, where.address)
    # The server reads them too, but reports a wrong one as a traceback.
    settings = Settings.from_environment()
    print(
        f"The explorer is at {where.url(port)} (Ctrl-C stops it and the training it started)",
        flush=True,
    )
    arguments = ["run", str(ROOT / "app.py")]
    arguments += [*where.flags, "--server.port", str(port), "--server.headless", "true"]
    arguments += ["--server.maxUploadSize", str(settings.limits.upload_mb)]
    os.environ.update(where.environment)
    os.environ[RUNS_VARIABLE] = str(options.runs.resolve())
    serve(arguments)
    return 0


def serve(arguments: list[str]) -> None:
    """Run the server in this process until it ends.

    A child would outlive its launcher: supervisors, containers and closed terminals signal only the process
    that they started. Streamlit stops on SIGTERM and SIGINT, including training jobs and index.
    """
    os.chdir(ROOT)
    # The server sets its own handlers, and raises the signal again after its cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _hang_up_as_terminate()
    sys.argv = ["streamlit", *arguments]
    # Off while libraries load; `explorer.ui.warm_up` turns it on again once the server has started.
    gc.disable()
    try:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    finally:
        gc.enable()


def _hang_up_as_terminate() -> None:
    """A closed terminal ends the server like SIGTERM; under `nohup` it keeps running."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return

    def on_hang_up(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    signal.signal(hang_up, on_hang_up)


def choose_port(port: str | None, address: str) -> int:
    """The requested port, `PORT`, or 8501. Raises ConfigError if it is busy at this address or invalid."""
    text = port if port is not None else os.environ.get("PORT", "8501")
    name = "--port" if port is not None else "PORT"
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ConfigError(name, text, "must be a port from 1 to 65535", "write PORT=8502 make app")
    try:
        take_port(address, int(text))
    except OSError as error:
        raise ConfigError(
            name,
            text,
            "is in use or not allowed",
            f"choose another: PORT={int(text) % 65535 + 1} make app",
        ) from error
    return int(text)
