"""The second start of an app: the picture that the first one has kept, then the page in its place."""

from pathlib import Path

import pytest
import servers
from app_server import AppServer

from explorer.store import Index
from explorer.ui.server import first_visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import Page, Request  # noqa: E402

FIRST_CHART = '[data-testid="stVegaLiteChart"] :is(svg, canvas)'
MAIN = '[data-testid="stMain"]'


def test_the_second_start_shows_its_picture_first_and_then_the_same_page(
    page: Page, recorded_runs: Path, tmp_path: Path
) -> None:
    reports = []

    def note(request: Request) -> None:
        if first_visit.DRAWN in request.url:
            reports.append(request.url)

    def visit() -> str:
        page.goto(server.url, wait_until="commit")
        page.locator(FIRST_CHART).first.wait_for()
        page.locator(FIRST_CHART).first.evaluate("chart => { chart.dataset.first = '1'; }")
        page.get_by_test_id("stDataFrame").wait_for()
        settled(page)
        return page.locator(MAIN).inner_text()

    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([recorded_runs])
    page.on("request", note)
    server = AppServer(tmp_path, shipped=recorded_runs).wait()
    try:
        usual = visit()
        page.goto("about:blank")
    finally:
        server.stop()
    assert not reports
    server = AppServer(tmp_path, shipped=recorded_runs).wait()
    try:
        assert visit() == usual
        assert len(reports) == 1
        # The page that follows the picture leaves its chart alone.
        assert page.locator(f"{FIRST_CHART}[data-first]").count() == 1
        page.goto("about:blank")
    finally:
        server.stop()
