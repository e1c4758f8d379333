"""The heatmap player in a real Chromium: what Python hears and when, what survives a rerun, keys."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import servers

SCRIPT = Path(__file__).with_name("player_script.py")
PLAYER = "globalThis[Symbol.for('moe-routing-explorer.player')]"

pytestmark = pytest.mark.browser
servers.need_chromium()

from playwright.sync_api import BrowserContext, Page, expect  # noqa: E402
from sentences import pattern, sentence  # noqa: E402


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with servers.serving(SCRIPT) as base:
        yield base


@pytest.fixture(scope="module")
def received() -> list[int]:
    """Sizes of the messages that the page was sent."""
    return []


@pytest.fixture(scope="module")
def opened_once(context: BrowserContext, address: str, received: list[int]) -> Iterator[Page]:
    """One page for the tests that come back to its start: opening it costs more than most of them."""
    page = context.new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(len(data))))
    with opened(page, address):
        yield page


@pytest.fixture
def page(opened_once: Page) -> Page:
    """The page as it was opened: at step 50, without an expert, nothing plays and nothing was reported."""
    page = opened_once
    page.emulate_media(reduced_motion="null")
    page.mouse.up()
    page.mouse.move(5, 5)
    page.evaluate(
        f"() => {{ for (const p of {PLAYER}.players.values()) p.playing && p.toggle();"
        " document.activeElement?.blur(); }"
    )
    page.get_by_role("combobox", name=sentence("controls.speed")).first.select_option("15")
    wait_for_ticks(page, 1)
    page.get_by_role("button", name="start again").click()
    expect_state(page, step=50, expert=None, reports=0)
    wait_for(page, "column === 50")
    return page


@contextmanager
def opened(page: Page, address: str, width: int = 1440, density: int = 1) -> Iterator[Page]:
    """A fresh session; errors of the page's own scripts fail the test. density: pixels of the screen per one
    of the page."""
    page.set_viewport_size({"width": width, "height": 1300})
    screen = {"width": width, "height": 1300, "deviceScaleFactor": density, "mobile": False}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", screen)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_role("slider", name="Right", exact=True).wait_for(timeout=60_000)
    expect_state(page, step=50)
    page.wait_for_function(f"{PLAYER}?.players.size === 3 && {PLAYER}.players.get('main').column === 50")
    yield page
    page.close()
    assert not errors


def expect_state(page: Page, **wanted: object) -> None:
    for name, value in wanted.items():
        expect(page.get_by_text(re.compile(rf"STATE .*\b{name}={value}\b"))).to_be_visible(timeout=20_000)


def ask(page: Page, what: str, key: str = "main") -> Any:
    return page.evaluate(f"{PLAYER}.players.get('{key}').{what}")


def wait_for(page: Page, what: str, key: str = "main") -> None:
    page.wait_for_function(f"{PLAYER}.players.get('{key}').{what}", timeout=20_000)


def ticks(page: Page) -> int:
    return int(page.get_by_text(re.compile(r"^TICKS \d+")).inner_text().split()[1])


def wait_for_ticks(page: Page, more: int) -> None:
    start = ticks(page)
    page.wait_for_function(
        "n => [...document.querySelectorAll('[data-testid=stText]')]"
        ".some(e => +(e.innerText.match(/^TICKS (\\d+)/) || [])[1] >= n)",
        arg=start + more,
        timeout=30_000,
    )


def stage(page: Page, name: str = "Loads of the test run") -> Any:
    return page.get_by_role("slider", name=name, exact=True)


def cell(page: Page, column: int, expert: int) -> tuple[float, float]:
    """Where a cell of the main player lies on the page."""
    box, at = stage(page).bounding_box(), ask(page, "at")
    columns = ask(page, "matrix.columns")
    x = box["x"] + at["left"] + (column + 0.5) / columns * at["plot"]
    return x, box["y"] + at["top"] + (expert + 0.5) / 8 * at["tall"]


def colour_at(page: Page, x: float, y: float) -> list[int]:
    """What the main player's canvas shows at a point of the page."""
    box = stage(page).bounding_box()
    return list(
        page.evaluate(
            f"([x, y]) => {{ const d = devicePixelRatio; return [...{PLAYER}.players.get('main').parts.plot"
            ".getContext('2d').getImageData(Math.round(x * d), Math.round(y * d), 1, 1).data] }",
            [x - box["x"], y - box["y"]],
        )
    )


def test_playing_reports_nothing_until_it_pauses_and_survives_reruns(page: Page) -> None:
    page.get_by_role("button", name=sentence("controls.play")).first.click()
    wait_for_ticks(page, 3)
    assert ask(page, "playing") is True
    expect_state(page, step=50, reports=0)
    wait_for(page, "column > 60")
    page.get_by_role("button", name="Pause").click()
    expect_state(page, reports=1)
    expect_state(page, step=ask(page, "column"))
    # Three players, three set-ups: no rerun made a new one.
    assert page.evaluate(f"{PLAYER}.mounts") == 3


