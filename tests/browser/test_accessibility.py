"""In a real Chromium: the rules of accessibility see what is wrong (`test_app` checks every page)."""

import pytest
import servers

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from axe import barriers  # noqa: E402
from playwright.sync_api import Page  # noqa: E402


def test_the_rules_see_what_is_wrong(page: Page) -> None:
    page.set_content("<html lang=en><title>t</title><main><button></button></main></html>")
    (violation,) = barriers(page)
    assert violation.startswith("button-name: <button>")
