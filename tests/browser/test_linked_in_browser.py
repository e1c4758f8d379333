"""Linked views in a real Chromium: one expert lights up everywhere, one keyboard, one order, bias steps."""

import re
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from sentences import sentence  # noqa: E402
from waiting import wait_for  # noqa: E402

PLAYER = "[...(globalThis[Symbol.for('moe-routing-explorer.player')]?.players.values() ?? [])][0]"
LOSS_FREE, SWITCHED = "standard-loss_free-seed0", "standard-none-400-loss_free-seed0"
PATH = f"replay?run={LOSS_FREE}&layer=1&step=200"
BARS, BIASES = 0, 1
"""Which of the figures of Replay is which."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """The app with two of the runs that ship: what it works out must be what a real run has logged."""
    folder = tmp_path_factory.mktemp("linked")
    for name in (LOSS_FREE, SWITCHED):
        shutil.copytree(Path(servers.ROOT) / "data" / "runs" / name, folder / "shipped" / name)
    server = AppServer(folder, folder / "shipped")
    try:
        yield server.wait()
    finally:
        server.stop()


def visit(page: Page, app: AppServer, path: str = PATH) -> None:
    page.goto(f"{app.url}/{path}")
    figure(page, BIASES).locator("svg").wait_for()
    page.wait_for_function(f"{PLAYER}?.matrix.columns > 0")
    settled(page)


@pytest.fixture(scope="module")
def opened(context: BrowserContext, shipped: AppServer) -> Iterator[Page]:
    """Replay at step 200 of layer 1, for tests that come back to it: opening it costs more than they do."""
    page = context.new_page()
    visit(page, shipped)
    yield page
    page.close()


@pytest.fixture
def replay(opened: Page, shipped: AppServer) -> Page:
    """Replay at step 200, with the pointer and the focus where they touch nothing."""
    if "/replay" not in opened.url or "layer=1" not in opened.url:
        visit(opened, shipped)
    opened.mouse.move(5, 500)
    step = opened.get_by_role("spinbutton", name=sentence("controls.step"))
    step.fill("200")
    step.press("Enter")
    step.blur()
    expect(opened.get_by_text(sentence("replay.step_after", step=200))).to_be_visible()
    settled(opened)
    return opened


def figure(page: Page, which: int) -> Locator:
    return page.get_by_test_id("stVegaLiteChart").nth(which)


def ask(page: Page, what: str) -> Any:
    return page.evaluate(f"{PLAYER}.{what}")


def row_of_player(page: Page, row: int, column: int = 300) -> tuple[float, float]:
    """Where a row of the player's heatmap lies on the page."""
    stage = page.get_by_role("slider", name=re.compile("^Expert loads of"))
    stage.scroll_into_view_if_needed()
    box, at = stage.bounding_box(), ask(page, "at")
    assert box is not None
    tall = at["tall"] / ask(page, "matrix.experts")
    share = (column + 0.5) / ask(page, "matrix.columns")
    return box["x"] + at["left"] + share * at["plot"], box["y"] + at["top"] + (row + 0.5) * tall


def widths(page: Page, which: int) -> list[float]:
    """Stroke widths of the lines of a figure, the widest first."""
    return list(
        page.evaluate(
            """(n) => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')[n]
                .querySelectorAll('.mark-line path')].map((p) => +p.getAttribute('stroke-width'))
                .sort((a, b) => b - a)""",
            which,
        )
    )


def outlined_bars(page: Page) -> list[int]:
    """Which bars of the loads, from left to right, have an outline."""
    return list(
        page.evaluate(
            """(n) => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')[n]
                .querySelectorAll('.mark-rect path')].map((p, i) => [i, +p.getAttribute('stroke-width')])
                .filter(([, width]) => width > 0).map(([i]) => i)""",
            BARS,
        )
    )


