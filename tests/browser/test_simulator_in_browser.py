"""The simulator in the browser against `explorer/simulate`, and charts that follow a slider, in Chromium."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
import servers
from app_server import AppServer
from numpy.typing import NDArray

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from page_state import settled  # noqa: E402
from playwright.sync_api import BrowserContext, Locator, Page, expect  # noqa: E402
from polars.testing import assert_frame_equal  # noqa: E402
from small_pools import pool_of  # noqa: E402

from explorer.charts.dragged import PARTS  # noqa: E402
from explorer.figures import simulation  # noqa: E402
from explorer.figures.panel import Panel, slug  # noqa: E402
from explorer.figures.theory import OneRule  # noqa: E402
from explorer.figures.views import playground as playground_view  # noqa: E402
from explorer.figures.views import theory as theory_view  # noqa: E402
from explorer.figures.views.choice import defaults  # noqa: E402
from explorer.figures.views.playground_choices import CHOICES  # noqa: E402
from explorer.simulate import RuleSettings, ScoreSettings, Simulation, simulate  # noqa: E402
from explorer.simulate.dynamics import Changes, checked_changes  # noqa: E402
from explorer.ui.components.simulator.payload import RULES  # noqa: E402
from explorer.ui.playground import dragging  # noqa: E402
from explorer.ui.theory import dragging as theory_dragging  # noqa: E402

POOL = 2**16
STEPS = 60
NO_STORE: Any = None
"""Simulations ask no store."""
# The page's own modules, as the loader has made them.
IMPORT = """async (name) => {
    const table = globalThis[Symbol.for("moe-routing-explorer.modules")];
    const [, url] = [...table].find(([id]) => id.startsWith(`simulator/${name}.js@`));
    return import(url);
}"""
# Other components' modules may come first.
ARE_LOADED = """() => {
    const ids = [...(globalThis[Symbol.for("moe-routing-explorer.modules")]?.keys() ?? [])];
    return ["simulation", "descent", "pictures", "descent_pictures"].every((name) =>
        ids.some((id) => id.startsWith(`simulator/${name}.js@`)));
}"""
SIMULATE = f"""async ([scores, side, steps, pool]) => {{
    const {{ Simulation }} = await ({IMPORT})("simulation");
    const run = new Simulation(scores, side, steps, pool ?? undefined);
    while (!run.advance(() => true));
    return [run.counts, run.bias, run.learnt, run.switched].map((values) => [...values]);
}}"""
DESCEND = f"""async (job) => {{
    const {{ descend }} = await ({IMPORT})("descent");
    const run = descend(job);
    return {{ ...run, moves: [...run.moves], loads: run.loads.map((row) => [...row]),
             prices: run.prices.map((row) => [...row]) }};
}}"""


DRAW = f"""async ([job, step, charts, pool]) => {{
    if (job.kind === "descent") {{
        return (await ({IMPORT})("descent_pictures")).descentPictures(job, charts);
    }}
    const {{ Simulation }} = await ({IMPORT})("simulation");
    const {{ pictures }} = await ({IMPORT})("pictures");
    const pair = {{}};
    for (const side of ["A", "B"]) {{
        pair[side] = new Simulation(job.scores, job[side], job.steps, pool);
        pair[side].advance(() => false);
    }}
    return pictures(pair, job, step, charts);
}}"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One simulation."""

    scores: ScoreSettings
    rule: RuleSettings
    changes: Changes = ()


def case(rule: str, rate: float = 1e-2, *, changes: Changes = (), **settings: Any) -> Case:
    """Scores of 8 experts and 64 tokens unless the settings say otherwise; settings of the rule are apart."""
    parts = {name: settings.pop(name) for name in ("step_decay", "bias_form", "centred", "start_step")
             if name in settings}  # fmt: skip
    scores = ScoreSettings(**{"num_experts": 8, "num_tokens": 64, **settings})
    return Case(scores=scores, rule=RuleSettings(rule=rule, rate=rate, **parts), changes=changes)


CHANGES = ((20, RuleSettings(rule="sign")), (40, RuleSettings(rule="aux_loss")))
CASES = {
    **{rule: case(rule) for rule in RULES},
    **{f"{rule}, softmax": case(rule, score_function="softmax", seed=7) for rule in RULES},
    "one expert per token": case("sign", top_k=1, num_experts=4),
    "all but one": case("proportional", top_k=7),
    "all experts": case("quantile", top_k=8),
    "many experts": case("rms", num_experts=64, top_k=8, centred=True),
    "multiplicative": case("sign", bias_form="multiplicative"),
    "shrinking steps": case("proportional", 1.0, step_decay="harmonic"),
    "root of the steps": case("sign", step_decay="sqrt", start_step=20),
    "frozen tokens, full quantile step": case("quantile", 1.0, source="frozen"),
    "domains": case("sign", domains=4, domain_skew=1.0, sequence_tokens=16),
    "drift": case("proportional", drift=5.0, skew=2.0),
    "sudden shift": case("sign", shift_step=30),
    "rich get richer": case("none", feedback=0.02),
    "a change of rule": case("none", changes=CHANGES),
}  # fmt: skip


