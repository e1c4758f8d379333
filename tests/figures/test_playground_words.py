"""What the Playground says of a simulation."""

from dataclasses import replace

import pytest
from sentences import sentence

from explorer.figures import simulation_text as words
from explorer.simulate import RuleSettings, ScoreSettings, simulate

SMALL = ScoreSettings(num_experts=4, top_k=1, num_tokens=64, skew=2.0)


@pytest.mark.parametrize("score_function", ["sigmoid", "softmax"])
def test_a_wide_added_bias_decides_alone(score_function: str) -> None:
    scores = replace(SMALL, score_function=score_function)
    added = simulate(scores, RuleSettings(rule="sign", rate=0.7), steps=2)
    assert sentence("captions.bias_alone_decides") in words.bias(added)
    little = simulate(scores, RuleSettings(rule="sign", rate=1e-3), steps=30)
    assert "alone" not in words.bias(little)


def test_a_factor_never_does() -> None:
    rule = RuleSettings(rule="proportional", rate=0.5, bias_form="multiplicative")
    factor = simulate(SMALL, rule, steps=30)
    assert factor.bias[-1].max() - factor.bias[-1].min() > 1
    assert "alone" not in words.bias(factor)
