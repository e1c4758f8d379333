"""The app in a real Chromium: links, the address bar, the playhead, zoom and names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from axe import barriers_in_both_themes  # noqa: E402
from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Page, WebSocket, expect  # noqa: E402
from sentences import sentence  # noqa: E402

TITLES = {
    "": sentence("shell.title"),
    "lessons": sentence("pages.lessons"),
    "compare": "Compare balancing rules",
    "replay": "Replay one run",
    "microscope": "Router microscope",
    "serving": "Serving",
    "playground": "Playground",
    "theory": "Theory",
    "train": "Train your own",
    "import": "Import runs",
    "gallery": "Gallery",
    "evidence": "Evidence",
    "glossary": "Glossary",
}
PLAYER = "globalThis[Symbol.for('moe-routing-explorer.player')]"


def visit(page: Page, app: AppServer, path: str) -> None:
    """Open an address and wait until the page has been drawn to its end."""
    page.goto(f"{app.url}/{path}")
    name = path.partition("?")[0]
    expect(page.get_by_role("heading", level=1)).to_contain_text(TITLES[name])
    settled(page)


def expect_shell(page: Page) -> None:
    """Navigation and sidebar are there."""
    expect(page.get_by_test_id("stTopNavLink")).to_have_count(len(TITLES))
    expect(page.get_by_test_id("stSidebar").get_by_text("Display")).to_be_visible()


def test_the_first_request_to_a_fresh_server_may_be_a_link_with_state(
    page: Page, tmp_path: Path, recorded_runs: Path
) -> None:
    """On a cold index; and a page without state comes after it."""
    server = AppServer(tmp_path, recorded_runs)
    try:
        server.wait()
        visit(page, server, "replay?run=none-seed1&step=12&layer=1&runs=none-seed0")
        expect_shell(page)
        expect(page.get_by_text(sentence("bias_step.at_step", step=12)).first).to_be_visible()
        assert page.get_by_test_id("stAlert").count() == 0
        assert "step=12" in page.url
        assert "runs=none-seed0" in page.url
        visit(page, server, "")
        expect_shell(page)
    finally:
        server.stop()


def all_playheads_at(page: Page, step: int) -> None:
    """Wait until the figures of biases and of the loss have their playhead there."""
    texts = page.locator('[data-testid="stVegaLiteChart"] svg text')
    expect(texts.filter(has_text=re.compile(rf"^step {step}$"))).to_have_count(2)
    expect(texts.filter(has_text=re.compile(r"^step \d+$"))).to_have_count(2)


def follow_the_player(page: Page) -> None:
    """The figures follow while it plays in the browser alone: Python hears of the step on pause only, and
    then every panel follows."""
    step = page.get_by_role("spinbutton", name=sentence("controls.step"))
    step.fill("3")
    step.press("Enter")
    settled(page)
    all_playheads_at(page, 3)
    page.get_by_role("combobox", name="Speed").select_option("2")
    page.get_by_role("button", name=re.compile("^Play")).click()
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-testid="stVegaLiteChart"] svg text')]
            .filter((text) => text.textContent === 'step 6').length === 2"""
    )
    assert page.get_by_role("spinbutton", name=sentence("controls.step")).input_value() == "3"
    page.wait_for_function(f"[...{PLAYER}.players.values()][0].column > 8")
    page.get_by_role("button", name=re.compile("^Pause")).click()
    settled(page)
    shown = page.get_by_role("spinbutton", name=sentence("controls.step")).input_value()
    assert int(shown) > 8
    of_an_expert = page.get_by_text(sentence("bias_step.at_step", step=shown) + "expert")
    expect(of_an_expert.first).to_be_visible()
    assert of_an_expert.count() == 2, "loads and biases"
    expect(page.get_by_text(sentence("replay.step_after", step=shown))).to_be_visible()
    all_playheads_at(page, int(shown))
    assert f"step={shown}" in page.url