def wait_for_layer(page: Page, layer: int) -> None:
    """Until the player shows this layer: the address names it before the player has its loads."""
    page.wait_for_function(f"{PLAYER}?.settings?.layer === {layer}")
    settled(page)


def step_of(page: Page) -> int:
    return int(page.get_by_role("spinbutton", name=sentence("controls.step")).input_value())


def wait_for_step(page: Page, step: int) -> None:
    """Until Python has heard of a step of the player."""
    expect(page.get_by_role("spinbutton", name=sentence("controls.step"))).to_have_value(str(step))


def point_at(page: Page, chart: Locator) -> None:
    """Bring the pointer into a figure of biases: the points that it can meet come with it."""
    chart.scroll_into_view_if_needed()
    settled(page)
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # Marks of events are symbols as well, but a few.
    chart.locator(".mark-symbol path").nth(99).wait_for(state="attached")


def bias_point(page: Page, expert: int, step: int) -> tuple[float, float]:
    """Where a point of a bias line lies on the page, by the figure's own marks."""
    point_at(page, figure(page, BIASES))
    place = page.evaluate(
        """([n, expert, step]) => {
            const chart = document.querySelectorAll('[data-testid="stVegaLiteChart"]')[n];
            const points = [...chart.querySelectorAll('.mark-symbol path')].filter((p) => {
                const datum = p.__data__?.datum;
                return datum && datum.expert === expert && datum.x === step;
            });
            const box = points[0].getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }""",
        [BIASES, expert, step],
    )
    return place[0], place[1]


def test_an_expert_under_the_pointer_lights_up_in_the_player_and_the_figures(replay: Page) -> None:
    page = replay
    assert max(widths(page, BIASES)) < 2.8
    assert outlined_bars(page) == []
    page.mouse.move(*row_of_player(page, 7))
    wait_for(lambda: outlined_bars(page) == [7])
    wait_for(lambda: widths(page, BIASES)[:1] == [2.8])
    assert sum(width == 2.8 for width in widths(page, BIASES)) == 1
    page.mouse.move(5, 500)
    wait_for(lambda: outlined_bars(page) == [])
    wait_for(lambda: max(widths(page, BIASES)) < 2.8)
    # A line of the biases does the same in the player and the bars.
    for expert in (3, 11):
        page.mouse.move(*bias_point(page, expert, 100))
        page.wait_for_function(f"{PLAYER}.lit === {expert}")
        wait_for(lambda expert=expert: outlined_bars(page) == [expert])
    page.mouse.move(5, 500)
    page.wait_for_function(f"{PLAYER}.lit === null")
    # Dragging the figure opens nothing.
    x, y = bias_point(page, 9, 400)
    for start, end in ((x, x - 60), (x - 60, x)):
        page.mouse.move(start, y)
        page.mouse.down()
        page.mouse.move(end, y, steps=5)
        page.mouse.up()
    settled(page)
    assert step_of(page) == 200
    assert "expert=" not in page.url


