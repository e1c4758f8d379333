"""In a real Chromium: the rules of accessibility see what is wrong (`test_app` checks every page), and motion
for those who want none."""

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from axe import barriers  # noqa: E402
from playwright.sync_api import Page, expect  # noqa: E402


def test_the_rules_see_what_is_wrong(page: Page) -> None:
    page.set_content("<html lang=en><title>t</title><main><button></button></main></html>")
    (violation,) = barriers(page)
    assert violation.startswith("button-name: <button>")


def test_nothing_plays_for_those_who_want_no_motion(page: Page, app: AppServer) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(app.url)
    play = page.get_by_role("button", name="Play again", exact=True)
    step = page.locator(".opening .now")
    expect(play).to_be_visible()
    end = step.text_content() or ""
    page.wait_for_timeout(600)
    expect(step).to_have_text(end)
    play.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(step).not_to_have_text(end)
