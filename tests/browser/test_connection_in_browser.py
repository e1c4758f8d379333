"""How a page finds its server."""

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import Page  # noqa: E402


def test_a_deep_link_connects_without_trying_addresses(page: Page, app: AppServer) -> None:
    requests: list[str] = []
    sockets: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{app.url}/glossary")
    page.get_by_role("heading", name="Glossary", level=1).wait_for()
    settled(page)
    assert sockets == [f"{app.url.replace('http', 'ws')}/_stcore/stream"]
    assert not [url for url in requests if url.startswith(f"{app.url}/glossary/")]
