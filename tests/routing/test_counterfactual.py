"""Counterfactual replay against loops; with nothing changed it gives the recorded choice."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import agreement as formats
from reference import counterfactual as slow

from explorer.routing.counterfactual import RULES, WhatIf, refusal, replay, with_selection
from explorer.routing.spec import RouteSpec

SEQUENCE = 8


def scores_of(seed: int, tokens: int, experts: int, skew: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((tokens, experts)) + skew * rng.standard_normal(experts)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def spec_of(top_k: int, groups: tuple[int, int] = (1, 1), **others) -> RouteSpec:
    return RouteSpec(top_k=top_k, num_groups=groups[0], top_k_groups=groups[1], **others)


@pytest.mark.parametrize("scope", ["batch", "sequence"])
@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10_000), top_k=st.integers(1, 3), groups=st.sampled_from([(1, 1), (2, 1)]))
@settings(max_examples=12)
def test_the_replay_equals_the_loops(rule: str, scope, seed: int, top_k: int, groups) -> None:
    assume(not (rule == "quantile" and groups != (1, 1)))
    scores = scores_of(seed, 3 * SEQUENCE, 6)
    bias = (0.1 * np.random.default_rng(seed + 1).standard_normal(6)).astype(np.float32)
    what_if = WhatIf(rule=rule, rate=0.03, updates=7, scope=scope)
    fast = replay(scores, bias, spec_of(top_k, groups), what_if, sequence_tokens=SEQUENCE)
    path, loads, expert_ids = slow.replay(
        scores.astype(float).tolist(),
        bias.tolist(),
        top_k,
        rule,
        0.03,
        7,
        sequence=SEQUENCE if scope == "sequence" else None,
        groups=groups,
    )
    # A float32 bias and a float64 one may rightly choose differently in a near tie.
    assume(np.array_equal(fast.loads_UE, loads))
    assert fast.biases_UE == pytest.approx(np.array(path), abs=2e-6)
    assert [sorted(row) for row in fast.chosen_TK.tolist()] == [sorted(row) for row in expert_ids]


def test_near_ties_are_rare_enough_for_the_comparison_to_mean_something() -> None:
    same = 0
    for seed in range(20):
        scores = scores_of(seed, 24, 6)
        fast = replay(
            scores,
            np.zeros(6, np.float32),
            spec_of(2),
            WhatIf(rule="sign", rate=0.01, updates=5),
            sequence_tokens=8,
        )
        _, loads, _ = slow.replay(scores.astype(float).tolist(), [0.0] * 6, 2, "sign", 0.01, 5)
        same += np.array_equal(fast.loads_UE, loads)
    assert same >= 18


def test_a_bias_in_bfloat16_loses_small_updates() -> None:
    scores, bias = scores_of(0, 64, 4, skew=3.0), np.array([0.9, 0.7, 0.6, 0.8], dtype=np.float32)
    what_if = WhatIf(rule="sign", rate=0.0005, updates=20, bias_type="bfloat16")
    fast = replay(scores, bias, spec_of(1), what_if, sequence_tokens=8)
    path, loads, _ = slow.replay(
        scores.astype(float).tolist(), bias.tolist(), 1, "sign", 0.0005, 20, store=formats.bfloat16
    )
    assert fast.biases_UE.tolist() == path
    assert fast.loads_UE.tolist() == loads
    # Between 0.5 and 1 neighbours are 0.004 apart: an update of 0.0005 is rounded away every time.
    assert np.array_equal(fast.biases_UE[-1], fast.biases_UE[0])
    exact = replay(scores, bias, spec_of(1), WhatIf(rule="sign", rate=0.0005, updates=20), sequence_tokens=8)
    assert np.abs(exact.biases_UE[-1] - exact.biases_UE[0]).max() > 0.005


def test_without_updates_the_choice_is_that_of_the_bias() -> None:
    scores, bias = scores_of(1, 32, 8), np.linspace(-0.2, 0.2, 8, dtype=np.float32)
    fast = replay(scores, bias, spec_of(2), WhatIf(rule="sign", rate=1.0, updates=0), sequence_tokens=8)
    want = np.argsort(-(scores + bias), axis=1, kind="stable")[:, :2]
    assert fast.chosen_TK.tolist() == want.tolist()
    assert fast.biases_UE.tolist() == [bias.tolist()]
    assert fast.loads_UE.sum() == 64


def test_a_rule_balances_these_tokens() -> None:
    scores = scores_of(2, 1024, 16, skew=2.0)
    fast = replay(
        scores,
        np.zeros(16, np.float32),
        spec_of(2),
        WhatIf(rule="sign", rate=0.01, updates=200),
        sequence_tokens=128,
    )
    assert fast.loads_UE[0].max() > 3 * 128
    assert fast.loads_UE[-1].max() < 1.3 * 128
    assert (fast.loads_UE.sum(1) == 2048).all()


def test_a_multiplied_bias_starts_at_one_and_moves_as_well() -> None:
    scores = scores_of(3, 256, 8, skew=1.0)
    spec = spec_of(2, bias_form="multiplicative")
    fast = replay(
        scores, np.ones(8, np.float32), spec, WhatIf(rule="sign", rate=0.01, updates=100), sequence_tokens=128
    )
    assert fast.loads_UE[-1].max() < fast.loads_UE[0].max()


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        (spec_of(2, top_p=0.5), "sign"),
        (spec_of(2, bias_form="multiplicative"), "smebu"),
        (spec_of(2, (2, 1)), "quantile"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(spec: RouteSpec, rule: str) -> None:
    assert refusal(spec, rule).endswith(".")
    with pytest.raises(ValueError, match="rule"):
        replay(
            scores_of(0, 8, 8),
            np.zeros(8, np.float32),
            spec,
            WhatIf(rule=rule, rate=0.1, updates=1),
            sequence_tokens=8,
        )


def test_another_selection_keeps_the_rest_of_the_router() -> None:
    spec = with_selection(spec_of(2, score_func="softmax"), top_k=4, num_groups=4, top_k_groups=2)
    assert (spec.top_k, spec.num_groups, spec.top_k_groups, spec.score_func) == (4, 4, 2, "softmax")
