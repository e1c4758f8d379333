"""The real app behind a free port, with run folders and an index of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 120.0
"""Not a goal: the limit only ends a hanging test."""


class AppServer:
    """`streamlit run app.py` as a user starts it; `stop` ends it, `kill` as SIGKILL does."""

    def __init__(self, folder: Path, shipped: Path | None = None) -> None:
        self.runs = folder / "runs"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
        environment = {
            **os.environ,
            "EXPLORER_RUNS": str(self.runs),
            "EXPLORER_SHIPPED_RUNS": str(shipped or folder / "nothing"),
            "EXPLORER_INDEX": str(folder / "index.duckdb"),
            "OMP_NUM_THREADS": "1",
        }
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> "AppServer":
        """Until it answers."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                    return self
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise AssertionError("the server did not answer")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.log.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
