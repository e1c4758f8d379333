"""A Streamlit server for one script, and the browser that looks at it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# A page lives for seconds: code that runs a few hundred times is not worth a compiler that makes it quicker,
# and pages of one process share what has been compiled. Loops that run long are compiled as ever.
FLAGS += ["--js-flags=--invocation-count-for-maglev=8000 --invocation-count-for-turbofan=60000"]
FLAGS += ["--process-per-site"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A server of this machine is asked directly, whatever proxy the environment names."""

PATIENCE_S = 120.0
"""Not a goal: the limit only ends a hanging test."""


def need_chromium() -> None:
    """Skips the whole module where there is no Chromium, unless the environment says that there must be."""
    if CHROMIUM is None and os.environ.get("REQUIRE_BROWSER") != "1":
        pytest.skip("no Chromium here (REQUIRE_BROWSER=1 makes this a failure)", allow_module_level=True)


def wait_until_up(process: "subprocess.Popen[bytes]", base: str) -> None:
    """Until the server answers; PATIENCE_S only ends a hanging test."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended by itself"
        try:
            with DIRECT.open(f"{base}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not answer within {PATIENCE_S:.0f} s")


@contextmanager
def serving(script: Path) -> Iterator[str]:
    """The address of a server that runs `script` until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
    command += ["--server.address", "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(server, base)
        yield base
    finally:
        server.terminate()
        server.wait(20)
