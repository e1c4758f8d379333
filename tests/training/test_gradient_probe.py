"""The gradients at the routers by loss: what is measured, when, and that measuring changes nothing."""

from functools import cache

import numpy as np
import pytest
import torch
from runs_in_memory import Trained, rows, train_tiny
from tiny import make_tiny_config, make_tiny_corpus

from benchmarks.buffered_scope import auxiliary_gradient, scope_differences
from explorer.config.rule_text import AuxLoss
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.records.records import LayerRecord
from explorer.training.gradients import GradientProbe
from explorer.training.loop import make_optimizer
from explorer.training.micro_batches import lm_loss_sum
from explorer.training.step import train_step

FIELDS = ("router_grad_norm_lm_L", "router_grad_norm_aux_L", "router_grad_cosine_L")
probed = cache(lambda arm: train_tiny(arm, gradient_probe_interval=3))


def by_step(run: Trained) -> dict[int, LayerRecord]:
    return {record.step: record for record in run.of(LayerRecord)}


@pytest.mark.parametrize(
    "arm",
    ["none", "aux_loss:coeff=0.1", "aux_loss:scope=global_buffered", "loss_free+seq_aux+z_loss", "simbal"],
)
def test_a_run_is_bit_for_bit_the_same_with_and_without_the_probe(arm: str) -> None:
    without, every = train_tiny(arm, gradient_probe_interval=0), train_tiny(arm, gradient_probe_interval=1)
    assert every.weights_equal(without)
    blank = [{k: v for k, v in row.items() if k not in FIELDS} for row in rows(every)]
    # Without the probe a step may have no row in layer_steps at all.
    others = [row for row in blank if row["table"] != "LayerRecord"]
    assert others == [row for row in rows(without) if row["table"] != "LayerRecord"]
    assert all(record.router_grad_norm_lm_L is None for record in without.of(LayerRecord))
    assert all(record.router_grad_norm_lm_L is not None for record in every.of(LayerRecord))
    # The two runs share a digest of what may be paired.
    assert every.config.pair_key == without.config.pair_key


def test_sampled_steps_have_gradients_and_others_none() -> None:
    run = by_step(probed("aux_loss:coeff=0.1"))
    for step in range(12):
        sampled = [getattr(run[step], name) is not None for name in FIELDS]
        assert sampled == [step % 3 == 0] * 3
    assert train_tiny().config.training.gradient_probe_interval == 25


@pytest.mark.parametrize("arm", ["none", "loss_free:u=0.01", "z_loss"])
def test_an_arm_without_an_auxiliary_loss_has_the_language_gradient_alone(arm: str) -> None:
    for step, record in by_step(probed(arm)).items():
        if step % 3 == 0:
            assert (record.router_grad_norm_lm_L > 0).all()
            assert record.router_grad_norm_aux_L is None
            assert record.router_grad_cosine_L is None


def first_step(arm: str, **changes):
    """Model, balancer, configuration and the two micro-batches of step 0."""
    config = make_tiny_config(arm, **changes)
    corpus = make_tiny_corpus()
    model = build_model(config.model, corpus.vocab_size, config.training.sequence_length, seed=0)
    parts = [
        torch.from_numpy(
            corpus.batch(
                seed=0,
                step=0,
                micro_batch=index,
                num_sequences=config.training.micro_batch_size,
                sequence_length=config.training.sequence_length,
            ).tokens
        )
        for index in range(config.training.gradient_accumulation_steps)
    ]
    return model, CombinedBalancer(config.balancer.rules), config, corpus, parts


def gradients(model, balancer, parts, part: str) -> torch.Tensor:
    """[L, E * D]: what a run with this loss alone would find in `.grad` of its routers."""
    for tokens in parts:
        output = model(tokens[:, :-1], balancer)
        if part == "lm":
            loss = lm_loss_sum(output.logits_BSV, tokens[:, 1:]) / tokens[:, 1:].numel()
        else:
            loss = sum(layer.losses.objective for layer in output.layers)
        (loss / len(parts)).backward()
    gradients_LX = torch.stack([router.weight_ED.grad.flatten() for router in model.routers])
    model.zero_grad(set_to_none=True)
    return gradients_LX


