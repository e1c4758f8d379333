"""The Import page in a real Chromium: an upload passes the gate and becomes a run that Replay shows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from playwright.sync_api import Page, expect  # noqa: E402

EXPERTS = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AppServer]:
    server = AppServer(tmp_path)
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Loads of two steps, two layers and four experts; expert 3 takes most of layer 1."""
    rows = ["step,layer,expert,tokens"]
    rows += [
        f"{step},{layer},{expert},{60 if layer == 1 and expert == 3 else 20}"
        for step in range(2)
        for layer in range(2)
        for expert in range(EXPERTS)
    ]
    file = tmp_path / "loads.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_an_uploaded_table_opens_in_replay(page: Page, server: AppServer, table: Path) -> None:
    page.goto(f"{server.url}/import")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(table)
    expect(page.get_by_text("Format (detected)")).to_be_visible()
    experts = page.get_by_role("textbox", name=re.compile("^Experts per layer"))
    experts.fill(str(EXPERTS))
    # The button takes what is typed with it.
    page.get_by_test_id("stMain").get_by_role("button", name=re.compile("Import$")).click()
    expect(page.get_by_text("1 run imported from loads.csv.")).to_be_visible()
    expect(page.get_by_text("does not say how many experts a token takes")).to_be_visible()
    page.get_by_role("button", name=re.compile("Import another file$")).click()
    expect(page.get_by_test_id("stFileUploaderDropzoneInput")).to_be_attached()
    page.get_by_text("Imported runs (1)").click()
    page.get_by_role("link", name=re.compile("Open in Replay")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Replay one run")
    page.get_by_text(re.compile(r"^Imported: assumptions and doubts \(\d+\)$")).click()
    expect(page.get_by_text("how the router is balanced")).to_be_visible()
    (run,) = server.runs.glob("imported-*")
    assert f"run={run.name}" in page.url
