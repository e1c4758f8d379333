"""Downloads in a real Chromium: one click, and what comes down needs no network."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402


def visit(page: Page, app: AppServer, path: str, heading: str) -> None:
    page.goto(f"{app.url}/{path}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    settled(page)


@pytest.fixture(scope="module")
def compare(context: BrowserContext, app: AppServer) -> Iterator[Page]:
    """Compare with two runs, for every download of it."""
    page = context.new_page()
    visit(page, app, "compare?runs=none-seed0&runs=loss_free-seed0", "Compare")
    yield page
    page.close()


@pytest.fixture
def offline(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page without a network, and the addresses that it asked for all the same."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    yield page, requests
    context.close()


def drawn(page: Page, selector: str) -> int:
    """Pictures that are really there: with marks, and with a size."""
    count: int = page.evaluate(
        """(selector) => [...document.querySelectorAll(selector)].filter((svg) => {
            const box = svg.getBoundingClientRect();
            return box.width > 200 && box.height > 50 && svg.querySelectorAll('path, rect').length > 5;
        }).length""",
        selector,
    )
    return count


def test_the_bundle_of_a_view_is_one_click_and_reads_offline(
    compare: Page, offline: tuple[Page, list[str]], tmp_path: Path
) -> None:
    with compare.expect_download() as waiting:
        compare.get_by_role("button", name=sentence("controls.export_view")).click()
    assert waiting.value.suggested_filename == "compare-none-seed0-loss-free-seed0.zip"
    waiting.value.save_as(tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as zipped:
        zipped.extractall(tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["problems"] == []
    assert "runs=none-seed0&runs=loss_free-seed0" in manifest["permalink"]
    report, requests = offline
    report.goto((tmp_path / "bundle" / "report.html").as_uri())
    expect(report.get_by_role("heading", level=1)).to_contain_text(sentence("pages.compare"))
    assert drawn(report, "figure > svg") + report.locator("figure > img").count() == len(manifest["figures"])
    wide = report.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "nothing has to be scrolled sideways"
    assert len(requests) == 1, requests


def test_a_figure_as_a_page_draws_itself_offline(
    compare: Page, offline: tuple[Page, list[str]], tmp_path: Path
) -> None:
    menu = compare.locator(".st-key-table_compare_max_vio")
    menu.locator("summary").click()
    with compare.expect_download() as waiting:
        menu.get_by_role("button", name="HTML").click()
    waiting.value.save_as(tmp_path / "figure.html")
    figure, requests = offline
    errors: list[str] = []
    figure.on("pageerror", lambda error: errors.append(str(error)))
    figure.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    figure.goto((tmp_path / "figure.html").as_uri())
    figure.locator("#figure svg").first.wait_for()
    assert drawn(figure, "#figure svg") == 1
    assert figure.get_by_text(sentence("controls.vega_editor")).count() == 0
    assert errors == []
    assert len(requests) == 1, requests
