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

from playwright.sync_api import Browser, BrowserContext, Page, expect  # noqa: E402
from sentences import pattern, sentence  # noqa: E402


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with servers.serving(SCRIPT) as base:
        yield base


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    with opened(context.new_page(), address) as page:
        yield page


@pytest.fixture(scope="module")
def still(context: BrowserContext, address: str) -> Iterator[Page]:
    """One page for the tests that only look."""
    with opened(context.new_page(), address) as page:
        yield page


@contextmanager
def opened(page: Page, address: str, width: int = 1440) -> Iterator[Page]:
    """A fresh session; errors of the page's own scripts fail the test."""
    page.set_viewport_size({"width": width, "height": 1300})
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


def test_the_tooltip_has_exact_counts(still: Page) -> None:
    still.mouse.move(*cell(still, 100, 5))
    tokens = ask(still, "matrix.tokens(100, 5)")
    assert tokens >= 480
    tip = still.locator(".tip").first
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("expert 5, step 100")
    expect(tip).to_contain_text(f"{tokens} tokens")
    expect(tip).to_contain_text("× uniform")
    expect(tip).to_contain_text(re.compile(r"bias [+−]0\.\d{4}"))
    still.mouse.move(*cell(still, 100, 3))
    expect(tip).to_contain_text("no tokens: idle")


def test_colours_say_over_under_and_dead(still: Page) -> None:
    still.mouse.move(5, 5)
    red, green, blue, _ = colour_at(still, *cell(still, 150, 5))
    assert red > blue + 60, "the busiest expert is orange"
    red, green, blue, _ = colour_at(still, *cell(still, 150, 0))
    assert blue > green, "an expert below its share is purple"
    assert colour_at(still, *cell(still, 150, 3))[:3] == [0x00, 0xA0, 0x8A]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_balance_is_calm_in_both_themes(context: BrowserContext, address: str, scheme: str) -> None:
    """The middle of the scale has the lightness of the page, also after a change of theme."""
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    with opened(page, address):
        middle = ask(page, "theme.ramp[128]")
        assert (sum(middle) > 3 * 200) == (scheme == "light")
        assert page.evaluate(f"getComputedStyle({PLAYER}.players.get('main').box).colorScheme") == scheme


def test_the_screen_density_is_used(browser: Browser, address: str) -> None:
    with opened(browser.new_page(device_scale_factor=2), address) as page:
        wide = ask(page, "parts.plot.width")
        assert wide == 2 * ask(page, "at.width")


def test_narrow_pages_keep_everything_inside(context: BrowserContext, address: str) -> None:
    with opened(context.new_page(), address, width=800) as page:
        outer = stage(page).bounding_box()
        assert outer["x"] + outer["width"] <= 800
        for name in ("play", "scrub", "speed", "now"):
            box = page.locator(f".{name}").first.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= 800 - box["width"], name


def test_less_motion_plays_in_still_steps(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    with opened(page, address):
        assert ask(page, "playing") is False
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


def test_a_growing_matrix_keeps_the_place(page: Page) -> None:
    page.get_by_text("grow").click()
    wait_for(page, "matrix.columns === 240")
    assert ask(page, "column") == 50
    assert page.evaluate(f"{PLAYER}.mounts") == 3


def test_the_matrix_travels_once(browser: Browser, address: str) -> None:
    """Moving the step costs a few kilobytes, not the matrix again."""
    context = browser.new_context()
    page = context.new_page()
    sizes: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))))
    page.goto(address)
    page.get_by_role("slider", name="Right", exact=True).wait_for(timeout=60_000)
    expect_state(page, step=50)
    wait_for_ticks(page, 2)
    sizes.clear()
    page.mouse.click(*cell(page, 120, 6))
    expect_state(page, step=120)
    assert max(sizes) < 6_000
    context.close()


def test_names_and_values_for_screen_readers(still: Page) -> None:
    place = stage(still)
    expect(place).to_have_attribute("aria-valuenow", "50")
    expect(place).to_have_attribute("aria-valuemax", "199")
    expect(place).to_have_attribute(
        "aria-valuetext",
        re.compile(pattern("captions.player_cell", step=50, expert=5) + r" \d\.\d\d× the uniform load, 1 "),
    )
    nameless = still.locator(".player button:not([aria-label])").evaluate_all(
        "(buttons) => buttons.filter((button) => !button.textContent.trim()).length"
    )
    assert nameless == 0


def test_axe_finds_nothing_in_the_player(still: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(still, context="[data-testid=stBidiComponentIsolated]")
    violations = [f"{v['id']}: {v['nodes'][0]['target']}" for v in found.response["violations"]]
    assert not violations
