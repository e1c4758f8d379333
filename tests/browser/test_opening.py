"""The first screen in a real Chromium, for a visitor who wants no motion: where to begin, and pictures that
are whole before they play."""

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import Page, expect  # noqa: E402

ALPHA_AT_THE_END = """(canvas) => canvas.getContext("2d")
    .getImageData(canvas.width - 2, canvas.height / 2, 1, 1).data[3]"""
COLOUR = "(link) => getComputedStyle(link).backgroundColor"
NONE = "rgba(0, 0, 0, 0)"
AFTER_FRAMES = """(count) => new Promise((done) => {
    const frame = (left) => left ? requestAnimationFrame(() => frame(left - 1)) : done();
    frame(count);
})"""
"""What plays by itself has had its turns by then."""


# Opening the page costs more than all that is asked here.
def test_one_button_stands_out_nothing_plays_by_itself_and_what_is_still_to_play_is_faintly_there(
    page: Page, app: AppServer
) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(app.url)
    play = page.get_by_role("button", name="Play again", exact=True)
    expect(play).to_be_visible()
    check_a_phone(page)
    page.set_viewport_size({"width": 1400, "height": 1000})
    settled(page)
    step = page.locator(".opening .now")
    end = step.text_content() or ""
    page.evaluate(AFTER_FRAMES, 40)
    expect(step).to_have_text(end)
    play.focus()
    page.keyboard.press("Enter")
    pause = page.get_by_role("button", name="Pause", exact=True)
    expect(pause).to_be_visible()
    expect(step).not_to_have_text(end)
    pause.click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    film = page.locator(".opening .film canvas").first
    assert 0 < film.evaluate(ALPHA_AT_THE_END) < 255, "an empty half reads as no data"


def check_a_phone(page: Page) -> None:
    """One button stands out, and the pictures stand beside each other on the first screen."""
    links = page.locator(".st-key-starts a")
    expect(links).to_have_count(3)
    assert [links.nth(i).evaluate(COLOUR) == NONE for i in range(3)] == [False, True, True]
    films = page.locator(".opening .film canvas")
    first, second = (films.nth(i).bounding_box() for i in range(2))
    assert first is not None
    assert second is not None
    assert first["y"] == second["y"]
    assert max(box["y"] + box["height"] for box in (first, second)) < 844
    key = page.locator(".opening .key").bounding_box()
    assert key is not None
    assert key["y"] < first["y"]
