"""Recorded runs and the app in front of them, for tests in a real Chromium."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import page_state
import pytest
import servers
from app_server import AppServer
from probe_runs import write_probe_run
from store_runs import write_run

from explorer.config.presets import get_preset, preset_balancer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError

ARMS = {"none": "none", "aux_loss": "global", "loss_free": "loss_free"}


# It ends with this folder's tests: the event loop that it keeps running is not for those that follow.
@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """One Chromium per worker; every test opens pages of its own."""
    from playwright.sync_api import expect, sync_playwright

    assert servers.CHROMIUM is not None, "REQUIRE_BROWSER=1 but there is no Chromium"
    expect.set_options(timeout=servers.PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=servers.CHROMIUM, args=servers.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    """What the pages of a worker share: the scripts of the app are fetched and compiled once."""
    context = page_state.watch(browser.new_context(viewport={"width": 1400, "height": 1000}))
    context.set_default_timeout(servers.PATIENCE_S * 1000)
    keep_process(context)
    yield context
    context.close()


def keep_process(context: "BrowserContext") -> None:
    """Open an empty page of the servers' site: while it is open, the process of their pages does not end."""
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(body="<title>empty</title>", content_type="text/html"))
    page.goto("http://127.0.0.1/")


@pytest.fixture
def page(context: "BrowserContext") -> Iterator["Page"]:
    """A page of its own session."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(autouse=True)
def no_script_errors(context: "BrowserContext") -> Iterator[None]:
    """An error of a script fails the test, in whichever page of the context: it can leave a page blank.

    So does a warning from Vega: about an axis without an extent, or a setting that does not fit its scale.
    """
    errors: list[str] = []

    def note(error: "WebError") -> None:
        errors.append(f"{error.page.url if error.page else ''}: {error.error.stack or error.error}")

    def note_warning(message: "ConsoleMessage") -> None:
        if message.type == "warning" and message.text.startswith("WARN "):
            errors.append(f"{message.page.url if message.page else ''}: {message.text}")

    context.on("weberror", note)
    context.on("console", note_warning)
    yield
    context.remove_listener("weberror", note)
    context.remove_listener("console", note_warning)
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms of two seeds, 60 steps, two layers of eight experts."""
    folder = tmp_path_factory.mktemp("recorded")
    config = get_preset("tiny")
    for text, name in ARMS.items():
        balancer = preset_balancer("tiny", text)
        for seed in (0, 1):
            write_run(
                folder,
                f"{name}-seed{seed}",
                steps=60,
                experts=8,
                seed=seed,
                bias=text == "loss_free",
                balancer=str(balancer),
                balancer_label=balancer.label,
                balancer_family=balancer.family,
                count_scope=balancer.count_scope,
                preset="tiny",
                pair_key=config.pair_key,
                config=config.to_dict(),
                created_at=f"2026-11-22T10:00:0{seed}.000+00:00",
            )
    return folder


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, recorded_runs: Path) -> Iterator[AppServer]:
    """One server per worker, for the tests that only look."""
    server = AppServer(tmp_path_factory.mktemp("app"), recorded_runs)
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def probed_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """One server per worker in front of a run with probes, `free`."""
    folder = tmp_path_factory.mktemp("probed")
    write_probe_run(folder, "free")
    server = AppServer(tmp_path_factory.mktemp("app"), folder)
    try:
        yield server.wait()
    finally:
        server.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time to start a server and a browser."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and os.environ.get("REQUIRE_BROWSER") == "1":
            item.add_marker(pytest.mark.timeout(600))