def test_experts_of_different_runs_never_light_up_together(page: Page, shipped: AppServer) -> None:
    page.goto(f"{shipped.url}/compare?runs={LOSS_FREE}&runs={SWITCHED}")
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')]
            .filter((chart) => chart.querySelectorAll('.mark-line path').length >= 16).length === 2"""
    )
    settled(page)
    lines = page.get_by_test_id("stVegaLiteChart").filter(has=page.locator(".mark-line path").nth(15))
    assert lines.first.locator(".mark-symbol path").count() < 100, "points before there is a pointer"
    point_at(page, lines.first)
    box = lines.first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 2)
    bold = """(chart) => [...chart.querySelectorAll('.mark-line path')]
        .filter((path) => +path.getAttribute('stroke-width') >= 2.8).length"""
    wait_for(lambda: lines.first.evaluate(bold) >= 1)
    settled(page)
    assert lines.last.evaluate(bold) == 0


# The steps that the sentences of each place name, whenever something changes on the page.
STEPS_NAMED = """() => {
    const places = [...document.querySelectorAll('.st-key-panels, .st-key-bias_step')];
    const stepsIn = (place) => {
        const steps = [...place.textContent.matchAll(/At step (\\d+)/g)].map((match) => match[1]);
        return [...new Set(steps)];
    };
    window.named = [];
    window.naming?.disconnect();
    window.naming = new MutationObserver(() => window.named.push(places.map(stepsIn)));
    window.naming.observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
# How many messages the page sends from now on.
COUNT_SENT = """() => {
    window.sent = 0;
    if (window.isCounting) return;
    window.isCounting = true;
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) { window.sent += 1; return send.call(this, data); };
}"""


def test_a_move_is_one_message_and_each_place_changes_its_sentences_at_once(replay: Page) -> None:
    """A busy server sends one place later than the other (`ui.server.bursts`); none may show two steps."""
    page = replay
    page.evaluate(STEPS_NAMED)
    page.evaluate(COUNT_SENT)
    # On a busy machine the player would tell its report a second time.
    page.evaluate(f"() => {{ {PLAYER}.heard = null; }}")
    page.keyboard.press("ArrowRight")
    table = page.locator(".st-key-bias_step table")
    expect(table).to_have_attribute("aria-label", re.compile("after step 201$"))
    settled(page)
    assert page.evaluate("window.sent") == 1
    panels, update = (
        [steps for steps, _ in groupby(places[place] for places in page.evaluate("window.named"))]
        for place in (0, 1)
    )
    assert panels == [["200"], ["201"]]
    assert update == [["200"], ["201"]]
    page.evaluate("window.naming.disconnect()")


def test_keys_work_on_the_whole_page(replay: Page) -> None:
    page = replay
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(sentence("replay.step_after", step=201))).to_be_visible()
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.get_by_text(sentence("replay.step_after", step=191))).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_text(sentence("replay.step_after", step=799))).to_be_visible()
    page.keyboard.press("Home")
    expect(page.get_by_text(sentence("replay.step_after", step=0))).to_be_visible()
    page.keyboard.press(" ")
    page.wait_for_function(f"{PLAYER}.playing && {PLAYER}.column > 5")
    page.keyboard.press(" ")
    assert ask(page, "playing") is False
    column = ask(page, "column")
    assert column > 5
    wait_for_step(page, column)
    page.keyboard.press("ArrowDown")
    page.wait_for_url(re.compile("expert=0"))


def test_a_report_that_gets_lost_is_told_again(replay: Page) -> None:
    page = replay
    page.evaluate(
        f"""() => {{
            const {{ component }} = {PLAYER};
            const tell = component.setTriggerValue;
            component.setTriggerValue = () => {{ component.setTriggerValue = tell; }};
        }}"""
    )
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(sentence("replay.step_after", step=201))).to_be_visible()


def test_typing_and_buttons_keep_their_keys(replay: Page) -> None:
    page = replay
    box = page.get_by_role("spinbutton", name=sentence("controls.step"))
    box.focus()
    for key in ("j", "k", "?", " ", "Home", "[", "]"):
        box.press(key)
    settled(page)
    assert ask(page, "settings.layer") == 1
    assert ask(page, "playing") is False
    assert page.get_by_role("dialog").count() == 0
    assert ask(page, "column") == 200
    page.get_by_role("button", name=sentence("controls.one_step_on")).focus()
    page.keyboard.press(" ")
    wait_for_step(page, 201)
    settled(page)
    assert ask(page, "playing") is False


