"""The simulator in the browser against `explorer/simulate`, and charts that follow a slider, in Chromium."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
import servers
from app_server import AppServer
from numpy.typing import NDArray

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
servers.need_chromium()

from playwright.sync_api import BrowserContext, Page  # noqa: E402
from small_pools import pool_of  # noqa: E402

from explorer.figures.theory import OneRule  # noqa: E402
from explorer.simulate import RuleSettings, ScoreSettings, Simulation, simulate  # noqa: E402
from explorer.simulate.dynamics import Changes, checked_changes  # noqa: E402
from explorer.ui.components.simulator.payload import RULES  # noqa: E402

POOL = 2**16
STEPS = 60
# The page's own modules, as the loader has made them.
IMPORT = """async (name) => {
    const table = globalThis[Symbol.for("moe-routing-explorer.modules")];
    const [, url] = [...table].find(([id]) => id.startsWith(`simulator/${name}.js@`));
    return import(url);
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
    page.wait_for_function("() => globalThis[Symbol.for('moe-routing-explorer.modules')]")
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
