"""The real app behind a free port, with run folders and an index of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import servers
from ports import free_port

from explorer.running.run_queue import STOP_GRACE_S

ROOT = Path(__file__).parents[2]
TRAINING_APP = Path(__file__).with_name("training_app.py")
STOP_S = 20.0
"""A server without training runs that takes longer to end after SIGTERM is a failure, not a slow machine."""


class AppServer:
    """`streamlit run app.py` as a user starts it; `stop` ends it, `kill` as SIGKILL does."""

    def __init__(self, folder: Path, shipped: Path | None = None, pause_s: float | None = None) -> None:
        """pause_s: its training runs are not niced and pause this long after each step; None: unchanged
        for users."""
        self.runs = folder / "runs"
        port = free_port()
        start = ["-m", "streamlit"] if pause_s is None else [str(TRAINING_APP), str(pause_s)]
        command = [sys.executable, *start, "run", "app.py", "--server.port", str(port)]
        command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "EXPLORER_RUNS": str(self.runs),
            "EXPLORER_SHIPPED_RUNS": str(shipped or folder / "nothing"),
            "EXPLORER_INDEX": str(folder / "index.duckdb"),
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> "AppServer":
        """Until it answers."""
        servers.wait_until_up(self.process, self.url)
        return self

    def stop(self) -> None:
        """End it as a user does. Raises AssertionError with the stack of every thread if it does not end."""
        # Beside other work a last checkpoint may take its time.
        limit = STOP_S + (STOP_GRACE_S if self._is_training() else 0)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # Python writes the stacks into the log
            self.process.wait()
            log = Path(self.log.name).read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"the server did not end within {limit:.0f} s:\n{log[-6000:]}") from None
        finally:
            self.log.close()

    def _is_training(self) -> bool:
        files = self.runs.glob("*/status.json")
        return any(json.loads(file.read_text(encoding="utf-8"))["state"] == "running" for file in files)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
