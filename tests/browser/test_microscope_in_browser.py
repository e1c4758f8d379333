"""The Microscope in a real Chromium: tokens and experts by pointer and by key, and what follows them."""

import re
from collections.abc import Iterator

import pytest
import servers
from app_server import AppServer
from probe_runs import LENGTH, WORDS, probe_record, rule_biases
from store_runs import DOMAINS, random_counts

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from delayed_socket import DelayedSocket  # noqa: E402
from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402


@pytest.fixture(scope="module")
def socket() -> DelayedSocket:
    """Through it the page is sent what the app sends."""
    return DelayedSocket()


@pytest.fixture(scope="module")
def opened(context: BrowserContext, probed_app: AppServer, socket: DelayedSocket) -> Iterator[Page]:
    """The page of the run, for tests that come back to its start: opening it costs more than most of them."""
    page = context.new_page()
    page.route_web_socket(re.compile("_stcore/stream"), socket.route)
    page.goto(f"{probed_app.url}/microscope?run=free&probe=12&token=0")
    expect(page.get_by_text(sentence("microscope.token", token=0))).to_be_visible()
    settled(page)
    yield page
    page.close()


@pytest.fixture
def page(opened: Page) -> Page:
    """The page at step 12 in layer 0 and token 0, without an expert."""
    marked = opened.get_by_role("button", name=re.compile(r"^Expert \d+$"), pressed=True)
    if marked.count():
        marked.click()
        settled(opened)
    chip(opened, 0).click()
    expect(marked).to_have_count(0)
    expect(opened.get_by_text(sentence("microscope.token", token=0))).to_be_visible()
    settled(opened)
    return opened


def chip(page: Page, token: int) -> Locator:
    return page.locator(f'[role="option"][data-index="{token}"]')


def experts_of(token: int, step: int = 12, layer: int = 0) -> list[int]:
    record = probe_record(step, rule_biases(random_counts(25, 2, 8))[step], 2, 8, 2)
    return record.selected_experts_PLK[token, layer].tolist()


def test_a_click_on_a_token_brings_its_numbers(page: Page) -> None:
    chip(page, 5).click()
    expect(page.get_by_text(sentence("microscope.token", token=5))).to_be_visible()
    expect(chip(page, 5)).to_have_attribute("aria-selected", "true")
    expect(chip(page, 0)).to_have_attribute("aria-selected", "false")
    expect(page.get_by_role("spinbutton", name="Token")).to_have_value("5")
    expect(page.get_by_text(f"Expert {experts_of(5)[0]} received")).to_be_visible()
    page.wait_for_url(re.compile("token=5"))


def test_another_token_draws_no_panel_of_an_expert(page: Page, socket: DelayedSocket) -> None:
    socket.passed.clear()
    chip(page, 5).click()
    expect(page.get_by_text(sentence("microscope.token", token=5))).to_be_visible()
    settled(page)
    assert b"panel-microscope-token" in socket.passed
    assert b"panel-microscope-texts" not in socket.passed
    look_at(page, 1)
    settled(page)
    assert b"panel-microscope-texts" in socket.passed


