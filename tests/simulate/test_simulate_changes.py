"""Rules after each other in the simulator, against the loops and against training's own way of changing."""

import numpy as np
import pytest
from reference import simulation as slow

from explorer.errors import ConfigError
from explorer.simulate import RuleSettings, Scores, ScoreSettings, simulate
from explorer.simulate.dynamics import Changes

pytestmark = pytest.mark.usefixtures("small_pool")

STEPS = 14


def rule(name: str, **settings: object) -> RuleSettings:
    return RuleSettings(**{"rule": name, "rate": 0.03, **settings})  # type: ignore[arg-type]


STORIES: dict[str, tuple[RuleSettings, Changes]] = {
    "rescue": (rule("none"), [(5, rule("sign"))]),
    "there and back": (rule("none"), [(3, rule("sign")), (7, rule("none")), (10, rule("proportional"))]),
    "a bias survives": (rule("sign"), [(5, rule("rms", rate=0.01)), (9, rule("quantile", rate=1.0))]),
    "another form": (rule("sign"), [(4, rule("sign", bias_form="multiplicative")), (9, rule("sign"))]),
    "n from the change": (rule("sign", step_decay="harmonic"), [(6, rule("sign", step_decay="sqrt"))]),
    "SMEBU starts without a move": (rule("smebu"), [(4, rule("sign")), (8, rule("smebu", rate=0.1))]),
    "SMEBU twice": (rule("smebu"), [(5, rule("smebu", rate=0.1))]),
    "in the last step": (rule("quantile", rate=1.0), [(13, rule("none"))]),
}
SETTINGS = [{}, {"source": "frozen"}, {"drift": 20.0}, {"shift_step": 6, "score_function": "softmax"}]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda value: "-".join(value) or "plain")
@pytest.mark.parametrize("story", STORIES)
def test_counts_biases_and_switches_equal_the_loops(story: str, settings: dict[str, object]) -> None:
    scores = ScoreSettings(**{"num_experts": 6, "num_tokens": 30, "seed": 3, **settings})  # type: ignore[arg-type]
    first, changes = STORIES[story]
    result = simulate(scores, first, steps=STEPS, changes=changes)
    source = Scores(scores)
    weights = np.stack([source.weights[s : s + scores.num_tokens] for s in source.windows(STEPS)])
    offsets = np.stack([source.offset(step) for step in range(STEPS)])
    counts, used, switched = slow.simulate(
        weights,
        offsets,
        top_k=scores.top_k,
        score_function=scores.score_function,
        rule=first.rule,
        u=first.rate,
        step_decay=first.step_decay,
        bias_form=first.bias_form,
        start_step=0,
        later=[(s, r.rule, r.rate, r.step_decay, r.bias_form) for s, r in changes],
    )
    assert result.counts.tolist() == counts
    np.testing.assert_allclose(result.bias, used, rtol=1e-5, atol=1e-6)
    assert result.switched.tolist() == switched
    assert result.rules == (first, *(r for _, r in result.changes))


def test_up_to_the_change_nothing_is_different() -> None:
    scores = ScoreSettings(num_experts=6, num_tokens=30)
    plain = simulate(scores, rule("none"), steps=STEPS)
    changed = simulate(scores, rule("none"), steps=STEPS, changes=[(6, rule("sign", rate=0.2))])
    assert changed.counts[:7].tolist() == plain.counts[:7].tolist(), "step 6 has the neutral bias"
    assert changed.counts[7:].tolist() != plain.counts[7:].tolist()
    assert changed.rule == plain.rule
    assert changed.acts_from == 6


def test_what_the_auxiliary_loss_has_taught_stays_and_goes_on() -> None:
    scores = ScoreSettings(num_experts=6, num_tokens=30)
    loss = rule("aux_loss", rate=0.5)
    alone = simulate(scores, loss, steps=STEPS)
    left = simulate(scores, loss, steps=STEPS, changes=[(6, rule("none"))])
    assert left.counts[:6].tolist() == alone.counts[:6].tolist()
    assert np.array_equal(left.learnt[6:], np.repeat(alone.learnt[6:7], STEPS - 6, axis=0))
    assert left.learnt[6].any()
    # And it counts in the choice after the change, also under rules that need no new scores by themselves.
    untaught = simulate(scores, rule("none"), steps=STEPS)
    assert left.counts[6:].tolist() != untaught.counts[6:].tolist()
    late = simulate(scores, rule("none"), steps=STEPS, changes=[(6, loss)])
    assert late.counts[:7].tolist() == untaught.counts[:7].tolist()
    assert late.learnt[7].any()


def test_a_rule_that_waits_goes_on_waiting_after_an_earlier_change() -> None:
    scores = ScoreSettings(num_experts=6, num_tokens=30)
    result = simulate(scores, rule("none"), steps=STEPS, changes=[(3, rule("sign", start_step=8))])
    assert not result.bias[:9].any()
    assert result.bias[9].any()
    assert result.acts_from == 8


@pytest.mark.parametrize(
    "changes",
    [[(0, rule("sign"))], [(STEPS, rule("sign"))], [(5, rule("sign")), (5, rule("none"))],
     [(6, rule("sign")), (5, rule("none"))]],
)  # fmt: skip
def test_changes_at_impossible_steps_are_refused(changes: Changes) -> None:
    with pytest.raises(ConfigError, match="changes = "):
        simulate(ScoreSettings(num_experts=6, num_tokens=30), rule("none"), steps=STEPS, changes=changes)
