"""What must hold for every simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.routing import routing_math
from explorer.routing.selection import choose
from explorer.simulate import RuleSettings, Scores, ScoreSettings, simulate
from explorer.simulate.descent import descend

pytestmark = pytest.mark.usefixtures("small_pool")

BIAS_RULES = st.sampled_from(["sign", "proportional", "rms"])


@st.composite
def score_settings(draw: st.DrawFn) -> ScoreSettings:
    experts = draw(st.integers(2, 9))
    return ScoreSettings(
        num_experts=experts,
        top_k=draw(st.integers(1, experts)),
        num_tokens=draw(st.integers(1, 40)),
        score_function=draw(st.sampled_from(["sigmoid", "softmax"])),
        source=draw(st.sampled_from(["fresh", "frozen"])),
        skew=draw(st.sampled_from([0.0, 1.0, 4.0])),
        drift=draw(st.sampled_from([0.0, 30.0])),
        shift_step=draw(st.integers(0, 6)),
        feedback=draw(st.sampled_from([0.0, 0.1])),
        seed=draw(st.integers(0, 3)),
    )


@st.composite
def rule_settings(draw: st.DrawFn) -> RuleSettings:
    return RuleSettings(
        rule=draw(st.sampled_from(["none", "sign", "proportional", "rms", "smebu", "quantile", "aux_loss"])),
        rate=draw(st.sampled_from([0.0, 1e-3, 0.1, 5.0])),
        step_decay=draw(st.sampled_from(["constant", "sqrt", "harmonic"])),
        centred=draw(st.booleans()),
        start_step=draw(st.integers(0, 4)),
    )


@settings(deadline=None, max_examples=60)
@given(scores=score_settings(), rule=rule_settings())
def test_every_token_is_counted_k_times_in_every_step(scores: ScoreSettings, rule: RuleSettings) -> None:
    result = simulate(scores, rule, steps=8, held_out_steps=[8], held_out_tokens=50)
    assert (result.counts.sum(1) == scores.top_k * scores.num_tokens).all()
    assert (result.counts >= 0).all()
    assert (result.counts <= scores.num_tokens).all()
    assert int(result.held_out[8].sum()) == 50 * scores.top_k
    assert ((result.switched >= 0) & (result.switched <= scores.top_k * scores.num_tokens)).all()
    assert np.isfinite(result.bias).all()
    assert np.isfinite(result.learnt).all()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["sign", "proportional"]),
    order=st.permutations(range(7)),
    feedback=st.sampled_from([0.0, 0.05]),
)
def test_permuted_experts_permute_everything(seed: int, rule: str, order: list[int], feedback: float) -> None:
    scores = ScoreSettings(num_experts=7, num_tokens=30, seed=seed, feedback=feedback)
    rules = RuleSettings(rule=rule, rate=0.02)
    plain = simulate(scores, rules, steps=10)
    source = Scores(scores)
    source.weights = np.ascontiguousarray(source.weights[:, order])
    source._draws = source._draws[:, order]
    permuted = simulate(scores, rules, steps=10, source=source)
    assert (permuted.counts == plain.counts[:, order]).all()
    assert permuted.bias == pytest.approx(plain.bias[:, order])
    assert (permuted.switched == plain.switched).all()


@given(seed=st.integers(0, 1000), constant=st.integers(-1000, 1000), top_k=st.integers(1, 8))
def test_a_constant_added_to_all_biases_changes_nothing(seed: int, constant: int, top_k: int) -> None:
    rng = np.random.default_rng(seed)
    # float32 values, compared in float64: adding a whole number is exact there.
    scores = rng.random((40, 8), dtype=np.float32).astype(np.float64)
    assert (choose(scores + constant, top_k) == choose(scores, top_k)).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), rule=BIAS_RULES, shift=st.sampled_from([-4.0, 0.25, 8.0]))
def test_descents_from_shifted_prices_see_the_same_loads(seed: int, rule: str, shift: float) -> None:
    scores = np.random.default_rng(seed).random((40, 5), dtype=np.float32).astype(np.float64)
    plain = descend(scores, 2, RuleSettings(rule=rule, rate=2.0**-7), 15)
    centred = descend(scores, 2, RuleSettings(rule=rule, rate=2.0**-7, centred=True), 15)
    assert (plain.loads == centred.loads).all()
    moved = plain.prices - plain.prices.mean(1, keepdims=True)
    assert centred.prices == pytest.approx(moved, abs=1e-12)
    assert plain.dual == pytest.approx(centred.dual)


@settings(deadline=None, max_examples=30)
@given(scores=score_settings(), rule=BIAS_RULES)
def test_a_rate_of_zero_changes_nothing(scores: ScoreSettings, rule: str) -> None:
    resting = simulate(scores, RuleSettings(rule=rule, rate=0.0), steps=8)
    nothing = simulate(scores, RuleSettings(rule="none"), steps=8)
    assert (resting.counts == nothing.counts).all()
    assert not resting.bias.any()
    assert not resting.switched.any()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 100), rule=BIAS_RULES)
def test_the_most_loaded_expert_goes_down_and_the_least_loaded_up(seed: int, rule: str) -> None:
    result = simulate(
        ScoreSettings(num_tokens=64, skew=1.5, seed=seed), RuleSettings(rule=rule, rate=1e-3), steps=2
    )
    moved = result.bias[1] - result.bias[0]
    assert moved[result.counts[0].argmax()] < 0 < moved[result.counts[0].argmin()]


@given(function=st.sampled_from(["sigmoid", "softmax"]), seed=st.integers(0, 100), skew=st.floats(0, 3))
def test_scores_are_those_of_the_router(function: str, seed: int, skew: float) -> None:
    """The pool keeps exponentials, so that a slider costs a product and not another exponential."""
    scores = Scores(
        ScoreSettings(score_function=function, source="frozen", num_tokens=32, skew=skew, seed=seed)
    )
    logits = np.log(scores.weights) * (-1 if function == "sigmoid" else 1) + scores.offset(0)
    np.testing.assert_allclose(scores.pool, routing_math.scores(logits, function), rtol=1e-4, atol=1e-7)
