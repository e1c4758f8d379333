"""How long a visitor waits: for the first chart after a cold start, and after a move of the playhead.

    python -m benchmarks.app [--rounds 5]

Needs Chromium. Starts the app on a free port with the shipped runs, an index of its own and a warm
browser, as `make app` in a second terminal would. Goals: first chart within 3 s of the cold start (index
already built) and of a first visit; everything that follows the playhead within 250 ms.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHART = '[data-testid="stVegaLiteChart"] svg, [data-testid="stVegaLiteChart"] canvas'
# The chart's text that follows the playhead; read in the browser, so that polling costs nothing.
WATCH = """(before) => new Promise(resolve => {
    const start = performance.now();
    const look = () => {
        const text = document.querySelector('[data-testid="stMain"]').innerText;
        const stale = document.querySelector('[data-stale="true"]');
        const done = text.includes(before) && !stale;
        if (done) resolve(performance.now() - start); else requestAnimationFrame(look);
    };
    look();
})"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(folder: str) -> tuple["subprocess.Popen[bytes]", str]:
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = {
        **os.environ,
        "EXPLORER_RUNS": f"{folder}/runs",
        "EXPLORER_INDEX": f"{folder}/index.duckdb",
    }
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return process, f"http://127.0.0.1:{port}"


def wait_until_up(base: str) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{base}/_stcore/health", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)


def first_chart(page: Page, base: str) -> float:
    start = time.perf_counter()
    page.goto(base)
    page.locator(CHART).first.wait_for(timeout=60_000)
    return time.perf_counter() - start


def cold_start(page: Page, folder: str) -> tuple[float, float]:
    """(seconds from the start of the server to the first chart, seconds of the visit alone)."""
    start = time.perf_counter()
    process, base = start_server(folder)
    try:
        wait_until_up(base)
        visit = first_chart(page, base)
        return time.perf_counter() - start, visit
    finally:
        process.terminate()
        process.wait(timeout=20)


def playhead_moves(page: Page, folder: str, rounds: int) -> list[float]:
    """Milliseconds from a new step until the charts' words name it and nothing is stale."""
    process, base = start_server(folder)
    try:
        wait_until_up(base)
        page.goto(f"{base}/replay?step=100")
        page.locator(CHART).first.wait_for(timeout=60_000)
        box = page.get_by_label("Step", exact=True).first
        moves = []
        for number in range(rounds + 2):
            page.wait_for_timeout(700)
            box.fill(str(110 + number))
            start = time.perf_counter()
            box.press("Enter")
            page.evaluate(WATCH, f"step {110 + number}")
            moves.append((time.perf_counter() - start) * 1e3)
        return moves[2:]
    finally:
        process.terminate()
        process.wait(timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        print(f"first start, index built on the way: {cold_start(page, folder)[0]:.2f} s")
        starts = [cold_start(page, folder) for _ in range(rounds)]
        total, visit = (statistics.median(values) for values in zip(*starts, strict=True))
        print(f"cold start to first chart: {total:.2f} s, of which the visit {visit:.2f} s; goal 3 s")
        moves = playhead_moves(page, folder, rounds * 2)
        print(
            f"a move of the playhead: median {statistics.median(moves):.0f} ms, "
            f"worst {max(moves):.0f} ms; goal 250 ms"
        )
        browser.close()


if __name__ == "__main__":
    main()
