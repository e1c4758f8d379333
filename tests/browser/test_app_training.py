"""Training from the page in a real Chromium: live charts, the tab closed, the server killed."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
servers.need_chromium()

from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402
from training_page import CHARTS, start, statuses  # noqa: E402
from waiting import PATIENCE_S, wait_for  # noqa: E402

from explorer.recording.status import process_start  # noqa: E402

POLL_S = 0.25
"""Pages and runs are asked this often: each question takes processor time from them."""


@pytest.fixture
def pause_s() -> float:
    """How long a training rests after each step: it goes on, and needs not get far."""
    return 0.15


@pytest.fixture
def server(tmp_path: Path, context: BrowserContext, pause_s: float) -> Iterator[AppServer]:
    """Its pages are closed with it: after a failure they would go on drawing beside the tests that follow."""
    server, others = AppServer(tmp_path, pause_s=pause_s), set(context.pages)
    try:
        yield server.wait()
    finally:
        for page in set(context.pages) - others:
            page.close()
        server.stop()


def x_domain(page: Page) -> tuple[float, float]:
    """What the horizontal axis of the first chart covers, as it says itself."""
    label = page.locator(f'{CHARTS} [aria-label^="X-axis"]').first.get_attribute("aria-label")
    numbers = re.search(r"from ([\d,.]+) to ([\d,.]+)", label or "")
    assert numbers, label
    low, high = (float(text.replace(",", "")) for text in numbers.groups())
    return low, high


def zoomed_in(page: Page, to: float) -> bool:
    """Turn the wheel over the first chart once; whether it now begins behind this step.

    The page grows while it is live, so the chart is looked for each time; a wheel that falls into a tick can
    be lost.
    """
    box = page.locator(f"{CHARTS} svg").first.bounding_box()
    if box is None:
        return False
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.wheel(0, -480)
    wait_for_ticks(page, 1)
    return x_domain(page)[0] > to


def wait_for_ticks(page: Page, more: int) -> None:
    """Until the live part of the page has been drawn again this often: its progress says another step."""
    progress = page.get_by_test_id("stProgress").first
    for _ in range(more):
        expect(progress).not_to_have_text(progress.inner_text())


def wait_while_they_train(page: Page, server: AppServer) -> None:
    """Until every run has ended. On a busy machine that takes as long as it takes: only runs that stand still
    for `PATIENCE_S` fail the test."""
    seen: list[object] = []
    end = time.monotonic()
    while time.monotonic() < end + PATIENCE_S:
        now = [(status["state"], status["last_step"]) for status in statuses(server).values()]
        if len(now) == 3 and all(state not in ("running", "queued") for state, _ in now):
            return
        if now != seen:
            seen, end = now, time.monotonic()
        page.wait_for_timeout(500)
    raise AssertionError(f"the runs stand still: {seen}")


def go_to_compare(page: Page) -> None:
    """Leave a page whose figures tick: Streamlit may lose a click that a tick follows at once."""
    for _ in range(3):
        page.get_by_test_id("stTopNavLink").filter(has_text="Compare").click()
        with suppress(AssertionError):
            expect(page.get_by_role("heading", level=1)).to_contain_text(
                sentence("pages.compare"), timeout=15_000
            )
            return
    raise AssertionError("three clicks on Compare did not leave the page")


@pytest.mark.parametrize("pause_s", [0])
def test_runs_train_live_wait_in_line_and_stay_in_the_list(
    context: BrowserContext, server: AppServer
) -> None:
    page = start(context, server, ["none", "aux_loss", "loss_free"], 30)
    expect(page.get_by_text("queued")).to_have_count(1)
    expect(page.locator(f"{CHARTS} svg").first).to_be_visible()
    wait_while_they_train(page, server)
    expect(page.get_by_role("heading", name="Trained here")).to_be_visible()
    states = [status["state"] for status in statuses(server).values()]
    assert states == ["finished"] * 3
    go_to_compare(page)
    for rule in ("none", "aux", "loss-free"):
        expect(page.get_by_test_id("stMultiSelect").first).to_contain_text(rule)
    page.close()


def test_a_zoom_stays_over_live_ticks_a_closed_tab_stops_nothing_and_replay_grows(
    context: BrowserContext, server: AppServer
) -> None:
    replay = context.new_page()
    replay.goto(f"{server.url}/replay")
    expect(replay.get_by_text(sentence("replay.no_run"))).to_be_visible()
    page = start(context, server, ["none", "loss_free"], 20_000)
    # Replay without runs shows the first one as soon as it is there.
    expect(replay.get_by_role("slider", name=re.compile("^Expert loads"))).to_be_visible()
    replay.close()
    expect(page.locator(f"{CHARTS} svg").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"^Now: .*;")).first).to_be_visible()
    drawn = x_domain(page)[1]
    wait_for(lambda: x_domain(page)[1] > max(drawn, 20), POLL_S)
    page.keyboard.down("Control")
    wait_for(lambda: zoomed_in(page, to=5), POLL_S)
    page.keyboard.up("Control")
    zoomed = x_domain(page)
    wait_for_ticks(page, 2)
    assert x_domain(page) == zoomed
    page.close()
    before = {run_id: int(status["last_step"]) for run_id, status in statuses(server).items()}  # type: ignore[call-overload]
    assert len(before) == 2
    wait_for(lambda: all(int(s["last_step"]) > before[r] + 5 for r, s in statuses(server).items()), POLL_S)  # type: ignore[call-overload]
    check_replay_grows(context, server, next(run_id for run_id in before if "loss_free" in run_id))
    again = context.new_page()
    again.goto(f"{server.url}/train")
    expect(again.get_by_role("heading", name=sentence("shell.training_now"))).to_be_visible()
    again.get_by_role("button", name="Stop all").click()
    wait_for(lambda: all(s["state"] == "stopped" for s in statuses(server).values()), POLL_S)
    trained = again.get_by_role("heading", name="Trained here")
    expect(trained).to_be_visible()
    # On the page that has just stopped ticking: what is left of it is drawn, without the ended runs.
    again.get_by_role("button", name="Clear ended runs").click()
    expect(trained).to_have_count(0)
    again.close()


def check_replay_grows(context: BrowserContext, server: AppServer, run_id: str) -> None:
    """Replay grows with its run and leaves the playhead alone."""
    page = context.new_page()
    page.set_viewport_size({"width": 1400, "height": 1200})
    page.goto(f"{server.url}/replay?run={run_id}&step=7")
    stage = page.get_by_role("slider", name=re.compile("^Expert loads"))
    expect(page.get_by_text(sentence("replay.step_after", step=7))).to_be_visible()
    expect(stage).to_have_attribute("aria-valuenow", "7")
    page.evaluate("document.querySelector('h1').dataset.mark = 'same'")
    first = int(str(stage.get_attribute("aria-valuemax")))
    zoomed = page.locator(CHARTS).nth(1)
    wait_for(lambda: int(str(stage.get_attribute("aria-valuemax"))) > first + 5, POLL_S)
    wait_for(lambda: shown_to(zoomed) > first, POLL_S)
    assert stage.get_attribute("aria-valuenow") == "7"
    assert page.get_by_role("spinbutton", name=sentence("controls.step")).input_value() == "7"
    assert page.evaluate("document.querySelector('h1').dataset.mark") == "same", "the page was not drawn anew"
    page.close()


def shown_to(chart: Locator) -> float:
    """The right end of a chart's horizontal axis, as it says itself."""
    label = chart.locator('[aria-label^="X-axis"]').first.get_attribute("aria-label")
    numbers = re.search(r"from [\d,.]+ to ([\d,.]+)", label or "")
    return float(numbers[1].replace(",", "")) if numbers else -1.0


# Two, because the second child must not keep the pipe of the first one open. A server that is stopped tells
# each of its training runs so, however many there are.
@pytest.mark.parametrize(("how", "rules"), [("kill", ["none", "loss_free"]), ("stop", ["none"])])
def test_no_training_outlives_the_server(
    context: BrowserContext, server: AppServer, how: str, rules: list[str]
) -> None:
    # An open page would draw all the while.
    start(context, server, rules, 20_000).close()

    def all_train() -> bool:
        now = statuses(server).values()
        return len(now) == len(rules) and all(int(str(status["last_step"])) > 2 for status in now)

    wait_for(all_train, POLL_S)
    pids = [int(status["pid"]) for status in statuses(server).values()]  # type: ignore[call-overload]
    assert all(process_start(pid) for pid in pids)
    getattr(server, how)()
    wait_for(lambda: not any(process_start(pid) for pid in pids), POLL_S)
    for status in statuses(server).values():
        assert status["state"] == "stopped", "it stopped by itself and wrote everything down"