def test_the_list_of_keys_opens_closes_and_gives_the_focus_back(replay: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = replay
    button = page.get_by_role("button", name=sentence("controls.play"), exact=True)
    button.focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text(sentence("controls.keys_layer"))
    violations = axe.Axe().run(page, context="[data-testid=stBidiComponentIsolated]").response["violations"]
    assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations] == []
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    settled(page)
    assert (step_of(page), ask(page, "settings.layer")) == (200, 1)
    page.get_by_role("button", name="? for all keys").click()
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def bar_labels(page: Page) -> list[str]:
    """Experts under the bars, from left to right."""
    return list(
        page.evaluate(
            """(n) => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')[n]
                .querySelectorAll('.mark-text.role-axis-label text')]
                .filter((t) => /^\\d+$/.test(t.textContent)).map((t) => t.textContent)""",
            BARS,
        )
    )


def test_an_order_holds_everywhere_while_it_plays_and_for_the_arrows(page: Page, shipped: AppServer) -> None:
    visit(page, shipped, f"{PATH}&sort=bias")
    rows = ask(page, "rows")
    assert sorted(rows) == list(range(16)) != rows
    assert bar_labels(page) == [str(expert) for expert in rows]
    page.mouse.move(*row_of_player(page, 2))
    # Marks are in the order of the data.
    wait_for(lambda: outlined_bars(page) == [rows[2]])
    expect(page.locator(".tip").first).to_contain_text(f"expert {rows[2]},")
    page.keyboard.press(" ")
    page.wait_for_function(f"{PLAYER}.column > 205")
    page.keyboard.press(" ")
    wait_for_step(page, ask(page, "column"))
    settled(page)
    assert ask(page, "rows") == rows
    assert bar_labels(page) == [str(expert) for expert in rows]
    assert "sort=bias" in page.url
    page.keyboard.press("ArrowDown")
    page.wait_for_url(re.compile(rf"expert={rows[0]}\b"))
    settled(page)
    page.keyboard.press("ArrowDown")
    page.wait_for_url(re.compile(rf"expert={rows[1]}\b"))


def test_a_click_on_a_bias_line_opens_that_step_and_it_follows_the_playhead(replay: Page) -> None:
    page = replay
    # Twice, and the first point once more: a point that was clicked can be clicked again.
    for expert, step in ((9, 400), (3, 120), (9, 400)):
        page.mouse.click(*bias_point(page, expert, step))
        expect(page.get_by_text(sentence("bias_step.expert_load", step=step, expert=expert))).to_be_visible()
        wait_for_step(page, step)
        settled(page)
        assert f"expert={expert}" in page.url
        assert ask(page, "column") == step
        expect(page.get_by_text(sentence("bias_step.equal", biases=16, step=step + 1))).to_be_visible()
    # The step that is open follows the playhead.
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(sentence("bias_step.expert_load", step=401, expert=9))).to_be_visible()
    settled(page)
    page.keyboard.press("End")
    expect(page.get_by_text(sentence("bias_step.expert_load", step=799, expert=9))).to_be_visible()
    expect(page.get_by_text(sentence("bias_step.evaluation_biases", step=799))).to_be_visible()