@pytest.fixture(scope="module")
def playground(context: BrowserContext, app: AppServer) -> Page:
    page = context.new_page()
    page.goto(f"{app.url}/playground")
    page.locator(".st-key-panel-playground-switched svg.marks").wait_for()
    page.wait_for_function(ARE_LOADED)
    return page


def in_browser(page: Page, one: Case, pool: int | None = POOL) -> list[NDArray[Any]]:
    """Counts, bias, learnt offsets and switched assignments."""
    later = [[step, asdict(rule)] for step, rule in checked_changes(one.changes, STEPS)]
    side = {"rule": asdict(one.rule), "changes": later}
    return [np.asarray(part) for part in page.evaluate(SIMULATE, [asdict(one.scores), side, STEPS, pool])]


def here(one: Case) -> Simulation:
    with pool_of(POOL):
        return simulate(one.scores, one.rule, steps=STEPS, changes=one.changes)


@pytest.mark.parametrize("name", CASES)
def test_the_browser_counts_as_the_simulator_does(playground: Page, name: str) -> None:
    """Bit for bit where the weights are; the auxiliary loss sums in another precision."""
    expected = here(CASES[name])
    counts, bias, learnt, switched = in_browser(playground, CASES[name])
    np.testing.assert_array_equal(counts, expected.counts.ravel())
    np.testing.assert_array_equal(switched, expected.switched)
    np.testing.assert_array_equal(bias.astype(np.float32), expected.bias.ravel())
    np.testing.assert_allclose(learnt, expected.learnt.ravel(), rtol=0, atol=2e-6)


def test_the_whole_pool_is_the_same(playground: Page) -> None:
    """As the page uses it: four million normal numbers, of which a thousand come from the tails."""
    one = case("sign", num_experts=16, num_tokens=512)
    expected = simulate(one.scores, one.rule, steps=STEPS)
    counts, bias, _, _ = in_browser(playground, one, pool=None)
    np.testing.assert_array_equal(counts, expected.counts.ravel())
    np.testing.assert_array_equal(bias.astype(np.float32), expected.bias.ravel())


@pytest.mark.parametrize(
    ("rule", "rate"), [("sign", 5e-3), ("proportional", 1e-2), ("rms", 2e-2), ("quantile", 0.5)]
)
def test_the_browser_descends_as_the_theory_does(playground: Page, rule: str, rate: float) -> None:
    scores = ScoreSettings(num_experts=8, top_k=2, num_tokens=64, source="frozen", seed=3)
    settings = OneRule(scores=scores, rule=RuleSettings(rule=rule, rate=rate), steps=80)
    expected = settings.descent()
    job = {"scores": asdict(scores), "rule": asdict(settings.rule), "steps": settings.steps}
    run = playground.evaluate(DESCEND, job)
    np.testing.assert_array_equal(run["loads"], expected.loads)
    np.testing.assert_array_equal(run["prices"], expected.prices)
    np.testing.assert_array_equal(run["moves"], expected.moves.ravel())
    np.testing.assert_array_equal(run["switched"], expected.switched)
    np.testing.assert_array_equal(run["condition"], expected.condition)
    for name in ("dual", "promise", "benefit"):
        np.testing.assert_allclose(run[name], getattr(expected, name), rtol=1e-11, atol=1e-11)


def check_rows(panel: Panel, rows: dict[str, list[dict[str, Any]]]) -> int:
    """The rows of each part of a chart are the server's. Returns how many parts were compared."""
    assert panel.on_page is not None
    compared = 0
    for frame in panel.on_page.datasets.values():
        part = next((part for part, columns in PARTS.items() if set(frame.columns) == columns), None)
        if part is None or part == "playhead":
            continue
        got = pl.DataFrame(rows[part], schema=frame.schema)
        assert_frame_equal(got, frame, check_exact=False, rel_tol=1e-9, abs_tol=1e-6)
        compared += 1
    return compared


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"A": "aux_loss", "uA": "5e-1", "B": "none", "K": "1"},
        {"A": "quantile", "uA": "1", "swA": "60.sign.1e-3", "gate": "softmax"},
    ],
    ids=["sign and proportional", "no bias", "a change of rule"],
)
def test_the_playground_draws_the_same_rows(playground: Page, changed: dict[str, str]) -> None:
    values = defaults(CHOICES) | {"seed": "3", "at": "150", "S": "500", "T": "128", "N": "8"} | changed
    job, _ = dragging.moves(tuple(sorted(values.items())))
    with pool_of(POOL, simulation.simulated.cache_clear):
        shown = playground.evaluate(DRAW, [job, 150, list(dragging.CHARTS), POOL])
        questions = playground_view.questions(playground_view.settings_of(values))
        panels = {slug(key): question.answer(NO_STORE) for key, question in questions.items()}
    counted = [check_rows(panels[key], shown[chart]) for chart, key in dragging.CHARTS.items()]
    assert counted == [3, 3, 3, 2, 2, 2]


