"""How long a visitor waits for the first chart, after a playhead move, and for a training step to appear.

    python -m benchmarks.app [--rounds 5] [--only start,playhead,live]

Needs Chromium. Starts the app on a free port as `make app` in a second terminal would, with the shipped
runs, a separate index and a warm browser. Goals: first chart within 3 s of a cold start (index built);
everything that follows the playhead within 250 ms; live charts within 2 s of a step.

The cold start is compared with one that finds no kept picture, and with a floor, an app with one line and one
chart, measured alternately. Page times are taken inside the browser, and only when the page has changed.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from playwright.sync_api import Page, sync_playwright

from benchmarks.live import freshness

ROOT = Path(__file__).resolve().parents[1]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Requests to the local server bypass any proxy set in the environment."""
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHART = '[data-testid="stVegaLiteChart"] svg, [data-testid="stVegaLiteChart"] canvas'
FLOOR = """
import streamlit as st
st.vega_lite_chart({"mark": "bar", "data": {"values": [{"x": 1, "y": 2}]},
                    "encoding": {"x": {"field": "x"}, "y": {"field": "y", "type": "quantitative"}}})
"""
# From the key press until the frame after the last change caused by the move: its text is shown,
# no element is stale, and no chart changes for QUIET_MS.
FOLLOW = """(step) => {
    const QUIET_MS = 400;
    const main = document.querySelector('[data-testid="stMain"]');
    const texts = () => [...main.querySelectorAll('svg text')].map((text) => text.textContent);
    const marks = () => texts().filter((text) => text === `step ${step}`);
    const ready = () => main.textContent.includes(`At step ${step}, after`) &&
        !main.querySelector('[data-stale="true"]') && marks().length >= 2;
    const element = (node) => node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    const inChart = (change) => element(change.target)?.closest('[data-testid="stVegaLiteChart"]');
    window.moved = new Promise((resolve) => {
        let start = null, done = null, last = 0;
        addEventListener("keydown", (event) => { start = event.timeStamp; }, { once: true, capture: true });
        const seen = new MutationObserver((changes) => {
            if (start === null) return;
            requestAnimationFrame(() => {
                const now = performance.now();
                if (changes.some(inChart)) last = now;
                if (done === null && ready()) {
                    done = now;
                    setTimeout(() => { seen.disconnect(); resolve(Math.max(done, last) - start); }, QUIET_MS);
                }
            });
        });
        seen.observe(main, { subtree: true, childList: true, characterData: true, attributes: true });
    });
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    folder: str, script: Path = ROOT / "app.py", log: int | IO[bytes] = subprocess.DEVNULL
) -> tuple["subprocess.Popen[bytes]", str]:
    """The server as `make app` starts it, and its address. `log`: where it writes."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    command += ["--server.fileWatcherType", "none"]
    environment = {
        **os.environ,
        "EXPLORER_RUNS": f"{folder}/runs",
        "EXPLORER_INDEX": f"{folder}/index.duckdb",
    }
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    return process, f"http://127.0.0.1:{port}"


def wait_until_up(base: str) -> None:
    while True:
        try:
            DIRECT.open(f"{base}/_stcore/health", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)


@contextmanager
def serving(folder: str, script: Path = ROOT / "app.py") -> Iterator[str]:
    process, base = start_server(folder, script)
    try:
        wait_until_up(base)
        yield base
    finally:
        process.terminate()
        process.wait(timeout=60)


def cold_start(page: Page, folder: str, script: Path = ROOT / "app.py") -> tuple[float, float]:
    """(seconds from the start of the server to the first chart, seconds of the visit alone)."""
    page.goto("about:blank")
    start = time.perf_counter()
    with serving(folder, script) as base:
        up = time.perf_counter()
        page.goto(base, wait_until="commit")
        page.locator(CHART).first.wait_for(timeout=60_000)
        end = time.perf_counter()
    return end - start, end - up


def playhead_moves(page: Page, folder: str, rounds: int) -> list[float]:
    """Milliseconds from the key press that selects a step until all that follows the playhead is updated."""
    with serving(folder) as base:
        page.goto(f"{base}/replay?step=100")
        page.locator(CHART).nth(2).wait_for(timeout=60_000)
        box = page.get_by_label("Step", exact=True).first
        moves = []
        for step in range(110, 112 + rounds):
            page.wait_for_timeout(700)
            box.fill(str(step))
            page.evaluate(FOLLOW, step)
            box.press("Enter")
            moves.append(float(page.evaluate("window.moved")))
        return moves[2:]


def spread(values: Sequence[float], unit: str, digits: int) -> str:
    middle, worst = statistics.median(values), max(values)
    return f"median {middle:.{digits}f} {unit}, worst {worst:.{digits}f} {unit} of {len(values)}"


def keep_picture(page: Page, folder: str) -> None:
    """Visit the page to its end, so that the next start finds its first picture (docs/drawing.md)."""
    picture = Path(folder) / "index.first_picture"
    with serving(folder) as base:
        while not picture.exists():  # not yet while runs are read
            page.goto(base)
            page.locator('[data-testid="stDataFrame"]').wait_for(timeout=60_000)
            page.wait_for_timeout(1_000)


def print_starts(page: Page, folder: str, rounds: int) -> None:
    print(f"first start, including the index build: {cold_start(page, folder)[0]:.2f} s")
    floor = Path(folder) / "floor.py"
    floor.write_text(FLOOR, encoding="utf-8")
    keep_picture(page, folder)
    picture, aside = Path(folder) / "index.first_picture", Path(folder) / "aside"
    ours, without, floors = [], [], []
    for _ in range(rounds):
        floors.append(cold_start(page, folder, floor))
        ours.append(cold_start(page, folder))
        picture.rename(aside)
        without.append(cold_start(page, folder))
        aside.rename(picture)
    arms = {
        "cold start to first chart": ours,
        "  without a kept picture, as after a change of runs or program": without,
        "  its floor, one chart alone": floors,
    }
    for name, starts in arms.items():
        totals, visits = zip(*starts, strict=True)
        print(f"{name}: {spread(totals, 's', 2)}, of which the page visit {statistics.median(visits):.2f} s")
    print("  goal 3 s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="start,playhead,live", help="parts to measure")
    options = parser.parse_args()
    parts = options.only.split(",")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        if "start" in parts:
            print_starts(page, folder, options.rounds)
        if "playhead" in parts:
            moves = playhead_moves(page, folder, options.rounds * 3)
            print(f"a move of the playhead: {spread(moves, 'ms', 0)}; goal 250 ms")
        if "live" in parts:
            with serving(folder) as base:
                delays = freshness(page, base, Path(folder) / "runs")
            print(f"delay until a training step is shown: {spread(delays, 's', 2)} parts; goal 2 s")
        browser.close()


if __name__ == "__main__":
    main()
