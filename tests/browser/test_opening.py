"""The first screen in a real Chromium: where to begin, and pictures that are whole before they play."""

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from playwright.sync_api import Page, expect  # noqa: E402

ALPHA_AT_THE_END = """(canvas) => canvas.getContext("2d")
    .getImageData(canvas.width - 2, canvas.height / 2, 1, 1).data[3]"""
COLOUR = "(link) => getComputedStyle(link).backgroundColor"
NONE = "rgba(0, 0, 0, 0)"


def test_what_is_still_to_play_is_faintly_there(page: Page, app: AppServer) -> None:
    """An empty half reads as no data."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(app.url)
    film = page.locator(".opening .film canvas").first
    page.get_by_role("button", name="Play again", exact=True).click()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert 0 < film.evaluate(ALPHA_AT_THE_END) < 255


def test_one_button_stands_out_and_the_pictures_stand_beside_each_other_on_a_phone(
    page: Page, app: AppServer
) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(app.url)
    expect(page.get_by_role("button", name="Play again", exact=True)).to_be_visible()
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