@pytest.mark.parametrize("rule", ["sign", "proportional"])
def test_the_theory_draws_the_same_rows(playground: Page, rule: str) -> None:
    values = defaults(theory_view.CHOICES) | {"tseed": "2", "rule": rule, "tT": "64", "tS": "100"}
    job = theory_dragging.job_of(values)
    shown = playground.evaluate(DRAW, [job, 0, list(theory_dragging.CHARTS), None])
    questions = theory_view.questions(theory_view.settings_of(values))
    panels = {slug(key): question.answer(NO_STORE) for key, question in questions.items()}
    counted = [check_rows(panels[key], shown[chart]) for chart, key in theory_dragging.CHARTS.items()]
    assert counted == [2, 2, 1, 3, 1, 1]


CHART = ".st-key-panel-playground-max-vio svg.marks"
LINES = ".st-key-panel-playground-max-vio .mark-line path"
# From now on `window.drawings` counts how often the chart changes.
COUNT_DRAWINGS = f"""() => {{
    window.drawings = 0;
    const count = () => {{ window.drawings += 1; }};
    const all = {{ subtree: true, childList: true, attributes: true, characterData: true }};
    new MutationObserver(count).observe(document.querySelector('{CHART}'), all);
}}"""


def lines(page: Page) -> list[float]:
    """Coordinates of the lines of the imbalance chart, in pixels."""
    shapes = page.locator(LINES).evaluate_all("paths => paths.map(path => path.getAttribute('d'))")
    return [float(number) for shape in shapes for number in re.findall(r"-?[\d.]+", shape)]


class Slider:
    """The rate of rule A on the Playground, dragged by the pointer."""

    def __init__(self, page: Page) -> None:
        thumb = page.locator(".st-key-uA").get_by_test_id("stSliderThumbValue").locator("xpath=..")
        box = thumb.bounding_box()
        track = page.locator('.st-key-uA [role="group"] > div').first.bounding_box()
        assert box
        assert track
        self.page, self.step = page, track["width"] / 15
        self.x, self.y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, steps: int) -> None:
        """Press and move by this many of its fifteen steps; the caller releases it."""
        self.page.mouse.move(self.x, self.y)
        self.page.mouse.down()
        self.page.mouse.move(self.x + steps * self.step, self.y, steps=6)


def picture_of_browser(page: Page, panel: Locator, rate: str) -> list[float]:
    """The lines once the browser has drawn this rate by itself."""
    expect(panel.locator("svg.marks text", has_text=f"A: sign u={rate}")).to_be_visible()
    page.wait_for_function("() => document.head.value?.max_vio.lines.x.length === 400")
    settled(page)
    return lines(page)


def picture_of_server(page: Page) -> list[float]:
    """The lines once those of the browser have gone."""
    page.wait_for_function("() => document.head.value === ''")
    page.wait_for_function(f"() => [...document.querySelectorAll('{LINES}')].every(p => p.getAttribute('d'))")
    settled(page)
    return lines(page)


def test_a_chart_follows_a_slider_before_the_server_knows(page: Page, app: AppServer) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(data)))
    page.goto(f"{app.url}/playground?S=200&T=128&N=8&K=1")
    panel = page.locator(".st-key-panel-playground-max-vio")
    page.locator(".st-key-panel-playground-switched svg.marks").wait_for()
    settled(page)
    before, _ = lines(page), sent.clear()
    Slider(page).drag(3)  # 1e-3 becomes 1e-2
    during = picture_of_browser(page, panel, "0.01")
    assert sent == []
    assert "u=0.001" in panel.inner_text()
    page.evaluate(COUNT_DRAWINGS)
    page.mouse.up()
    expect(panel.get_by_text("A: sign u=0.01 is near")).to_be_visible()
    # The server's answer confirms the picture, which stays, and is not drawn once more.
    assert picture_of_browser(page, panel, "0.01") == during
    assert page.evaluate("window.drawings") == 0
    # Until the pointer asks the chart.
    panel.locator("svg.marks").hover()
    after = picture_of_server(page)
    assert before != pytest.approx(after, abs=1e-3)
    assert during == pytest.approx(after, abs=1e-3)
    # Or the page changes otherwise.
    Slider(page).drag(-3)
    back = picture_of_browser(page, panel, "0.001")
    assert back == pytest.approx(before, abs=1e-3)
    page.mouse.up()
    settled(page)
    page.get_by_text("u too small", exact=True).click()
    expect(panel.locator("svg.marks text", has_text="A: sign u=0.0001")).to_be_visible()
    assert picture_of_server(page) != pytest.approx(back, abs=1e-3)
