"""Delay of the live charts: from the commit of a part of a run until the page shows it."""

import json
import re
import time
from pathlib import Path

from playwright.sync_api import Page

LOOK_S = 0.02
LIMIT_S = 300.0
# Every sentence "Now: rule 1.23 (step 57); ..." with the time when it appeared, in seconds since the epoch.
RECORD = """() => {
    window.said = [];
    const main = document.querySelector('[data-testid="stMain"]');
    let last = "";
    new MutationObserver(() => {
        const words = [...main.querySelectorAll('p')].map((p) => p.textContent);
        const now = words.find((text) => text.startsWith("Now: "));
        if (!now || now === last) return;
        last = now;
        const clock = () => (performance.timeOrigin + performance.now()) / 1e3;
        requestAnimationFrame(() => window.said.push([clock(), now]));
    }).observe(main, { subtree: true, childList: true, characterData: true });
}"""
PART = re.compile(r"expert_loads-\d+-(\d+)-(\d+)\.parquet$")
SAID = re.compile(r"(.+?):? [-\d.,e]+ \((?:step|mean of steps \d+ to) (\d+)\)")


def freshness(page: Page, base: str, runs: Path) -> list[float]:
    """Train two arms of `quick` from the page; seconds per part, for both arms, until its last step is shown.

    A part counts as committed when its file is renamed, which is the change time of the file.
    """
    page.goto(f"{base}/train")
    start = page.get_by_role("button", name="Start training")
    start.wait_for()
    page.evaluate(RECORD)
    start.click()
    acknowledged: dict[tuple[str, int], float] = {}
    end, finished = time.monotonic() + LIMIT_S, 0
    while finished < 2 and time.monotonic() < end:
        for folder in runs.glob("*-seed*"):
            for file in folder.glob("expert_loads-*.parquet"):
                found = PART.search(file.name)
                if found:
                    acknowledged.setdefault((folder.name, int(found[2])), _changed(file))
        finished = sum(_state(folder) == "finished" for folder in runs.glob("*-seed*"))
        page.wait_for_timeout(LOOK_S * 1e3)
    page.wait_for_timeout(3000)
    stop = page.get_by_role("button", name=re.compile("^(?:stop )?Stop( all)?$"))
    if stop.count():
        stop.first.click()
    labels = {folder.name: _label(folder) for folder in runs.glob("*-seed*")}
    shown = [(when, dict(_steps(words))) for when, words in page.evaluate("window.said")]
    delays = []
    for (run_id, step), when in acknowledged.items():
        seen = (at for at, steps in shown if steps.get(labels[run_id], -1) >= step)
        first = next(seen, None)
        # The page may have been left before the last parts of the third arm existed.
        if first is not None:
            delays.append(first - when)
    if not delays:
        raise SystemExit("the page has shown no step of the two training runs")
    return delays


def _steps(words: str) -> list[tuple[str, int]]:
    """`Now: a 1.2 (step 57); b 3 (step 60).` -> [("a", 57), ("b", 60)]."""
    pieces = words.removeprefix("Now: ").rstrip(".").split("; ")
    matches = (SAID.fullmatch(piece) for piece in pieces)
    return [(m[1], int(m[2])) for m in matches if m]


def _changed(file: Path) -> float:
    try:
        return file.stat().st_ctime
    except FileNotFoundError:
        return time.time()


def _state(folder: Path) -> str:
    try:
        return str(json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError):
        return ""


def _label(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text(encoding="utf-8"))["balancer_label"])