def click_in_compare_offers_that_step_in_replay(page: Page) -> None:
    heatmap = page.get_by_role("group", name=re.compile("^Expert load of"))
    heatmap.locator("canvas").wait_for()
    settled(page)
    box = heatmap.locator("canvas").bounding_box()
    assert box is not None
    # Sixteen rows of 14 pixels, and below them the axis of steps.
    heatmap.click(position={"x": 250, "y": box["height"] - 26 - 11.5 * 14})
    of_cell = page.get_by_role("link", name=re.compile("^Open expert 4 at step"))
    expect(of_cell).to_be_visible()
    step = re.search(r"step (\d+)", of_cell.inner_text())
    # The keys do the same, from the cell that was clicked.
    heatmap.press("ArrowRight")
    following = re.search(r"expert 4, steps? (\d+)", heatmap.locator(".said").inner_text())
    assert step
    assert following
    assert int(following.group(1)) > int(step.group(1))
    heatmap.press("Enter")
    opened = sentence("controls.open_expert_in_replay", expert=4, step=following.group(1))
    expect(page.get_by_role("link", name=opened)).to_be_visible()
    chart = page.get_by_test_id("stVegaLiteChart").filter(has=page.locator(".mark-line path").nth(15)).first
    point_at(page, chart)
    point = chart.evaluate(
        """(chart) => {
            const points = [...chart.querySelectorAll(".mark-symbol path")];
            const paths = points.filter((p) => p.__data__?.datum.expert === 4);
            const one = paths[Math.floor(paths.length / 2)];
            one.scrollIntoView({ block: "center" });
            const [box, datum] = [one.getBoundingClientRect(), one.__data__.datum];
            return [box.x + box.width / 2, box.y + box.height / 2, datum.x];
        }"""
    )
    page.mouse.click(point[0], point[1])
    link = page.get_by_role("link", name=sentence("controls.open_expert_in_replay", expert=4, step=point[2]))
    expect(link).to_be_visible()
    settled(page)
    link.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("pages.replay"))
    expect(page.get_by_text(sentence("bias_step.expert_load", step=point[2], expert=4))).to_be_visible()
    settled(page)
    for part in ("layer=2", "expert=4", f"step={point[2]}"):
        assert part in page.url


def test_layers_change_at_the_same_step_and_expert_and_the_path_above_leads_up_to_compare_and_back(
    replay: Page,
) -> None:
    page = replay
    page.mouse.click(*row_of_player(page, 6, 200))
    page.wait_for_url(re.compile("expert=6"))
    page.mouse.move(5, 500)
    settled(page)
    page.keyboard.press("j")
    wait_for_layer(page, 2)
    assert step_of(page) == 200
    assert "layer=2" in page.url
    assert "expert=6" in page.url
    assert ask(page, "matrix.first[0]") == 0
    assert ask(page, "column") == 200
    assert ask(page, "expert") == 6
    page.keyboard.press("k")
    wait_for_layer(page, 1)
    page.keyboard.press("k")
    wait_for_layer(page, 0)
    page.keyboard.press("k")
    settled(page)
    # The first layer leaves out its parameter.
    assert ask(page, "settings.layer") == 0
    assert step_of(page) == 200
    # Two quick keys are two layers.
    page.keyboard.press("j")
    page.keyboard.press("j")
    wait_for_layer(page, 2)
    assert step_of(page) == 200
    # From the expert to its layer, its run and the comparison.
    expect(page.locator("output", has_text="step 200").first).to_be_visible()
    page.get_by_role("button", name="expert 6").click()
    expect(page.get_by_text(sentence("replay.step_after", step=799))).to_be_visible()
    assert "expert=6" in page.url
    page.get_by_role("button", name="layer 2", exact=True).click()
    settled(page)
    assert "expert=" not in page.url
    page.locator(".st-key-crumbs").get_by_role("link").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(sentence("pages.compare"))
    settled(page)
    assert f"runs={LOSS_FREE}" in page.url
    assert "layer=2" in page.url
    click_in_compare_offers_that_step_in_replay(page)


def test_the_sign_of_an_event_says_what_happened_and_keys_jump_between_events(
    page: Page, shipped: AppServer
) -> None:
    visit(page, shipped, f"replay?run={SWITCHED}&layer=1&step=200")
    x, y = row_of_player(page, 0, 400)
    page.mouse.move(x, y - ask(page, "at.tall") / 32 - 7)
    expect(page.locator(".tip").first).to_contain_text("now loss-free")
    page.mouse.move(5, 500)
    steps = ask(page, "events.map((event) => event.step)")
    places = sorted({ask(page, f"matrix.columnOf({step})") for step in steps})
    assert 400 in places
    ahead = [place for place in places if place > 200]
    page.keyboard.press("]")
    wait_for_step(page, ahead[0])
    settled(page)
    page.keyboard.press("Home")
    page.keyboard.press("End")
    page.keyboard.press("[")
    wait_for_step(page, max(place for place in places if place < 799))
