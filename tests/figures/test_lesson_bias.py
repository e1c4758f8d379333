"""Bias updates as lessons count them: by the rule that was in force, whatever it is."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from sentences import pattern

from explorer.config.presets import get_preset
from explorer.config.run import BalancerConfig
from explorer.errors import ConfigError
from explorer.figures import bias_updates
from explorer.figures.arms import Run
from explorer.records.matrix import LoadMatrix

STEPS, EXPERTS = 12, 4


def run(balancer: str) -> Run:
    """What the counting reads of a run."""
    config = replace(get_preset("standard"), balancer=BalancerConfig.parse(balancer)).to_dict()
    fake_run = SimpleNamespace(
        config=json.dumps(config),
        balancer=balancer,
        last_step=STEPS - 1,
        num_moe_layers=1,
        layers=range(1),
        version=(),
    )
    return cast(Run, fake_run)


def reproduced_updates(matrix: LoadMatrix, balancer: str) -> tuple[int, int]:
    return bias_updates.reproduced_updates(lambda query, of, layer: matrix, run(balancer))


def recorded(rates: list[float], start: float = 0.0, centred: bool = False) -> LoadMatrix:
    """Counts by chance, and biases moved by the sign rule with these rates; NaN: used without a bias."""
    tokens = np.random.default_rng(3).multinomial(60, [0.4, 0.3, 0.2, 0.1], size=STEPS).astype(np.int64)
    bias = np.full((STEPS, EXPERTS), start, dtype=np.float32)
    for step in range(STEPS - 1):
        sign = np.sign(tokens[step].sum() - tokens[step] * EXPERTS).astype(np.float32)
        move = np.float32(rates[step]) * (sign - sign.mean(dtype=np.float32) if centred else sign)
        bias[step + 1] = start if np.isnan(rates[step]) else bias[step] + move
    steps = np.arange(STEPS)
    return LoadMatrix(steps=steps, last_steps=steps, tokens=tokens, bias=bias)


@pytest.mark.parametrize(
    ("balancer", "rates", "centred", "counted"),
    [
        ("loss_free:u=0.01", [0.01] * 11, False, 11),
        ("loss_free:u=0.01,centred=true", [0.01] * 11, True, 11),
        ("loss_free:u=0.01,freeze_after_step=5", [0.01] * 5 + [0.0] * 6, False, 11),
        ("loss_free:u=0.01,step_decay=harmonic", [0.01 / n for n in range(1, 12)], False, 11),
        ("loss_free:u=0.01/6/loss_free:u=0.05", [0.01] * 6 + [0.05] * 5, False, 11),
        ("loss_free:u=0.01,load_ema=0.9", [0.01] * 11, False, 0),
    ],
)
def test_updates_follow_the_rule_in_force(
    balancer: str, rates: list[float], centred: bool, counted: int
) -> None:
    matrix = recorded(rates, centred=centred)
    assert reproduced_updates(matrix, balancer) == (
        counted * EXPERTS,
        counted * EXPERTS,
    )


def test_a_bias_that_did_not_move_as_the_rule_says_is_not_counted() -> None:
    matrix = recorded([0.01] * 11)
    assert matrix.bias is not None
    matrix.bias[-1, 2] = np.nextafter(matrix.bias[-1, 2], np.float32(9))
    assert reproduced_updates(matrix, "loss_free:u=0.01") == (
        11 * EXPERTS - 1,
        11 * EXPERTS,
    )


def test_the_last_update_before_biases_start_anew_is_left_out() -> None:
    matrix = recorded([0.01] * 11)
    assert matrix.bias is not None
    matrix.bias[7:] += np.float32(1) - matrix.bias[7]
    balancer = "loss_free:u=0.01/7/loss_free:u=0.01,bias_form=multiplicative"
    assert reproduced_updates(matrix, balancer)[1] == 10 * EXPERTS


def test_the_rate_of_a_plain_rule() -> None:
    assert bias_updates.plain_rate(run("loss_free:u=0.01")) == 0.01


@pytest.mark.parametrize(
    "balancer",
    [
        "none",
        "loss_free:centred=true",
        "loss_free:load_ema=0.5",
        "loss_free:step_decay=sqrt",
        "loss_free:freeze_after_step=50",
        "loss_free:update_rule=rms",
        "loss_free:bias_form=multiplicative",
        "none/3/loss_free",
        "loss_free/3/none",
    ],
)
def test_a_rule_of_thumb_for_the_plain_rule_refuses_every_other(balancer: str) -> None:
    with pytest.raises(ConfigError, match=pattern("bias_step.not_sign_rule")):
        bias_updates.plain_rate(run(balancer))
