"""A figure whose data grow keeps its zoom, and leaves the plain wheel to the page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

pytestmark = pytest.mark.browser
servers.need_chromium()

from playwright.sync_api import BrowserContext, Page  # noqa: E402
from waiting import wait_for  # noqa: E402


@pytest.fixture(scope="module")
def page(context: BrowserContext) -> Iterator[Page]:
    with servers.serving(Path(__file__).with_name("chart_script.py")) as base:
        page = context.new_page()
        page.set_viewport_size({"width": 1200, "height": 1100})
        page.goto(base)
        page.locator("[data-testid=stVegaLiteChart] svg").nth(1).wait_for(timeout=60_000)
        yield page
        page.close()


def shown_steps(page: Page, chart: int) -> tuple[float, float]:
    """The first and the last step of the horizontal axis, as it says itself."""
    figure = page.locator("[data-testid=stVegaLiteChart]").nth(chart)
    label = figure.locator('[aria-label^="X-axis"]').first.get_attribute("aria-label") or ""
    numbers = re.search(r"from ([\d,.]+) to ([\d,.]+)", label)
    assert numbers, label
    first, last = (float(text.replace(",", "")) for text in numbers.groups())
    return first, last


def wait_for_ticks(page: Page, more: int) -> None:
    page.wait_for_function(
        """more => {
            const now = +(document.body.innerText.match(/TICKS (\\d+)/) || [])[1];
            window.from ??= now;
            if (now < window.from + more) return false;
            delete window.from;
            return true;
        }""",
        arg=more,
        timeout=60_000,
    )


@pytest.mark.parametrize("chart", [0, 1])
def test_zoom_survives_growing_data(page: Page, chart: int) -> None:
    figure = page.locator("[data-testid=stVegaLiteChart]").nth(chart)
    box = figure.bounding_box()
    assert box is not None
    least = shown_steps(page, chart)[0]
    assert least <= 20
    figure.locator("svg").evaluate("e => { e.dataset.seen = 'yes' }")
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 90)
    page.mouse.wheel(0, -300)
    wait_for_ticks(page, 2)
    assert shown_steps(page, chart)[0] == least, "the plain wheel belongs to the page"
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    # The wheel arrives later than the key would go up.
    wait_for(lambda: shown_steps(page, chart)[0] > least)
    page.keyboard.up("Control")
    wait_for_ticks(page, 1)
    zoomed = shown_steps(page, chart)
    wait_for_ticks(page, 4)
    assert shown_steps(page, chart) == zoomed
    assert figure.locator("svg").evaluate("e => e.dataset.seen") == "yes", "the figure was not built anew"
