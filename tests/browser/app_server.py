"""The real app behind a free port, with run folders and an index of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import servers

ROOT = Path(__file__).parents[2]


class AppServer:
    """`streamlit run app.py` as a user starts it; `stop` ends it, `kill` as SIGKILL does."""

    def __init__(self, folder: Path, shipped: Path | None = None) -> None:
        self.runs = folder / "runs"
        port = servers.free_port()
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
        servers.wait_until_up(self.process, self.url)
        return self

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        # That a server ends when it is told to is tested with the command line's signals.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()
        self.process.wait()
        self.log.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
