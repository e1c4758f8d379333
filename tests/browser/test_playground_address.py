"""The playground's address in a real Chromium: what differs from the defaults, and it opens as it was."""

import re
from urllib.parse import parse_qs, urlparse

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402

from explorer.ui.playground.presets import BY_NAME  # noqa: E402


def finding(page: Page) -> Locator:
    """The sentence about MaxVio, the first that begins with rule A."""
    return page.get_by_text(re.compile("random.routing")).filter(has_text="A: ").first


def visit(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_text(sentence("captions.switched_title"))).to_be_visible()


def test_a_preset_is_an_address_that_opens_as_it_was(context: BrowserContext, app: AppServer) -> None:
    first = context.new_page()
    visit(first, f"{app.url}/playground")
    # Rule A is the first of its list then, which Streamlit would leave out of the address by itself.
    first.get_by_role("button", name="Collapse", exact=True).or_(
        first.get_by_role("radio", name="Collapse", exact=True)
    ).first.click()
    expect(first.get_by_text(BY_NAME["Collapse"].comment)).to_be_visible()
    expect(finding(first)).to_contain_text(sentence("playground.never_near_none"))
    first.wait_for_function("() => location.search.includes('A=none')")
    asked = {key: values[-1] for key, values in parse_qs(urlparse(first.url).query).items()}
    assert asked == dict(BY_NAME["Collapse"].values)

    second = context.new_page()
    visit(second, first.url)
    expect(finding(second)).to_have_text(finding(first).inner_text())
    first.close()
    second.close()


def test_a_switch_of_the_rule_is_part_of_the_address(context: BrowserContext, app: AppServer) -> None:
    first = context.new_page()
    visit(first, f"{app.url}/playground?A=none&S=200&at=80")
    first.get_by_role("button", name=sentence("controls.switch_rule_a")).click()
    expect(first.get_by_role("spinbutton", name="From step")).to_have_value("80")
    first.get_by_role("button", name="Switch rule A").click()
    expect(finding(first)).to_contain_text(sentence("playground.side_none_then_sign", step=80, rate="0.001"))
    first.wait_for_function("() => location.search.includes('swA=80.sign.1e-3')")
    expect(first.locator("svg text", has_text="A: sign u=0.001").first).to_be_visible()

    second = context.new_page()
    visit(second, first.url)
    expect(finding(second)).to_have_text(finding(first).inner_text())
    first.keyboard.press("Escape")
    first.get_by_role("button", name="Remove", exact=True).click()
    expect(finding(first)).not_to_contain_text("from 80")
    first.wait_for_function("() => !location.search.includes('swA')")
    first.close()
    second.close()


def test_a_chart_outside_its_fragment_keeps_one_menu_however_often_a_rate_moves(
    context: BrowserContext, app: AppServer
) -> None:
    page = context.new_page()
    visit(page, f"{app.url}/playground?S=200")
    menus = page.locator(".st-key-playground_picture").get_by_text("Data and export")
    expect(menus).to_have_count(1)
    rate = page.get_by_role("slider").first
    for _ in range(3):
        before = finding(page).inner_text()
        rate.press("ArrowRight")
        expect(finding(page)).not_to_have_text(before)
        expect(menus).to_have_count(1)
    page.close()