REPLAY = "replay?run=loss_free-seed0&step=3&runs=none-seed0&runs=loss_free-seed0"


@dataclass
class Traffic:
    """What a page has asked for, and how large the messages were that the server has sent it."""

    requests: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", self._listen_to)

    def _listen_to(self, socket: WebSocket) -> None:
        self.sockets.append(socket.url)
        socket.on("framereceived", lambda data: self.received.append(len(data)))


@pytest.fixture(scope="module")
def opened(context: BrowserContext, app: AppServer) -> Iterator[tuple[Page, Traffic]]:
    """A page that opens Replay at step 3."""
    page, traffic = context.new_page(), Traffic()
    traffic.listen(page)
    visit(page, app, REPLAY)
    yield page, traffic
    page.close()


@pytest.fixture
def replay(opened: tuple[Page, Traffic], app: AppServer) -> Page:
    """Replay at step 3, which a test before may have left otherwise, or left."""
    page, _ = opened
    if "/replay" not in page.url:
        visit(page, app, REPLAY)
    step = page.get_by_role("spinbutton", name=sentence("controls.step"))
    step.fill("3")
    step.press("Enter")
    settled(page)
    return page


def test_a_deep_link_connects_without_trying_addresses(opened: tuple[Page, Traffic], app: AppServer) -> None:
    _, traffic = opened
    assert traffic.sockets == [f"{app.url.replace('http', 'ws')}/_stcore/stream"]
    assert not [url for url in traffic.requests if url.startswith(f"{app.url}/replay/")]


def test_moving_the_playhead_sends_no_figure_but_the_bars_and_draws_no_shell_and_figures_follow_the_player(
    replay: Page, opened: tuple[Page, Traffic]
) -> None:
    page, received = replay, opened[1].received
    all_playheads_at(page, 3)
    page.evaluate("document.querySelector('h1').dataset.mark = 'same'")
    page.evaluate("document.querySelector('[data-testid=stVegaLiteChart]').dataset.mark = 'same'")
    whole = sum(received)
    received.clear()
    step = page.get_by_role("spinbutton", name=sentence("controls.step"))
    step.fill("30")
    step.press("Enter")
    expect(page.get_by_text(sentence("replay.step_after", step=30))).to_be_visible()
    settled(page)
    all_playheads_at(page, 30)
    assert whole > 60_000
    assert sum(received) < 30_000, "biases and loss are moved by the browser alone"
    assert max(received) < 10_000
    assert page.evaluate("document.querySelector('h1').dataset.mark") == "same"
    assert page.evaluate("document.querySelector('[data-testid=stVegaLiteChart]').dataset.mark") == "same", (
        "a chart is changed, not made anew"
    )
    follow_the_player(page)


def test_the_address_follows_the_page_and_brings_it_back(context: BrowserContext, replay: Page) -> None:
    page = replay
    page.get_by_test_id("stButtonGroup").get_by_text("1", exact=True).click()
    page.wait_for_url(re.compile("layer=1"))
    step = page.get_by_role("spinbutton", name=sentence("controls.step"))
    # 0 is the least value of the widget, and an address leaves out what a widget has by itself.
    for step_text in ("17", "0"):
        step.fill(step_text)
        step.press("Enter")
        expect(page.get_by_text(sentence("bias_step.at_step", step=step_text)).first).to_be_visible()
        settled(page)
        address = page.url
        assert "run=loss_free-seed0" in address
        assert f"step={step_text}" in address
        other = context.new_page()
        other.goto(address)
        expect(other.get_by_text(sentence("bias_step.at_step", step=step_text)).first).to_be_visible()
        expect(
            other.get_by_text("Bias trajectories").or_(other.get_by_text("has the highest bias")).first
        ).to_be_visible()
        assert other.url == address
        other.close()


