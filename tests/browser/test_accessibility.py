"""Every page in a real Chromium: rules of accessibility (axe-core), and motion for those who want none."""

import os
from typing import Any

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled, watch  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402

AXE = servers.ROOT / "node_modules" / "axe-core" / "axe.min.js"
PAGES = (
    "",
    "lessons",
    "compare",
    "replay",
    "microscope",
    "serving",
    "playground",
    "theory",
    "train",
    "import",
    "gallery",
    "evidence",
    "glossary",
)
GRAVE = ("serious", "critical")
CHECK = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.flatMap((rule) =>
    rule.nodes.map((node) => ({ rule: rule.id, impact: rule.impact, html: node.html.slice(0, 160),
        why: [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; ") })))"""


def grave(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds serious or critical on the page as it stands."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return [one for one in page.evaluate(CHECK) if one["impact"] in GRAVE]


@pytest.mark.skipif(
    not AXE.is_file() and os.environ.get("REQUIRE_BROWSER") != "1", reason="axe-core is missing: npm ci"
)
def test_no_page_has_a_serious_violation(page: Page, app: AppServer) -> None:
    found = {}
    for name in PAGES:
        page.goto(f"{app.url}/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settled(page)
        if violations := grave(page):
            found[name] = violations
    assert not found


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is missing: npm ci")
def test_the_rules_see_what_is_wrong(page: Page) -> None:
    page.set_content("<html lang=en><title>t</title><main><button></button></main></html>")
    assert [one["rule"] for one in grave(page)] == ["button-name"]


def test_nothing_plays_for_those_who_want_no_motion(browser: Browser, app: AppServer) -> None:
    context = watch(browser.new_context(reduced_motion="reduce", viewport={"width": 1400, "height": 1000}))
    context.set_default_timeout(servers.PATIENCE_S * 1000)
    page = context.new_page()
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
    context.close()
