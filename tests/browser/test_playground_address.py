"""The playground's address in a real Chromium: what differs from the defaults, and it opens as it was."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlparse

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402

from explorer.ui.playground.presets import BY_NAME  # noqa: E402


def finding(page: Page) -> Locator:
    """The sentence about MaxVio, the first that begins with rule A."""
    return page.get_by_text(re.compile("random.routing")).filter(has_text="A: ").first


def visit(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_text(sentence("captions.switched_title"))).to_be_visible()


@pytest.fixture(scope="module")
def opened(context: BrowserContext, app: AppServer) -> Iterator[Page]:
    """One page for the tests, which begin with a preset: opening it costs more than they do."""
    page = context.new_page()
    visit(page, f"{app.url}/playground")
    settled(page)
    yield page
    page.close()


def choose(page: Page, preset: str) -> None:
    """Press the button of this preset unless it is pressed, and wait for its comment."""
    comment = page.get_by_text(BY_NAME[preset].comment)
    if not comment.is_visible():
        page.get_by_role("button", name=preset, exact=True).or_(
            page.get_by_role("radio", name=preset, exact=True)
        ).first.click()
    expect(comment).to_be_visible()


def test_a_preset_and_a_switch_of_the_rule_are_an_address_that_opens_as_it_was(
    context: BrowserContext, opened: Page
) -> None:
    first = opened
    # Rule A is the first of its list then, which Streamlit would leave out of the address by itself.
    choose(first, "Collapse")
    expect(finding(first)).to_contain_text(sentence("playground.never_near_none"))
    first.wait_for_function("() => location.search.includes('A=none')")
    parameters = {key: values[-1] for key, values in parse_qs(urlparse(first.url).query).items()}
    assert parameters == dict(BY_NAME["Collapse"].values)

    first.get_by_role("button", name=sentence("controls.switch_rule_a")).click()
    step = first.get_by_role("spinbutton", name="From step").input_value()
    first.get_by_role("button", name="Switch rule A").click()
    expect(finding(first)).to_contain_text(
        sentence("playground.side_none_then_sign", step=step, rate="0.001")
    )
    first.wait_for_function(f"() => location.search.includes('swA={step}.sign.1e-3')")
    expect(first.locator("svg text", has_text="A: sign u=0.001").first).to_be_visible()

    second = context.new_page()
    visit(second, first.url)
    expect(finding(second)).to_have_text(finding(first).inner_text())
    second.close()
    first.keyboard.press("Escape")
    first.get_by_role("button", name="Remove", exact=True).click()
    expect(finding(first)).not_to_contain_text(f"from {step}")
    first.wait_for_function("() => !location.search.includes('swA')")


def test_a_chart_outside_its_fragment_keeps_one_menu_however_often_a_rate_moves(opened: Page) -> None:
    page = opened
    choose(page, "Rescue")
    menus = page.locator(".st-key-playground_picture").get_by_text("Data and export")
    expect(menus).to_have_count(1)
    rate = page.get_by_role("slider").first
    for _ in range(3):
        before = finding(page).inner_text()
        rate.press("ArrowRight")
        expect(finding(page)).not_to_have_text(before)
        expect(menus).to_have_count(1)
