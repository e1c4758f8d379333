"""A figure whose data grow keeps its zoom, and leaves the plain wheel to the page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

pytestmark = pytest.mark.browser
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Page, expect  # noqa: E402
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


def tick(page: Page, times: int) -> None:
    """Let the data grow this often; the pointer stays where it is."""
    ticks = page.get_by_text(re.compile(r"^TICKS \d+$"))
    for _ in range(times):
        now = int(ticks.inner_text().split()[1])
        page.get_by_role("button", name="tick").dispatch_event("click")
        expect(ticks).to_have_text(f"TICKS {now + 1}")
        settled(page)


def turn_wheel(page: Page, chart: int, by: int) -> None:
    """Over a chart, from the top of the page."""
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("[data-testid=stVegaLiteChart]").nth(chart).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 90)
    page.mouse.wheel(0, by)


def zoom(page: Page, chart: int) -> None:
    """Turn the wheel with the key pressed until the chart begins later than its data do."""
    least = shown_steps(page, chart)[0]
    page.keyboard.down("Control")

    def is_zoomed() -> bool:
        # The wheel arrives later than the key would go up, and one beside another scroll can be lost.
        turn_wheel(page, chart, -400)
        settled(page)
        return shown_steps(page, chart)[0] > least

    wait_for(is_zoomed)
    page.keyboard.up("Control")


def test_zoom_survives_growing_data(page: Page) -> None:
    charts = (0, 1)
    drawings = page.locator("[data-testid=stVegaLiteChart] svg.marks")
    least = [shown_steps(page, chart)[0] for chart in charts]
    assert max(least) <= 20
    drawings.evaluate_all("all => all.forEach((e) => { e.dataset.seen = 'yes' })")
    for chart in charts:
        turn_wheel(page, chart, -300)
    tick(page, 2)
    assert [shown_steps(page, chart)[0] for chart in charts] == least, "the plain wheel belongs to the page"
    for chart in charts:
        zoom(page, chart)
    settled(page)
    zoomed = [shown_steps(page, chart) for chart in charts]
    assert all(last > first for first, last in zoomed)
    tick(page, 3)
    assert [shown_steps(page, chart) for chart in charts] == zoomed
    seen = drawings.evaluate_all("all => all.map((e) => e.dataset.seen)")
    assert seen == ["yes", "yes"], "no figure was built anew"