def test_of_two_quick_clicks_none_is_lost(page: Page, socket: DelayedSocket) -> None:
    socket.is_holding = True
    page.get_by_role("button", name="Expert 3", exact=True).click()
    while not socket.held_count("script_finished"):
        page.wait_for_timeout(20)
    # The page has not heard of the first click yet, and sends the values of its widgets as they were.
    chip(page, 6).click()
    socket.release()
    expect(page.get_by_text(sentence("microscope.token", token=6))).to_be_visible()
    settled(page)
    expect(page.get_by_role("button", name="Expert 3", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("combobox", name="Mark expert")).to_have_value("3")
    see_expert(page, 3)


def test_every_token_has_a_name_and_every_text_its_domain(page: Page) -> None:
    expect(page.get_by_role("listbox")).to_have_count(1)
    for at, domain in enumerate(DOMAINS):
        group = page.get_by_role(
            "group", name=sentence("microscope.text_of", domain=domain, number=at + 1, texts=len(DOMAINS))
        )
        expect(group.get_by_role("option")).to_have_count(LENGTH)
    spoken = {
        "\n": "line break",
        " the": "space the",
        " ": "space",
        "�": sentence("microscope.part_of_letter"),
        "<b>": "<b>",
    }
    for token, word in enumerate(WORDS):
        label = sentence("microscope.token_cell", word=spoken.get(word, word), expert=experts_of(token)[0])
        expect(chip(page, token)).to_have_attribute("aria-label", label)
    # Text of a run is text: never an element of the page.
    assert chip(page, WORDS.index("<b>")).locator("b").count() == 0
    assert chip(page, WORDS.index("\n")).inner_text() == "⏎"


def test_the_tooltip_writes_a_token_on_one_line(page: Page) -> None:
    token = next(place for place, word in enumerate(WORDS) if word.startswith(" "))
    chip(page, token).hover()
    head = page.locator(".probe .tip b")
    expect(head.locator(".blank")).to_be_visible()
    # The height of one line is that of the word without its sign.
    both = head.evaluate("b => [b.offsetHeight, (b.textContent = 'x', b.offsetHeight)]")
    assert both[0] == both[1]
    page.mouse.move(0, 0)


def test_an_expert_of_the_key_marks_its_tokens(page: Page) -> None:
    expert = experts_of(3)[0]
    look_at(page, expert)
    expect(page.get_by_text(sentence("microscope.marked_expert"))).to_be_visible()
    page.wait_for_url(re.compile(f"expert={expert}"))
    for token in range(LENGTH * len(DOMAINS)):
        experts = experts_of(token)
        classes = (chip(page, token).get_attribute("class") or "").split()
        assert ("on" in classes) == (experts[0] == expert)
        assert ("other" in classes) == (expert in experts[1:])
    page.get_by_test_id("stMain").get_by_test_id("stButtonGroup").get_by_text("all", exact=True).click()
    page.wait_for_url(re.compile("colour=all"))
    later = next(t for t in range(16) if expert in experts_of(t))
    expect(chip(page, later)).to_have_class(re.compile(r"\bon\b"))
    # Once more marks nobody.
    page.get_by_role("button", name=f"Expert {expert}", exact=True).click()
    page.locator(".st-key-microscope_expert").scroll_into_view_if_needed()
    expect(page.get_by_text(sentence("microscope.busiest_expert"))).to_be_visible()
    expect(page.locator('[role="option"].on')).to_have_count(0)


def test_the_keyboard_walks_the_text_and_enter_looks(page: Page) -> None:
    chip(page, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(chip(page, 2)).to_be_focused()
    # Walking alone asks for nothing.
    expect(page.get_by_text(sentence("microscope.token", token=0))).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text(sentence("microscope.token", token=2))).to_be_visible()
    expect(chip(page, 2)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(chip(page, LENGTH)).to_be_focused()
    page.keyboard.press("End")
    expect(chip(page, 2 * LENGTH - 1)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert (
        page.evaluate(
            "() => { let e = document.activeElement; while (e.shadowRoot) e = e.shadowRoot.activeElement; "
            "return Number(e.dataset.index); }"
        )
        < LENGTH
    )
    # One stop for Tab in the text, one among the experts.
    assert page.locator('[role="option"][tabindex="0"]').count() == 1
    first = page.get_by_role("button", name="Expert 0", exact=True)
    first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Expert 1", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    see_expert(page, 1)


def see_expert(page: Page, expert: int) -> None:
    """Scroll to the panels of an expert."""
    page.locator(".st-key-microscope_expert").scroll_into_view_if_needed()
    expect(page.get_by_role("heading", name=f"Expert {expert}", exact=True)).to_be_visible()


def look_at(page: Page, expert: int) -> None:
    page.get_by_role("button", name=f"Expert {expert}", exact=True).click()
    see_expert(page, expert)


def test_a_click_before_the_answer_to_the_last_finds_an_earlier_view(
    page: Page, socket: DelayedSocket
) -> None:
    for expert in (0, 1):
        look_at(page, expert)
        settled(page)
    socket.is_holding = True
    page.get_by_role("button", name="Expert 2", exact=True).click()
    while not socket.held_count("script_finished"):
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Expert 0", exact=True).click()
    while not socket.held_count("ref_hash"):  # what the server does not send again
        page.wait_for_timeout(20)
    socket.release()
    see_expert(page, 0)


# The marks of charts of an expert with their places, in any order: exchanged rows come last. What has no
# colour is not seen, and may be of an earlier click.
PICTURES = """() => ["texts", "domains", "company", "onward", "load", "bias"].map((name) =>
    [...document.querySelector(`.st-key-panel-microscope-${name} svg.marks`).querySelectorAll("path, text")]
        .filter((mark) => (mark.getAttribute("fill") ?? "none") !== "none" || mark.getAttribute("stroke"))
        .map((mark) => [mark.parentElement, mark].map((one) => one.getAttribute("transform")).join(" ")
            + ["d", "fill", "stroke"].map((key) => mark.getAttribute(key)).join(" ") + mark.textContent)
        .sort().join("\\n"))"""
DRAWN = f"(pictures) => JSON.stringify(({PICTURES})()) === JSON.stringify(pictures)"
# Charts far from the window wait for a frame or for a second of rest, so without them they keep waiting.
NO_TURNS = """() => {
    const held = [], frame = window.requestAnimationFrame, timer = window.setTimeout;
    window.requestAnimationFrame = (next) => held.push(() => frame(next));
    window.setTimeout = (next, ms, ...rest) => ms === 1000 ? (held.push(next), 0) : timer(next, ms, ...rest);
    window.turnsAgain = () => {
        Object.assign(window, { requestAnimationFrame: frame, setTimeout: timer });
        for (const next of held) next();
    };
}"""


def pictures_at_rest(page: Page) -> list[str]:
    """The pictures once more than a second, for which charts out of sight may wait, has changed none."""
    before: list[str] = []
    while (now := list(page.evaluate(PICTURES))) != before:
        before = now
        page.wait_for_timeout(1200)
    return now


def test_charts_below_the_window_follow_in_their_turn_or_when_they_are_scrolled_to(
    page: Page, context: BrowserContext
) -> None:
    with context.new_page() as fresh:
        fresh.goto(f"{page.url}&expert=3")
        settled(fresh)
        third = list(fresh.evaluate(PICTURES))
    # Without scrolling to them.
    page.get_by_role("button", name="Expert 3", exact=True).click()
    page.wait_for_function(DRAWN, arg=third)
    page.get_by_role("button", name="Expert 5", exact=True).click()
    page.wait_for_url(re.compile("expert=5"))  # a page that has not heard the click has settled, too
    page.wait_for_function(f"(pictures) => !({DRAWN})(pictures)", arg=third)
    settled(page)
    fifth = pictures_at_rest(page)
    page.evaluate(NO_TURNS)
    page.get_by_role("button", name="Expert 3", exact=True).click()
    expect(page.get_by_role("heading", name="Expert 3", exact=True)).to_have_count(1)
    expect(page.locator(".st-key-microscope_expert")).to_contain_text("Replay this run with expert 3")
    page.wait_for_timeout(300)
    assert page.evaluate(PICTURES) == fifth, "they wait"
    chart = page.locator(".st-key-panel-microscope-load").get_by_test_id("stVegaLiteChart")
    old = chart.locator("svg").inner_html()
    chart.scroll_into_view_if_needed()
    expect(chart.locator("svg")).not_to_have_js_property("innerHTML", old)
    page.evaluate("turnsAgain()")
    page.wait_for_function(DRAWN, arg=third)


def test_a_chart_that_is_enlarged_fills_the_window(page: Page) -> None:
    """Parts that the browser may skip bind to their place what would stand anywhere else."""
    place = page.locator(".st-key-panel-microscope-load")
    place.get_by_test_id("stVegaLiteChart").hover()
    place.get_by_role("button", name="Fullscreen").dispatch_event("click")
    frame = place.get_by_test_id("stFullScreenFrame")
    assert page.viewport_size
    page.wait_for_function(
        "([frame, width, height]) => { const box = frame.getBoundingClientRect();"
        "return box.x === 0 && box.y === 0 && box.width === width && box.height === height; }",
        arg=[frame.element_handle(), page.viewport_size["width"], page.viewport_size["height"]],
    )
    page.keyboard.press("Escape")
    settled(page)


def test_another_layer_recolours_the_same_text(page: Page) -> None:
    # The last test: the page stays in the other layer.
    page.get_by_test_id("stMain").get_by_test_id("stButtonGroup").nth(1).get_by_text("1", exact=True).click()
    expect(page.get_by_text("in layer 1", exact=False).first).to_be_visible()
    for token in (0, 7):
        label = re.compile(rf": experts? {experts_of(token, layer=1)[0]}\b")
        expect(chip(page, token)).to_have_attribute("aria-label", label)
