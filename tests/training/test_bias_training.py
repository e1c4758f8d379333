"""Rules that move the bias, trained: micro-batches, evaluation, resuming, changing rules."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from runs_in_memory import rows, train_tiny
from sentences import sentence
from tiny import make_tiny_config

from explorer.config.rule_text import RULES, parse_rules
from explorer.config.run import ModelConfig, RunConfig
from explorer.errors import ConfigError
from explorer.records.records import EvalLoadRecord, LoadRecord, StepRecord

# One of every rule by itself, and settings that keep something between steps.
ARMS = [
    *(name for name, kind in RULES.items() if kind.moves_bias),
    "loss_free:u=0.01,step_decay=harmonic",
    "loss_free:u=0.01,load_ema=0.8",
    "quantile:num_bins=0,bias_ema=0.5",
]
LATE = ["none/5/loss_free:u=0.01,step_decay=sqrt,load_ema=0.8", "loss_free/5/quantile", "quantile/5/bip"]


@pytest.mark.parametrize("arm", ARMS)
def test_p11_accumulating_four_micro_batches_equals_one_of_four_times_the_size(arm: str) -> None:
    sizes = {"num_steps": 3, "eval_interval": 100}
    many = train_tiny(arm, gradient_accumulation_steps=4, micro_batch_size=2, **sizes)
    one = train_tiny(arm, gradient_accumulation_steps=1, micro_batch_size=8, **sizes)
    first, second = many.of(LoadRecord), one.of(LoadRecord)
    assert first[0].tokens_LE.tolist() == second[0].tokens_LE.tolist()
    for a, b in zip(first, second, strict=True):
        # Weights agree to rounding; a score on the edge of a bin may fall on either side of it.
        np.testing.assert_allclose(a.expert_bias_LE, b.expert_bias_LE, atol=2.1 / 1000)
        assert np.abs(a.tokens_LE - b.tokens_LE).max() <= 2


@pytest.mark.parametrize("arm", ARMS)
def test_p16_evaluation_and_probes_move_nothing(arm: str) -> None:
    rare = train_tiny(arm, eval_interval=1000)
    often = train_tiny(arm, eval_interval=1, probe_tokens=32)
    assert rows(rare, LoadRecord) == rows(often, LoadRecord)
    assert rows(rare, StepRecord) == rows(often, StepRecord)
    assert rare.weights_equal(often)


@pytest.mark.parametrize("arm", [*ARMS, *LATE])
def test_p15_a_resumed_run_equals_an_unbroken_one(arm: str, tmp_path) -> None:
    cut = 8
    whole = train_tiny(arm)
    train_tiny(arm, stop_after=cut, checkpoint_dir=tmp_path)
    rest = train_tiny(arm, resume_from=cut, checkpoint_dir=tmp_path)
    assert rows(rest) == [row for row in rows(whole) if row["step"] >= cut]
    assert rest.weights_equal(whole)


@pytest.mark.parametrize("arm", LATE)
def test_a_rule_that_comes_late_counts_its_own_steps(arm: str) -> None:
    run = train_tiny(arm)
    rates = [step.bias_update_rate for step in run.of(StepRecord)]
    if "sqrt" in arm:
        assert rates[:5] == [None] * 5
        assert rates[5:] == pytest.approx([0.01 / n**0.5 for n in range(1, 8)])
    else:
        assert set(rates[5:]) == {None}


@pytest.mark.parametrize("arm", ["quantile", "bip"])
def test_rules_that_solve_move_once_a_step_and_record_no_rate(arm: str) -> None:
    run = train_tiny(arm)
    loads = run.of(LoadRecord)
    assert float(np.abs(loads[0].expert_bias_LE).max()) == 0.0
    biases = [load.expert_bias_LE for load in loads]
    assert all(not np.array_equal(a, b) for a, b in pairwise(biases))
    for bias in biases:
        if arm == "bip":
            assert bias.max() <= 0
        else:
            np.testing.assert_allclose(bias.mean(-1), 0, atol=1e-6)
    assert all(step.bias_update_rate is None and step.aux_loss is None for step in run.of(StepRecord))
    last = [load for load in run.of(EvalLoadRecord) if load.step == 12]
    assert last
    assert not np.array_equal(last[0].expert_bias_LE, biases[-1])


def test_quantile_balances_a_run_that_is_uneven_without_it() -> None:
    sizes = {"num_steps": 40, "learning_rate": 1e-2, "eval_interval": 100}

    def violation(arm: str) -> float:
        loads = np.stack([load.tokens_LE for load in train_tiny(arm, **sizes).of(LoadRecord)[-10:]])
        return float((loads.max(-1) / loads.mean(-1) - 1).mean())

    assert violation("quantile") < 0.5 * violation("none")


def test_it_needs_no_other_weights_than_the_control() -> None:
    control, run = train_tiny("none"), train_tiny("quantile")
    assert control.batches == run.batches
    for name, value in control.initial.items():
        assert torch.equal(value, run.initial[name]), name


@pytest.mark.parametrize(
    ("arm", "model", "parts"),
    [
        (
            "quantile",
            {"top_k": 4},
            (sentence("training.second_score"), "all 4 experts", sentence("training.lower_top_k")),
        ),
        ("bip", {"top_k": 4}, ("'bip'", sentence("training.second_score"))),
        ("quantile", {"num_groups": 2, "top_k_groups": 1}, ("model.num_groups=2", "loss_free")),
        ("bip", {"top_p": 0.5}, ("model.top_p=0.5", "something else decides")),
        ("quantile", {"random_second": True}, ("model.random_second=True",)),
        ("bip", {"score_func": "sqrt_softplus"}, ("bip.num_bins = 1000", "no upper end", "num_bins=0")),
        ("quantile", {"routing": "expert_choice"}, (sentence("config.nothing_to_balance"),)),
    ],
)
def test_models_on_which_it_cannot_act_are_refused(arm: str, model, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_tiny_config(arm, **model)
    for part in parts:
        assert part in str(caught.value)


def test_the_exact_form_takes_scores_without_an_upper_end() -> None:
    run = train_tiny("quantile:num_bins=0", score_func="sqrt_softplus")
    assert run.result.state == "finished"


def test_noise_that_chooses_is_what_the_cutoffs_are_taken_from() -> None:
    calm = train_tiny("quantile:num_bins=0", num_steps=2)
    noisy = train_tiny("quantile:num_bins=0", num_steps=2, router_noise=1.0)
    assert not np.allclose(*(run.of(LoadRecord)[1].expert_bias_LE for run in (calm, noisy)), atol=1e-3)


def test_fields_that_came_later_leave_old_digests_alone() -> None:
    plain = RunConfig(model=ModelConfig())
    assert "step_decay" not in str(plain.to_dict())
    from explorer.config.rule_text import rule_to_dict

    (rule,) = parse_rules("loss_free")
    assert set(rule_to_dict(rule)) == {
        "name",
        "bias_update_rate",
        "update_rule",
        "bias_form",
        "centred",
        "freeze_after_step",
    }
