"""How many pictures a second a chart draws while a slider is dragged, with the pointer in a real browser.

    python -m benchmarks.drags [--seconds 5] [--only playground,theory] [--json]

Needs Chromium. Goal: 15 pictures per second. The pointer goes back and forth over the whole slider, one
position per movement. A picture is a frame in which the lines or marks of the chart differ from those of the
frame before; the server is told nothing before the slider is released. `first`: milliseconds from pressing
the pointer until the first picture.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass

from playwright.sync_api import Locator, Page, sync_playwright

from benchmarks.app import CHROMIUM, serving
from benchmarks.interactions import settle

GOAL = 15
PREPARE_MS = 1500
"""How long the pointer rests on a slider first: the worker prepares its positions meanwhile."""
WATCH = """(panel) => {
    const chart = document.querySelector(`.st-key-panel-${panel} svg.marks`);
    const marks = ".mark-line path, .mark-rect path, .mark-symbol path";
    const look = () => [...chart.querySelectorAll(marks)]
        .map((mark) => mark.getAttribute("d") + mark.getAttribute("transform")).join();
    const pictures = { count: 0, first: null };
    window.pictures = pictures;
    let [last, isChanged, start] = [look(), false, performance.now()];
    new MutationObserver(() => { isChanged = true; }).observe(chart, { subtree: true, attributes: true });
    const frame = () => {
        requestAnimationFrame(frame);
        if (!isChanged) return;
        isChanged = false;
        const now = look();
        if (now === last) return;
        pictures.count += 1;
        pictures.first ??= performance.now() - start;
        last = now;
    };
    requestAnimationFrame(frame);
}"""


@dataclass(frozen=True, kw_only=True)
class Drag:
    """A slider that is dragged, and the panel that is watched."""

    page: str
    name: str
    slider: str
    """Key of the widget."""
    panel: str
    positions: int
    """How many positions are passed over; those of a list are all of its options."""
    fold: str = ""
    """Heading of the section that has to be opened first."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What one drag showed."""

    page: str
    name: str
    pictures_per_s: float
    moves_per_s: float
    first_ms: float | None
    goal: int = GOAL


DRAGS = (
    Drag(page="playground", name="rate of A", slider="uA", panel="playground-max-vio", positions=16),
    Drag(page="playground", name="the playhead", slider="at", panel="playground-loads-a", positions=60),
    Drag(
        page="playground",
        name="skew",
        slider="skew",
        panel="playground-max-vio",
        positions=8,
        fold="The router and its scores",
    ),
    Drag(page="theory", name="rate", slider="u", panel="theory-seats", positions=16),
)


def thumb(page: Page, slider: str) -> tuple[Locator, float, float]:
    """The track of a slider, and where the middle of its thumb is."""
    place = page.locator(f".st-key-{slider}")
    place.scroll_into_view_if_needed()
    box = place.get_by_test_id("stSliderThumbValue").locator("xpath=..").bounding_box()
    assert box is not None
    return (
        place.locator('[role="group"] > div').first,
        box["x"] + box["width"] / 2,
        box["y"] + box["height"] / 2,
    )


def measure(page: Page, drag: Drag, seconds: float) -> Measure:
    """Drag a slider back and forth for some seconds."""
    if drag.fold:
        page.get_by_text(drag.fold, exact=True).click()
        page.wait_for_timeout(1000)
    track, x, y = thumb(page, drag.slider)
    box = track.bounding_box()
    assert box is not None
    page.mouse.move(x, y)
    page.wait_for_timeout(PREPARE_MS)
    page.evaluate(WATCH, drag.panel)
    page.mouse.down()
    start, moves = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        # Back and forth: 0 … 1 … 0.
        share = 1 - abs((moves / drag.positions) % 2 - 1)
        page.mouse.move(box["x"] + box["width"] * share, y)
        moves += 1
        page.wait_for_timeout(5)
    took = time.monotonic() - start
    seen = page.evaluate("window.pictures")
    page.mouse.up()
    return Measure(
        page=drag.page,
        name=drag.name,
        pictures_per_s=round(seen["count"] / took, 1),
        moves_per_s=round(moves / took, 1),
        first_ms=None if seen["first"] is None else round(seen["first"]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="", help="pages, by the beginning of their address")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    options = parser.parse_args()
    chosen = [d for d in DRAGS if not options.only or d.page.startswith(tuple(options.only.split(",")))]
    results = []
    with tempfile.TemporaryDirectory() as folder, serving(folder) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for drag in chosen:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{base}/{drag.page}")
            settle(page)
            result = measure(page, drag, options.seconds)
            results.append(result)
            if not options.json:
                print(
                    f"{result.page:<12} {result.name:<24} {result.pictures_per_s:4.1f} pictures per second "
                    f"of {result.moves_per_s:4.1f} movements; first after {result.first_ms} ms; goal {GOAL}",
                    flush=True,
                )
            page.close()
        browser.close()
    if options.json:
        print(json.dumps([asdict(result) for result in results]))


if __name__ == "__main__":
    main()
