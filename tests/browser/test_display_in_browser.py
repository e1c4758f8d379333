"""Lecture mode and a single panel, in a real Chromium."""

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402

# Items that do not fit have no height.
PAGES_END_BEFORE_THE_BUTTON = """() => {
    const left = document.querySelector(".st-key-leave_lecture button").getBoundingClientRect().left;
    const boxes = [...document.querySelectorAll("[data-testid=stTopNav] > *")]
        .filter((item) => getComputedStyle(item).opacity !== "0")
        .map((item) => item.getBoundingClientRect());
    return boxes.some((box) => box.width) && boxes.every((box) => box.right < left);
}"""
CHARTS = '[data-testid="stVegaLiteChart"]:visible'


def letters(page: Page) -> float:
    size = page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)")
    return float(size)


def test_a_lecture_has_large_letters_and_no_controls_takes_clicks_and_can_be_left(
    page: Page, app: AppServer
) -> None:
    page.goto(f"{app.url}/replay?run=loss_free-seed0&step=3")
    sidebar = page.get_by_test_id("stSidebar").get_by_text("Display")
    expect(sidebar).to_be_visible()
    settled(page)
    usual = letters(page)
    page.get_by_test_id("stSidebar").get_by_text("lecture", exact=True).click()
    expect(sidebar).not_to_be_visible()
    expect(page.get_by_role("spinbutton", name=sentence("controls.step"))).not_to_be_visible()
    page.wait_for_url("**mode=lecture**")
    # Until then the player of the normal page may still be there, next to that of lecture mode.
    settled(page)
    expect(page.get_by_role("button", name=sentence("controls.play"), exact=True)).to_be_visible()
    assert letters(page) > 1.3 * usual
    page.set_viewport_size({"width": 390, "height": 844})
    assert letters(page) < 1.2 * usual, "a phone has no room for letters that a hall needs"
    page.set_viewport_size({"width": 1400, "height": 1000})
    click_a_cell(page)
    page.get_by_role("button", name="Leave lecture mode").click()
    expect(sidebar).to_be_visible()
    # Until then the field of the lecture, which was hidden, may still be there.
    settled(page)
    expect(page.get_by_role("spinbutton", name=sentence("controls.step"))).to_be_visible()


def test_a_lecture_goes_on_over_the_pages(page: Page, app: AppServer) -> None:
    page.goto(f"{app.url}/?mode=lecture")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for width in (1024, 1280, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(PAGES_END_BEFORE_THE_BUTTON)
    page.get_by_test_id("stTopNavLink").filter(has_text="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("pages.compare"))
    expect(page.get_by_text(sentence("shell.runs_to_compare"))).not_to_be_visible()
    # The buttons of a lesson have help texts, whose signs a lecture hides.
    page.get_by_test_id("stTopNavLink").filter(has_text="Lessons").click()
    page.get_by_text("1 · ").first.click()
    expect(page.get_by_role("button", name="Show me")).to_be_visible()
    expect(page.get_by_role("button", name="Help for").first).not_to_be_visible()


def test_an_embedded_page_shows_one_panel_and_nothing_else(page: Page, app: AppServer) -> None:
    page.goto(f"{app.url}/compare?embed=1&panel=compare-max-vio")
    expect(page.locator(".st-key-panel-compare-max-vio")).to_be_visible()
    expect(page.locator(CHARTS)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).not_to_be_visible()
    expect(page.get_by_test_id("stSidebar")).not_to_be_visible()
    expect(page.get_by_test_id("stTopNavLink").first).not_to_be_visible()


WHERE = """([column, row]) => {
    const player = [...globalThis[Symbol.for('moe-routing-explorer.player')].players.values()][0];
    const { at, matrix } = player, box = player.parts.stage.getBoundingClientRect();
    const scale = box.width / player.width;
    return [box.left + scale * (at.left + (column + 0.5) / matrix.columns * at.plot),
            box.top + scale * (at.top + (row + 0.5) / matrix.experts * at.tall), scale];
}"""


def click_a_cell(page: Page) -> None:
    """A click meets the cell under it in a lecture too, where the page is scaled."""
    expect(page.get_by_text(sentence("replay.step_after", step=3))).to_be_visible()
    x, y, scale = page.evaluate(WHERE, [40, 5])
    assert scale > 1.3
    page.mouse.click(x, y)
    expect(page.get_by_text(sentence("replay.step_after", step=40))).to_be_visible()
    page.wait_for_url("**expert=5**")


def test_the_player_can_be_embedded_alone(page: Page, app: AppServer) -> None:
    page.goto(f"{app.url}/replay?run=loss_free-seed0&embed=1&panel=replay-heatmap")
    expect(page.get_by_role("button", name=sentence("controls.play"), exact=True)).to_be_visible()
    expect(page.locator(CHARTS)).to_have_count(0)


def test_a_slide_shows_a_panel_from_inside_columns_and_what_is_wrong_with_its_link(
    page: Page, app: AppServer
) -> None:
    page.goto(f"{app.url}/replay?run=loss_free-seed0&embed=true&panel=replay-biases&layer=99")
    expect(page.get_by_test_id("stAlert")).to_contain_text("layer 99")
    expect(page.get_by_test_id("stAlert")).to_be_visible()
    expect(page.locator(CHARTS)).to_have_count(1)
    expect(page.get_by_test_id("stSidebar")).not_to_be_visible()
    width = page.locator(".st-key-panel-replay-biases").evaluate("(panel) => panel.clientWidth")
    assert width > 1200, "alone it has the whole width, not that of its column"
