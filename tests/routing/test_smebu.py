"""SMEBU against loops over steps and experts, and its two limits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import biases

from explorer.config.rule_text import Smebu, parse_rules
from explorer.errors import ConfigError
from explorer.model.balancers import CombinedBalancer
from explorer.routing import balancing
from explorer.routing.bias_step import rule_in_force


def through_the_strategy(rule: Smebu, history: list[list[int]]) -> list[float]:
    """The bias after these steps, in float32 as in training."""
    combined, bias = CombinedBalancer([rule]), torch.zeros(len(history[0]))
    for step, counts in enumerate(history):
        combined.update(bias, torch.tensor(counts), step)
    return bias.tolist()


histories = st.integers(2, 6).flatmap(
    lambda experts: st.lists(
        st.lists(st.integers(0, 500), min_size=experts, max_size=experts).filter(any), min_size=1, max_size=6
    )
)


@given(
    history=histories,
    sharpness=st.sampled_from([0.1, 2.0, 50.0]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_the_strategy_equals_the_reference(
    history: list[list[int]], sharpness: float, momentum: float
) -> None:
    rule = Smebu(bias_update_rate=0.01, sharpness=sharpness, momentum=momentum)
    slow = biases.smebu([0.0] * len(history[0]), history, 0.01, sharpness, momentum)
    assert through_the_strategy(rule, history) == pytest.approx(slow, rel=1e-4, abs=1e-7)


def test_hand_case() -> None:
    # Loads 6, 2, 4: errors -1/2, 1/2, 0. With κ = 2 the clamp gives -tanh 1, tanh 1, 0, whose mean is 0.
    one = through_the_strategy(Smebu(bias_update_rate=0.1, momentum=0.5), [[6, 2, 4]])
    assert one == pytest.approx([-0.05 * np.tanh(1), 0.05 * np.tanh(1), 0.0])
    # Even loads in the next step: half of the last move is made again.
    two = through_the_strategy(Smebu(bias_update_rate=0.1, momentum=0.5), [[6, 2, 4], [4, 4, 4]])
    assert two == pytest.approx([1.5 * b for b in one])


@given(history=histories)
def test_a_sharp_clamp_is_the_centred_sign_rule(history: list[list[int]]) -> None:
    sharp = balancing.soft_clamped(balancing.load_error(np.array(history)), 1e9)
    signs = balancing.bias_delta(np.array(history), update_rule="sign", bias_update_rate=1.0, centred=True)
    assert sharp == pytest.approx(signs)


def test_no_bias_moves_by_more_than_twice_u() -> None:
    # The clamp is at most 1 and its mean at least -1.
    history = [[1000, 0, 0, 0]] * 50
    moves = np.diff(
        [through_the_strategy(Smebu(bias_update_rate=0.01), history[:n]) for n in (49, 50)], axis=0
    )
    assert np.abs(moves).max() <= 0.02


def test_names_and_refusals() -> None:
    (rule,) = parse_rules("smebu:u=0.001,sharpness=3,momentum=0.9,freeze_after_step=7")
    assert rule.label == "SMEBU u=0.001 (global batch scope, κ=3, β=0.9, frozen from 7)"
    assert rule.short == "SMEBU 0.001 κ=3 β=0.9 frozen 7"
    assert (rule.family, rule.bias_form, rule.count_scope) == ("smebu", "additive", "global_batch")
    with pytest.raises(ConfigError, match=r"smebu.momentum = 1"):
        parse_rules("smebu:momentum=1")


def test_one_step_alone_cannot_be_recomputed_and_the_reason_is_momentum() -> None:
    reason = rule_in_force(None, 3, "smebu")
    assert isinstance(reason, str)
    assert "momentum" in reason
