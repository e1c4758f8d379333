"""How many pictures per second follow a slider while it is dragged.

    python -m benchmarks.drags [--rounds 3]

Needs Chromium. Goal: 15 pictures per second. A picture is a frame of the browser in which a drawing has
changed: an SVG element, or a canvas that was drawn on.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from benchmarks.app import CHROMIUM, serving
from benchmarks.watching import build_index

GOAL = 15.0
"""Pictures per second."""
SECONDS = 2.0
MOVE_S = 1 / 60
"""A hand moves the mouse once per frame of a screen."""
WATCH = """() => {
    const main = document.querySelector('[data-testid="stMain"]');
    const roots = [main, ...[...main.querySelectorAll('*')].map((node) => node.shadowRoot).filter(Boolean)];
    let isNew = false;
    const element = (node) => node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    const seen = new MutationObserver((changes) => {
        isNew ||= changes.some((change) => element(change.target)?.closest('svg'));
    });
    const all = { subtree: true, childList: true, characterData: true, attributes: true };
    for (const root of roots) seen.observe(root, all);
    const brush = CanvasRenderingContext2D.prototype;
    const originals = {};
    for (const name of ['clearRect', 'drawImage', 'putImageData', 'fillRect', 'stroke', 'fill']) {
        originals[name] = brush[name];
        brush[name] = function (...values) { isNew = true; return originals[name].apply(this, values); };
    }
    let frame = 0;
    const times = [];
    const count = (now) => {
        if (isNew) times.push(now);
        isNew = false;
        frame = requestAnimationFrame(count);
    };
    frame = requestAnimationFrame(count);
    window.endOfDrag = () => {
        cancelAnimationFrame(frame);
        seen.disconnect();
        Object.assign(brush, originals);
        return times;
    };
}"""


@dataclass(frozen=True, kw_only=True)
class Drag:
    """One slider that is dragged. `slider` finds its thumb, or its `input` of type range."""

    page: str
    """Path and query of the page."""
    name: str
    slider: Callable[[Page], Locator]


def drag(page: Page, slider: Locator, *, seconds: float = SECONDS, reach_px: float = 120.0) -> float:
    """Drag a slider to and fro by its thumb; pictures per second while it is dragged.

    slider: the thumb of Streamlit's slider (role slider), or any element to be dragged from its middle. A
    drawing that follows only after the release counts as no picture.
    """
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None, "the slider is not on the page"
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH)
    start = time.perf_counter()
    n = 0
    while (passed := time.perf_counter() - start) < seconds:
        # A triangle wave: to the right and back.
        share = abs((2 * passed / seconds) % 2 - 1)
        page.mouse.move(x + reach_px * (1 - share), y)
        n += 1
        time.sleep(max(0.0, start + n * MOVE_S - time.perf_counter()))
    times = page.evaluate("window.endOfDrag()")
    took = time.perf_counter() - start
    page.mouse.up()
    return len(times) / took


def _slider(label: str) -> Callable[[Page], Locator]:
    return lambda page: page.get_by_role("slider", name=label).first


DRAGS = (
    Drag(page="replay?step=100", name="the scrubber", slider=lambda page: page.locator("input.scrub").first),
    Drag(page="playground", name="rate of A", slider=_slider("Rate u of A")),
    Drag(page="theory", name="rate", slider=_slider("Rate u")),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="pages, by the beginning of their address")
    options = parser.parse_args()
    only = tuple(options.only.split(","))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        build_index(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        with serving(folder) as base:
            for one in DRAGS:
                if one.page.startswith(only):
                    measure(browser, base, one, options.rounds)
        browser.close()


def measure(browser: Browser, base: str, one: Drag, rounds: int) -> None:
    """Print one line of the table."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{base}/{one.page}")
    one.slider(page).wait_for(timeout=120_000)
    page.wait_for_timeout(3000)
    rates = [drag(page, one.slider(page)) for _ in range(rounds)]
    print(
        f"{one.page.partition('?')[0]:<12} {one.name:<24} median {statistics.median(rates):4.1f} "
        f"pictures per second, goal {GOAL:.0f}",
        flush=True,
    )
    page.close()


if __name__ == "__main__":
    main()