def test_reaching_the_end_stops_and_reports(page: Page) -> None:
    page.get_by_role("combobox", name=sentence("controls.speed")).first.select_option("600")
    page.get_by_role("button", name=sentence("controls.play")).first.click()
    expect_state(page, step=199, reports=1)
    assert ask(page, "playing") is False
    # Playing again starts from the beginning.
    page.get_by_role("combobox", name=sentence("controls.speed")).first.select_option("2")
    page.get_by_role("button", name=sentence("controls.play")).first.click()
    wait_for(page, "column < 150")


def test_a_click_sets_step_and_expert_and_is_shown_back(page: Page) -> None:
    page.mouse.click(*cell(page, 120, 6))
    expect_state(page, step=120, expert=6, reports=1)
    assert ask(page, "column") == 120


def test_dragging_reports_once_on_release(page: Page) -> None:
    page.mouse.move(*cell(page, 30, 2))
    page.mouse.down()
    for column in (60, 90, 140):
        page.mouse.move(*cell(page, column, 2))
    wait_for_ticks(page, 2)
    expect_state(page, reports=0)
    assert ask(page, "column") == 140
    page.mouse.up()
    expect_state(page, step=140, reports=1)


def test_the_scrubber_reports_on_release(page: Page) -> None:
    scrub = page.get_by_role("slider", name=sentence("controls.step"), exact=True).first
    box = scrub.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 2, steps=4)
    wait_for_ticks(page, 2)
    expect_state(page, reports=0)
    page.mouse.up()
    expect_state(page, reports=1, step=ask(page, "column"))
    assert 140 <= ask(page, "column") <= 160


def test_the_scrubber_lies_under_the_heatmap_on_its_scale(page: Page) -> None:
    """A click on it goes to the step of the column above."""
    box = page.get_by_role("slider", name="Step", exact=True).first.bounding_box()
    assert box is not None
    x, y = cell(page, 120, 2)
    assert y < box["y"]
    page.mouse.click(x, box["y"] + box["height"] / 2)
    expect_state(page, step=120, reports=1)


def test_python_moves_a_paused_player_but_not_a_playing_one(page: Page) -> None:
    page.get_by_role("button", name="python says 51").click()
    expect_state(page, step=51)
    wait_for(page, "column === 51")
    page.get_by_role("combobox", name=sentence("controls.speed")).first.select_option("2")
    page.get_by_role("button", name=sentence("controls.play")).first.click()
    page.get_by_role("button", name="python says 199").click()
    expect_state(page, step=199)
    wait_for_ticks(page, 2)
    assert ask(page, "playing") is True
    assert ask(page, "column") < 100


def test_python_moves_back_to_a_step_that_was_just_reported(page: Page) -> None:
    """The step's number alone does not say whether Python answers an old report or moves by itself."""
    stage(page).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect_state(page, step=51, expert=0)
    page.get_by_role("button", name="start again").click()
    expect_state(page, step=50, expert=None)
    wait_for(page, "column === 50")


# The next report of the main player does not reach Python.
LOSE_ONE = f"""() => {{
    const {{ component }} = {PLAYER}.players.get('main'), tell = component.setTriggerValue;
    window.lost = [];
    component.setTriggerValue = (_, report) => {{
        window.lost.push(report.expert);
        component.setTriggerValue = tell;
    }};
}}"""


def test_a_lost_report_is_told_again_when_only_the_expert_changed(page: Page) -> None:
    stage(page).focus()
    page.evaluate(LOSE_ONE)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("window.lost") == [0]
    expect_state(page, step=50, expert=0)


def test_keys(page: Page) -> None:
    stage(page).focus()
    for key, column in (
        ("Home", 0),
        ("ArrowRight", 1),
        ("Shift+ArrowRight", 11),
        ("ArrowLeft", 10),
        ("End", 199),
    ):
        page.keyboard.press(key)
        assert ask(page, "column") == column, key
    expect_state(page, step=199)
    page.keyboard.press("ArrowDown")
    expect_state(page, expert=0)
    page.keyboard.press("ArrowDown")
    expect_state(page, expert=1)
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert ask(page, "playing") is True
    page.keyboard.press(" ")
    assert ask(page, "playing") is False


def test_a_held_key_reports_on_release_only(page: Page) -> None:
    stage(page).focus()
    for _ in range(5):
        page.keyboard.down("ArrowRight")
    wait_for_ticks(page, 2)
    expect_state(page, step=50, reports=0)
    assert ask(page, "column") == 55
    page.keyboard.up("ArrowRight")
    expect_state(page, step=55, reports=1)


