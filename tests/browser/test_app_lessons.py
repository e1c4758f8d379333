"""A lesson in a real Chromium: the address, the guess, the keys, and a link that takes its settings along."""

import re

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from axe import barriers_in_both_themes  # noqa: E402
from page_state import settled  # noqa: E402
from playwright.sync_api import Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402

SLUG = "too-small-and-too-large"
"""Its first steps are simulations: they need no runs."""


def test_a_lesson_leads_to_the_playground_keys_turn_its_steps_and_another_setting_wins_on_a_second_visit(
    page: Page, app: AppServer
) -> None:
    page.goto(f"{app.url}/lessons")
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("pages.lessons"))
    page.get_by_text("5 · An update rate").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("lessons.small_rate"))
    assert f"lesson={SLUG}" in page.url
    show = page.get_by_role("button", name="Show me")
    expect(show).to_be_disabled()
    assert page.get_by_test_id("stVegaLiteChart").count() == 0
    page.get_by_text("below 0.3").click()
    expect(show).to_be_enabled()
    show.click()
    expect(
        page.get_by_text(sentence("lessons.you_said_wrong", answer="below 0.3", truth="above 1"))
    ).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(1)
    page.get_by_text(sentence("controls.open_playground")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Playground")
    page.wait_for_url(re.compile("uA=1e-4"))
    expect(page.get_by_text(sentence("lessons.too_small_side")).first).to_be_visible()
    # And back.
    page.get_by_test_id("stTopNavLink").filter(has_text="Lessons").click()
    page.get_by_text("5 · An update rate").click()
    expect(page.get_by_text(sentence("controls.notice")).first).to_be_visible()
    for key, words in (
        ("n", "So why not take large steps?"),
        ("b", sentence("lessons.random_router_first")),
        ("n", "So why not take large steps?"),
    ):
        # A key meets the button only while it stands still.
        settled(page)
        page.keyboard.press(key)
        expect(page.get_by_text(words)).to_be_visible()
    page.wait_for_url(re.compile("part=2"))
    page.get_by_role("button", name="Skip").click()
    # Until then the link of the step before may still be there.
    settled(page)
    page.get_by_text(sentence("controls.open_playground")).click()
    page.wait_for_url(re.compile("uA=2e-2"))
    expect(page.get_by_text("A: sign u=0.02 ").first).to_be_visible()


def test_an_open_step_has_no_serious_barrier_in_either_theme_and_the_menu_leads_to_the_course(
    page: Page, app: AppServer
) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{app.url}/lessons?lesson={SLUG}&part=2")
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("lessons.small_rate"))
    page.get_by_text("u = 0.001", exact=True).click()
    page.get_by_role("button", name="Show me").click()
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(1)
    settled(page)
    assert barriers_in_both_themes(page) == []
    page.get_by_test_id("stTopNavLink").filter(has_text="Lessons").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(sentence("pages.lessons"))
    assert "lesson=" not in page.url
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("lessons.small_rate"))