@pytest.mark.parametrize("accumulation", [1, 2])
def test_norms_and_cosine_are_those_of_two_separate_backward_passes(accumulation: int) -> None:
    arm = "aux_loss:coeff=0.5,scope=sequence"
    model, balancer, config, corpus, parts = first_step(arm, gradient_accumulation_steps=accumulation)
    lm, aux = gradients(model, balancer, parts, "lm"), gradients(model, balancer, parts, "aux")
    log = train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3)
    torch.testing.assert_close(log.layers["router_grad_norm_lm"], lm.norm(dim=1))
    torch.testing.assert_close(log.layers["router_grad_norm_aux"], aux.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(lm, aux, dim=1)
    torch.testing.assert_close(log.layers["router_grad_cosine"], cosine, rtol=1e-4, atol=1e-5)


def test_an_auxiliary_loss_of_a_later_layer_reaches_the_routers_before_it() -> None:
    # The norm is of all auxiliary losses together, as the optimizer sees them.
    model, balancer, _, _, parts = first_step("aux_loss:coeff=0.5", gradient_accumulation_steps=1)
    output = model(parts[0][:, :-1], balancer)
    own = torch.autograd.grad(
        output.layers[0].losses.auxiliary, model.routers[0].weight_ED, retain_graph=True
    )[0]
    probe = GradientProbe(model)
    probe.add(output.logits_BSV.mean(), output.layers, 1.0)
    assert probe.aux_LED is not None
    assert not torch.allclose(probe.aux_LED[0], own, rtol=1e-3)


def test_the_coefficient_scales_the_auxiliary_norm_and_nothing_else() -> None:
    figures = []
    for coeff in (0.1, 0.3):
        model, balancer, config, corpus, _ = first_step(f"aux_loss:coeff={coeff}")
        log = train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3)
        figures.append(log.layers)
    weak, strong = figures
    torch.testing.assert_close(strong["router_grad_norm_aux"], 3 * weak["router_grad_norm_aux"])
    torch.testing.assert_close(strong["router_grad_cosine"], weak["router_grad_cosine"])
    assert torch.equal(strong["router_grad_norm_lm"], weak["router_grad_norm_lm"])


def test_z_loss_is_in_neither_gradient() -> None:
    with_z, without = probed("aux_loss:coeff=0.1+z_loss"), probed("aux_loss:coeff=0.1")
    for name in FIELDS:
        # Equal weights in step 0, so equal gradients; with the z-loss in one they would differ.
        assert np.array_equal(getattr(by_step(with_z)[0], name), getattr(by_step(without)[0], name))


def test_a_gradient_of_zero_has_no_cosine() -> None:
    model, balancer, config, corpus, _ = first_step("aux_loss:coeff=0")
    log = train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3)
    assert log.layers["router_grad_norm_aux"].tolist() == [0, 0]
    assert log.layers["router_grad_cosine"].isnan().all()


def test_the_probe_is_taken_before_clipping() -> None:
    norms = []
    for most in (1e-3, 1e3):
        model, balancer, config, corpus, _ = first_step("none", max_grad_norm=most)
        log = train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3)
        norms.append(log.layers["router_grad_norm_lm"])
    assert torch.equal(*norms)


# The buffered scope against the global one.


def test_buffered_and_global_gradients_agree_with_one_micro_batch_only() -> None:
    model, _, config, corpus, _ = first_step("none", micro_batch_size=8)
    alone = scope_differences(model, config, corpus, 1)
    for scope in ("global_buffered", "micro_batch"):
        assert alone[scope].relative == pytest.approx(0, abs=1e-5)
        assert alone[scope].cosine == pytest.approx(1, abs=1e-5)
    parts = scope_differences(model, config, corpus, 4)
    assert parts["global_buffered"].relative > 0.01
    assert parts["global_buffered"].relative == parts["global_buffered"].lasting
    assert parts["micro_batch"].relative > 0.01
    # A sequence's own counts do not know how the step was cut.
    assert parts["sequence"].relative == pytest.approx(alone["sequence"].relative, rel=1e-3)


def test_differences_that_change_sign_from_step_to_step_do_not_last() -> None:
    model, _, config, corpus, _ = first_step("none", micro_batch_size=8)
    difference = scope_differences(model, config, corpus, 4, steps=range(12))["global_buffered"]
    assert difference.lasting < 0.7 * difference.relative


def test_the_last_micro_batch_of_the_buffered_scope_is_the_global_one() -> None:
    model, _, _, _, parts = first_step("none")
    buffered, whole = (
        auxiliary_gradient(model, AuxLoss(coeff=1.0, scope=scope), parts)
        for scope in ("global_buffered", "global_batch")
    )
    first = [
        auxiliary_gradient(model, AuxLoss(coeff=1.0, scope=scope), parts[:1]) / 2
        for scope in ("global_buffered", "global_batch")
    ]
    assert torch.equal(*first)
    assert not torch.allclose(buffered, whole, rtol=1e-3)
