"""One bias step by hand: fractions, signs, and what cannot be worked out is said."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest
from sentences import sentence

from explorer.config.bias_rule import BiasRule
from explorer.config.presets import get_preset
from explorer.config.rule_text import RULES, LossFree
from explorer.config.run import BalancerConfig
from explorer.routing.bias_step import RuleInForce, recompute, rule_in_force


def config(balancer: str) -> dict[str, Any]:
    """The plain form of a configuration with this balancer."""
    return replace(get_preset("standard"), balancer=BalancerConfig.parse(balancer)).to_dict()


def force(rule: LossFree, updates: int = 1, frozen: bool = False) -> RuleInForce:
    return RuleInForce(rule=rule, updates=updates, is_frozen=frozen, restarts=False)


TOKENS = np.array([10, 4, 7, 7], dtype=np.int64)
BEFORE = np.array([0.5, -0.25, 0.0, 0.125], dtype=np.float32)


def test_the_sign_rule_by_hand():
    step = recompute(force(LossFree(bias_update_rate=0.5)), TOKENS, BEFORE)
    assert step.total == 28
    assert step.mean == Fraction(7)
    assert step.direction_E.tolist() == [-1, 1, 0, 0]
    assert step.after_E.tolist() == [0.0, 0.25, 0.0, 0.125]


def test_the_mean_is_an_exact_fraction():
    step = recompute(force(LossFree()), np.array([1, 0, 0]), np.zeros(3, np.float32))
    assert step.mean == Fraction(1, 3)


def test_errors_are_relative_and_their_root_mean_square_is_named():
    step = recompute(force(LossFree(bias_update_rate=1.0, update_rule="rms")), TOKENS, BEFORE)
    errors = np.array([-3, 3, 0, 0]) / 7
    assert step.error_E == pytest.approx(errors)
    assert step.root_mean_square == pytest.approx(np.sqrt((errors**2).mean()))
    assert step.after_E - BEFORE == pytest.approx(errors / np.sqrt((errors**2).mean()))
    assert step.is_rounded


def test_a_centred_rule_names_what_it_subtracts():
    tokens = np.array([20, 2, 3, 3])
    step = recompute(force(LossFree(bias_update_rate=1.0, centred=True)), tokens, BEFORE)
    assert step.centre == 0.5
    assert step.direction_E.tolist() == [-1.5, 0.5, 0.5, 0.5]
    assert not step.is_rounded


def test_steps_get_shorter_and_a_frozen_rule_moves_nothing():
    assert force(LossFree(bias_update_rate=0.3, step_decay="harmonic"), updates=3).rate == pytest.approx(0.1)
    step = recompute(force(LossFree(), frozen=True), TOKENS, BEFORE)
    assert step.after_E.tobytes() == BEFORE.tobytes()


def test_one_bit_off_is_not_equal():
    step = recompute(force(LossFree()), TOKENS, BEFORE)
    logged = step.after_E.copy()
    assert step.equals(logged).all()
    logged[1] = np.nextafter(logged[1], np.float32(1))
    assert step.equals(logged).tolist() == [True, False, True, True]


def test_rounding_is_forgiven_only_where_fractions_are_added_up():
    step = recompute(force(LossFree(update_rule="rms")), TOKENS, BEFORE)
    near = np.nextafter(step.after_E, np.float32(9))
    assert step.equals(near).all()
    assert not step.equals(near + np.float32(1e-4)).any()


def test_a_schedule_counts_its_updates_from_its_own_start():
    scheduled = config("none/400/loss_free:step_decay=harmonic")
    assert isinstance(rule_in_force(scheduled, 399), str)
    first = rule_in_force(scheduled, 400)
    assert isinstance(first, RuleInForce)
    assert first.updates == 1
    later = rule_in_force(scheduled, 409)
    assert isinstance(later, RuleInForce)
    assert later.updates == 10


def test_the_last_step_before_another_rule_is_known():
    rule = rule_in_force(config("loss_free/20/none"), 19)
    assert isinstance(rule, RuleInForce)
    assert rule.restarts
    other = rule_in_force(config("loss_free/20/loss_free:u=0.5"), 19)
    assert isinstance(other, RuleInForce)
    assert not other.restarts


@pytest.mark.parametrize(
    ("balancer", "word"),
    [
        ("none", sentence("bias_step.no_rule", step=3)),
        ("aux_loss", sentence("bias_step.no_rule", step=3)),
        ("quantile", sentence("bias_step.all_scores")),
        ("loss_free:load_ema=0.9", "memory 0.9"),
        ("loss_free:scope=sequence", sentence("bias_step.single_groups")),
    ],
)
def test_what_cannot_be_worked_out_says_why(balancer: str, word: str):
    reason = rule_in_force(config(balancer), 3)
    assert isinstance(reason, str)
    assert word in reason
    assert reason.endswith(".")


@dataclass(frozen=True, kw_only=True)
class Unheard(BiasRule):
    """A rule that reads the counts, and of which the recomputation knows nothing."""

    name: ClassVar[str] = "unheard"
    title: ClassVar[str] = "unheard"
    bias_update_rate: float = 0.003
    freeze_after_step: int | None = None

    def departures(self) -> list[str]:
        return []


def test_nothing_is_said_about_what_an_unknown_rule_reads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(RULES, "unheard", Unheard)
    reason = rule_in_force(None, 3, "unheard")
    assert isinstance(reason, str)
    assert sentence("bias_step.other_rule") in reason
    assert sentence("bias_step.all_scores") not in reason


@pytest.mark.parametrize("foreign", [None, {}, {"model": {"num_experts": 4}}, {"anything": 1}])
def test_a_foreign_run_is_not_guessed_at(foreign: dict[str, Any] | None):
    reason = rule_in_force(foreign, 3)
    assert isinstance(reason, str)
    assert sentence("config.rule_not_stated") in reason
    other = rule_in_force(foreign, 3, "ours, twice")
    assert isinstance(other, str)
    assert sentence("config.rule_text", text="ours, twice") in other


def test_a_rule_that_is_stated_as_text_is_worked_out_without_a_configuration():
    for foreign in ({}, {"model": {"num_experts": 4}}, {"balancer": "of another trainer"}):
        rule = rule_in_force(foreign, 3, "loss_free:u=0.001")
        assert isinstance(rule, RuleInForce)
        assert rule.rule.bias_update_rate == 0.001
        assert rule.updates == 4
    settings = rule_in_force(config("loss_free:u=0.5"), 3, "loss_free:u=0.001")
    assert isinstance(settings, RuleInForce)
    assert settings.rule.bias_update_rate == 0.5, "the configuration is the truth where there is one"


def test_a_frozen_rule_has_no_rate():
    rule = rule_in_force(config("loss_free:freeze_after_step=10"), 10)
    assert isinstance(rule, RuleInForce)
    assert rule.is_frozen
    assert rule.rate == 0.0
