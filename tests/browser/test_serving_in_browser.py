"""The Serving page in a real Chromium: every chart is drawn, and a control moves address and verdict."""

import re

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, expect  # noqa: E402
from sentences import sentence  # noqa: E402


def test_every_chart_is_drawn_and_a_layer_follows_the_address(
    context: BrowserContext, probed_app: AppServer
) -> None:
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{probed_app.url}/serving?run=free&plan=1&judge=2&layer=1")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Serving")
    settled(page)
    ends = sentence("serving.planned_and_judged", plan="steps 0–5", judge="steps 6–11")
    expect(page.get_by_text(re.compile(re.escape(ends), re.IGNORECASE))).to_be_visible()
    expect(page.locator('[data-testid="stVegaLiteChart"] svg.marks')).to_have_count(11)
    page.get_by_role("radio", name="0", exact=True).first.click()
    expect(page.get_by_text(re.compile(r"Layer 0, steps 0–5:"))).to_be_visible()
    expect(page.get_by_text(sentence("serving.layer_of_batches", layer=0))).to_have_count(4)
    page.close()
    assert not errors