def test_the_replay_comes_down_as_an_animation(replay: Page, tmp_path: Path) -> None:
    replay.get_by_text(sentence("controls.heatmap_export")).click()
    with replay.expect_download() as waiting:
        replay.get_by_role("button", name=sentence("controls.heatmap_gif")).click()
    waiting.value.save_as(tmp_path / "film.gif")
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")


def test_the_chosen_runs_stay_over_a_page_that_does_not_show_them(replay: Page) -> None:
    # The last test of this page: it leaves Replay, and opening it again costs seconds.
    page = replay
    expect(page.get_by_text("Runs to compare")).not_to_be_visible()
    page.get_by_test_id("stTopNavLink").filter(has_text="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("pages.compare"))
    settled(page)
    assert "runs=none-seed0&runs=loss_free-seed0" in page.url


def test_what_a_link_cannot_have_is_said_in_the_page(page: Page, app: AppServer) -> None:
    visit(page, app, "replay?run=gone&step=10&runs=lost")
    alerts = page.get_by_test_id("stAlert")
    expect(alerts).to_have_count(2)
    expect(alerts.nth(0)).to_contain_text("“lost”")
    expect(alerts.nth(1)).to_contain_text("“gone”")


@pytest.fixture(scope="module")
def walk(context: BrowserContext, app: AppServer) -> Iterator[tuple[Page, list[str]]]:
    """A page that walks through the app by its links, as visitors do, and what its console says is wrong."""
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    visit(page, app, "")
    yield page, errors
    page.close()


def walk_to(page: Page, name: str) -> None:
    """Go to a page by its link and wait until it has been drawn to its end."""
    page.get_by_test_id("stTopNavLink").nth(list(TITLES).index(name)).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(TITLES[name])
    settled(page)


@pytest.mark.parametrize("name", list(TITLES))
def test_a_page_writes_no_error_and_has_no_serious_barrier_in_either_theme(
    walk: tuple[Page, list[str]], name: str
) -> None:
    page, errors = walk
    harmless = re.compile("404|ERR_NAME_NOT_RESOLVED|metrics config")
    page.emulate_media(color_scheme="dark")
    walk_to(page, name)
    assert page.get_by_test_id("stException").count() == 0
    assert barriers_in_both_themes(page) == []
    so_far, errors[:] = list(errors), []
    assert [error for error in so_far if not harmless.search(error)] == []


def test_a_table_opens_beside_its_chart(walk: tuple[Page, list[str]]) -> None:
    page, _ = walk
    walk_to(page, "compare")
    page.get_by_text("Data and export").first.click()
    settled(page)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(1)


def test_on_a_phone_a_row_of_the_final_metrics_is_a_block_that_does_not_scroll(
    walk: tuple[Page, list[str]],
) -> None:
    page, _ = walk
    walk_to(page, "compare")
    table = page.locator("table.stacks")
    cells = table.locator("tbody tr").first.locator("td")
    lefts = "cells => cells.map((cell) => cell.getBoundingClientRect().left)"
    assert len(set(cells.evaluate_all(lefts))) == cells.count(), "a row of a wide page is a line"
    page.set_viewport_size({"width": 390, "height": 900})
    settled(page)
    left, top = (cells.evaluate_all(script) for script in (lefts, lefts.replace("left", "top")))
    assert len(set(left)) == 1
    assert top == sorted(set(top))
    assert table.evaluate("table => table.parentElement.scrollWidth <= table.parentElement.clientWidth")
    page.set_viewport_size({"width": 1400, "height": 1000})


def test_a_list_shows_names_and_the_address_says_which_run(walk: tuple[Page, list[str]]) -> None:
    page, _ = walk
    walk_to(page, "replay")
    run = page.get_by_role("combobox", name="Run", exact=False).first
    run.scroll_into_view_if_needed()  # a list closes when the page scrolls
    run.click()
    run.fill("no balancing, seed 1")
    page.get_by_role("option", name=re.compile("no balancing, seed 1")).click()
    settled(page)
    assert "run=none-seed1" in page.url
    expect(page.get_by_text("none-seed1 · ").first).to_be_visible()
    walk_to(page, "evidence")
    claim = page.get_by_role("combobox", name="Claim", exact=False)
    claim.scroll_into_view_if_needed()
    claim.click()
    claim.fill("A2")  # only the options around the chosen one are in the page until something is typed
    page.get_by_role("option", name=re.compile(r"\(A2\)$")).click()
    settled(page)
    assert re.search(r"claim=A2(&|$)", page.url)


def test_the_glossary_on_a_phone_cuts_no_formula_and_a_word_leaves_the_terms_that_contain_it(
    walk: tuple[Page, list[str]],
) -> None:
    page, _ = walk
    walk_to(page, "glossary")
    page.set_viewport_size({"width": 420, "height": 900})
    page.locator(".formula").first.wait_for()
    settled(page)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.formula, .katex-display')]
            .filter((formula) => formula.scrollWidth > formula.clientWidth + 1)
            .map((formula) => formula.textContent)"""
    )
    assert cut == []
    tools = page.get_by_test_id("stTable").last
    tools.scroll_into_view_if_needed()
    lefts = "cells => cells.map((cell) => cell.getBoundingClientRect().left)"
    assert len(set(tools.locator("tbody tr").first.locator("td").evaluate_all(lefts))) == 1
    assert tools.evaluate("table => table.scrollWidth <= table.clientWidth")
    page.set_viewport_size({"width": 1400, "height": 1000})
    index = page.locator(".st-key-terms-whole-index")
    expect(index).to_be_visible()
    box = page.get_by_role("textbox", name="Find a term")
    box.fill("MaxVio")
    box.press("Enter")
    expect(index).to_be_hidden()
    expect(page.locator(".term-max_vio")).to_be_visible()
    hidden = page.locator(".term-top_k")
    expect(hidden).to_be_hidden()
    box.fill("")
    box.press("Enter")
    expect(hidden).to_be_visible()


def test_rules_stay_chosen_where_another_preset_gives_them_other_names(page: Page, app: AppServer) -> None:
    """The browser sends the names that it shows; the page must still know which rules they are."""
    visit(page, app, "train")
    arms = page.locator(".st-key-train_arms")
    expect(arms.get_by_role("button", name="loss-free 0.003")).to_be_visible()
    page.get_by_role("combobox", name="Preset").click()
    page.get_by_role("option", name=re.compile("^paper_1b")).click()
    expect(arms.get_by_role("button", name="loss-free 0.001")).to_be_visible()
    arms.get_by_role("button", name=sentence("labels.none")).click()
    expect(arms.get_by_role("button", name=sentence("labels.none"))).to_have_count(0)
    settled(page)
    page.get_by_role("combobox", name="Preset").click()
    page.get_by_role("option", name=re.compile("^quick")).click()
    expect(arms.get_by_role("button", name="loss-free 0.003")).to_be_visible()
    expect(arms.get_by_role("button", name="aux global 0.01")).to_be_visible()


def test_sections_opened_in_one_moment_are_all_drawn(page: Page, app: AppServer) -> None:
    """Streamlit's page names the fragment of the first one only, when it tells the server."""
    visit(page, app, "compare?runs=none-seed0&runs=loss_free-seed0")
    anchors = ("gradients", "margin", "churn")
    lines = page.locator(", ".join(f".st-key-section_{anchor} summary" for anchor in anchors))
    expect(lines).to_have_count(len(anchors))
    lines.evaluate_all("lines => lines.forEach(line => line.click())")
    for anchor in anchors:
        body = page.locator(f".st-key-section_{anchor}").get_by_test_id("stExpanderDetails")
        # These runs recorded none of it, which costs no chart.
        expect(body).to_contain_text(re.compile("None of these runs|No run"))