def test_quick_taps_do_not_jerk_back(page: Page) -> None:
    page.evaluate(
        f"() => {{ const p = {PLAYER}.players.get('main'); window.seen = []; const move = p.moveTo.bind(p);"
        " p.moveTo = (c) => { window.seen.push(c); move(c); } }"
    )
    button = page.get_by_role("button", name=sentence("controls.one_step_on")).first
    for _ in range(6):
        button.click(delay=0)
    expect_state(page, step=56)
    wait_for_ticks(page, 2)
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen), seen
    assert ask(page, "column") == 56


def test_the_tooltip_has_exact_counts(page: Page) -> None:
    page.mouse.move(*cell(page, 100, 5))
    tokens = ask(page, "matrix.tokens(100, 5)")
    assert tokens >= 480
    tip = page.locator(".tip").first
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("expert 5, step 100")
    expect(tip).to_contain_text(f"{tokens} tokens")
    expect(tip).to_contain_text("× uniform")
    expect(tip).to_contain_text(re.compile(r"bias [+−]0\.\d{4}"))
    page.mouse.move(*cell(page, 100, 3))
    expect(tip).to_contain_text("no tokens: idle")


def test_colours_say_over_under_and_dead(page: Page) -> None:
    page.mouse.move(5, 5)
    red, green, blue, _ = colour_at(page, *cell(page, 150, 5))
    assert red > blue + 60, "the busiest expert is orange"
    red, green, blue, _ = colour_at(page, *cell(page, 150, 0))
    assert blue > green, "an expert below its share is purple"
    assert colour_at(page, *cell(page, 150, 3))[:3] == [0x70, 0x70, 0x70]


def test_a_narrow_dark_and_dense_screen(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    with opened(page, address, width=800, density=2):
        outer = stage(page).bounding_box()
        assert outer["x"] + outer["width"] <= 800
        for name in ("play", "scrub", "speed", "now"):
            box = page.locator(f".{name}").first.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= 800 - box["width"], name
        assert ask(page, "parts.plot.width") == 2 * ask(page, "at.width")
        assert_calm(page, "dark")
        page.emulate_media(color_scheme="light")
        wait_for(page, "theme.ramp[128][0] > 128")
        assert_calm(page, "light")


def assert_calm(page: Page, scheme: str) -> None:
    """The middle of the scale has the lightness of the page."""
    middle = ask(page, "theme.ramp[128]")
    assert (sum(middle) > 3 * 200) == (scheme == "light")
    assert page.evaluate(f"getComputedStyle({PLAYER}.players.get('main').box).colorScheme") == scheme


def test_less_motion_plays_in_still_steps(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name=sentence("controls.play")).first.click()
    wait_for(page, "column > 50")
    # One jump of a twentieth of the run instead of a moving line.
    assert ask(page, "column") - 50 >= 10


def test_each_player_of_a_page_moves_alone(page: Page) -> None:
    stage(page, "Left").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    assert ask(page, "column", "left") == 10
    assert ask(page, "column", "right") == 99
    assert ask(page, "column") == 50


def test_the_matrix_travels_once(page: Page, received: list[int]) -> None:
    """Moving the step costs a few kilobytes, not the matrix again."""
    assert max(received) > 6_000
    wait_for_ticks(page, 2)
    received.clear()
    page.mouse.click(*cell(page, 120, 6))
    expect_state(page, step=120)
    assert max(received) < 6_000


def test_names_and_values_for_screen_readers(page: Page) -> None:
    place = stage(page)
    expect(place).to_have_attribute("aria-valuenow", "50")
    expect(place).to_have_attribute("aria-valuemax", "199")
    expect(place).to_have_attribute(
        "aria-valuetext",
        re.compile(pattern("captions.player_cell", step=50, expert=5) + r" \d\.\d\d× the uniform load, 1 "),
    )
    nameless = page.locator(".player button:not([aria-label])").evaluate_all(
        "(buttons) => buttons.filter((button) => !button.textContent.trim()).length"
    )
    assert nameless == 0


def test_axe_finds_nothing_in_the_player(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    report = axe.Axe().run(page, context="[data-testid=stBidiComponentIsolated]")
    violations = [f"{v['id']}: {v['nodes'][0]['target']}" for v in report.response["violations"]]
    assert not violations


def test_a_growing_matrix_keeps_the_place(page: Page) -> None:
    # The last test: it grows for good.
    page.get_by_text("grow").click()
    wait_for(page, "matrix.columns === 240")
    assert ask(page, "column") == 50
    assert page.evaluate(f"{PLAYER}.mounts") == 3
