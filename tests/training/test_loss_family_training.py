"""The loss family in training: what is logged equals the reference, and each rule does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import loss_family
from runs_in_memory import rows, train_tiny, trained
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.run import BalancerConfig
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.loss_balancers import orthonormality_loss
from explorer.records.records import LayerRecord, LoadRecord, StepRecord
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step

NEW = (
    "aux_loss:scope=global_buffered",
    "switch_loss",
    "gshard_loss",
    "gshard_loss:normalisation=paper",
    "simbal",
)


def step_zero(arm: str, accumulation: int = 3):
    """Log of step 0, and logits [M][L][T][E] and choices [M][L][T][K] of its micro-batches."""
    config = make_tiny_config(arm, gradient_accumulation_steps=accumulation)
    corpus = make_tiny_corpus()
    model = build_model(config.model, 256, 16, seed=0)
    balancer = CombinedBalancer(config.balancer.rules)
    logits, expert_ids = [], []
    for index in range(accumulation):
        batch = corpus.batch(seed=0, step=0, micro_batch=index, num_sequences=4, sequence_length=16)
        with torch.no_grad():
            layers = model(torch.from_numpy(batch.tokens)[:, :-1], balancer).layers
        logits.append([layer.routing.router_logits_TE.tolist() for layer in layers])
        expert_ids.append([layer.routing.topk_expert_ids_TK.tolist() for layer in layers])
    return (
        train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3),
        logits,
        expert_ids,
    )


def test_the_buffered_loss_of_a_step_is_that_of_the_reference() -> None:
    log, logits, expert_ids = step_zero("aux_loss:scope=global_buffered")
    slow = [
        loss_family.buffered([m[layer] for m in logits], [m[layer] for m in expert_ids], "sigmoid")
        for layer in (0, 1)
    ]
    np.testing.assert_allclose(log.layers["aux_loss"].numpy(), slow, rtol=1e-5)
    whole = step_zero("aux_loss")[0]
    assert not np.allclose(log.layers["aux_loss"].numpy(), whole.layers["aux_loss"].numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "arm", ["switch_loss", "gshard_loss", "gshard_loss:scope=micro_batch,normalisation=paper"]
)
def test_first_choice_losses_of_a_step_are_those_of_the_reference(arm: str) -> None:
    log, logits, _ = step_zero(arm)
    size = 64 if "micro_batch" in arm or arm == "switch_loss" else 16
    groups = [list(range(start, start + size)) for start in range(0, 64, size)]
    norm = "paper" if "paper" in arm else "unit"
    for layer in (0, 1):
        slow = np.mean([loss_family.gshard(m[layer], groups, "sigmoid", norm) for m in logits])
        assert log.layers["aux_loss"][layer].item() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("arm", NEW)
def test_a_run_with_the_rule_is_recorded_like_any_other(arm: str) -> None:
    run = train_tiny(arm)
    assert [load.tokens_LE.sum(-1).tolist() for load in run.of(LoadRecord)] == [[256] * 2] * 12
    assert all(load.expert_bias_LE is None for load in run.of(LoadRecord))
    assert all(step.aux_loss is not None for step in run.of(StepRecord))
    assert rows(run) == rows(train_tiny(arm))
    # The step before an update is the control's; the ones after it are not.
    control = trained("none")
    assert run.of(StepRecord)[0].lm_loss == control.of(StepRecord)[0].lm_loss
    assert not run.weights_equal(control)


def test_simbal_makes_the_experts_orthonormal_from_the_common_start() -> None:
    # 12 Adam steps cannot get there from entries of 0.02, 150 can.
    run = train_tiny("simbal:coeff=1", num_steps=150, learning_rate=1e-2, eval_interval=150)
    control = train_tiny("none", num_steps=150, learning_rate=1e-2, eval_interval=150)
    for name in ("blocks.0.ffn.router.weight_ED", "blocks.1.ffn.router.weight_ED"):
        assert torch.equal(run.initial[name], control.initial[name])
    losses = [record.aux_loss_L for record in run.of(LayerRecord)]
    # Four vectors that are nearly zero: the diagonal alone is wrong, by 1 each.
    assert losses[0] == pytest.approx([4.0, 4.0], rel=0.05)
    assert (losses[-1] < 0.4).all()
    for mine, theirs in zip(run.model.routers, control.model.routers, strict=True):
        assert orthonormality_loss(mine.weight_ED.detach()) < 0.4
        assert orthonormality_loss(theirs.weight_ED.detach()) > 1


def test_as_printed_gshard_is_weaker_by_the_square_of_the_experts() -> None:
    unit, paper = step_zero("gshard_loss")[0], step_zero("gshard_loss:normalisation=paper")[0]
    for name in ("aux_loss", "router_grad_norm_aux"):
        torch.testing.assert_close(unit.layers[name], 16 * paper.layers[name])


@pytest.mark.parametrize("arm", NEW)
def test_the_name_of_the_rule_is_in_no_pair_key_but_in_the_digest(arm: str) -> None:
    control = make_tiny_config("none")
    config = replace(control, balancer=BalancerConfig.parse(arm))
    assert config.pair_key == control.pair_key
    assert config.digest != control.digest
