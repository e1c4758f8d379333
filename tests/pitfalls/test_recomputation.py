"""P17: activation checkpointing runs a forward pass twice and must count it once.

There is no checkpointing in our trainer. These tests put it around every block, as somebody who trains a
larger model would, and find the same counts, biases and weights: routing is returned by the forward pass and
counted by the training step, so what a second pass returns is thrown away.
"""

from typing import Any

import pytest
import torch
from routes import route
from tiny import make_tiny_config, make_tiny_corpus
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from explorer.model import MoETransformer, build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import sequence_counts
from explorer.training.loop import make_optimizer, quiet_cpu
from explorer.training.step import train_step

HOW = {"plain": None, "reentrant": True, "non-reentrant": False}


def recompute(model: MoETransformer, use_reentrant: bool | None) -> MoETransformer:
    """Put checkpointing around every block; None: none."""
    for block in model.blocks if use_reentrant is not None else ():

        def forward(*given: Any, inner=block.forward) -> Any:
            return checkpoint(inner, *given, use_reentrant=use_reentrant)

        block.forward = forward
    return model


def train_steps(how: str, rules: str, num_steps: int = 4, **changes: Any) -> list[dict[str, Tensor]]:
    """Counts and biases of some steps, and at last the weights, of a model that is checkpointed like this."""
    config, corpus = make_tiny_config(rules, **changes), make_tiny_corpus()
    model = recompute(build_model(config.model, 256, 16, seed=0), HOW[how])
    balancer = CombinedBalancer(config.balancer.rules)
    optimizer = make_optimizer(model, config)
    seen = []
    with quiet_cpu(1):
        for step in range(num_steps):
            layers = train_step(model, optimizer, balancer, config, corpus, step, 1e-2).layers
            seen.append({name: layers[name] for name in ("tokens", "expert_bias") if name in layers})
    return [*seen, {name: value.clone() for name, value in model.state_dict().items()}]


# A proportional rule moves with the size of the counts, so double counting shows; the sign would hide it.
@pytest.mark.parametrize("rules", ["loss_free:u=0.05", "loss_free:u=0.05,update_rule=proportional", "none"])
@pytest.mark.parametrize("how", ["reentrant", "non-reentrant"])
def test_p17_counts_biases_and_weights_are_equal_with_recomputation(how: str, rules: str) -> None:
    plain, recomputed = train_steps("plain", rules), train_steps(how, rules)
    for mine, theirs in zip(plain, recomputed, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert torch.equal(value, theirs[name]), name
    for step in plain[:-1]:
        assert step["tokens"].sum(-1).tolist() == [128 * 2] * 2


@pytest.mark.parametrize("changes", [{}, {"router_noise": 0.5}, {"capacity_factor": 1.0}], ids=str)
def test_p17_losses_and_noise_survive_recomputation_without_reentry(changes: dict[str, Any]) -> None:
    # The second pass draws the same noise, from the seed that the context carries.
    rules = "aux_loss:coeff=0.5,scope=micro_batch+z_loss"
    for mine, theirs in zip(
        train_steps("plain", rules, **changes), train_steps("non-reentrant", rules, **changes), strict=True
    ):
        for name, value in mine.items():
            assert torch.equal(value, theirs[name]), name


def test_p17_reentrant_checkpointing_cannot_carry_a_loss() -> None:
    # Its first pass has no gradients and its second returns nothing but tensors to differentiate: a loss of
    # the layer is lost without a word. Whoever checkpoints a run with such a loss takes the other kind.
    config = make_tiny_config("aux_loss")
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    for how, carried in {"plain": True, "non-reentrant": True, "reentrant": False}.items():
        model = recompute(build_model(config.model, 256, 16, seed=0), HOW[how])
        output = model(tokens, CombinedBalancer(config.balancer.rules))
        assert all((layer.losses.objective is not None) is carried for layer in output.layers), how


@pytest.mark.parametrize(("how", "expected"), [("plain", 1), ("reentrant", 1), ("non-reentrant", 2)])
def test_p17_a_counter_inside_the_layer_counts_twice_where_it_looks_at_gradients(
    how: str, expected: int
) -> None:
    # The usual guard, "count where gradients are on", skips the first pass of reentrant checkpointing and
    # counts both passes of the other kind.
    config = make_tiny_config("none")
    model = recompute(build_model(config.model, 256, 16, seed=0), HOW[how])
    counted = torch.zeros(4, dtype=torch.int64)

    def count(router: Any, given: Any, logits: Tensor) -> None:
        if torch.is_grad_enabled():
            counted.add_(sequence_counts(route(logits, top_k=2).topk_expert_ids_TK, 1, 4)[0])

    model.blocks[0].ffn.router.register_forward_hook(count)
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    output = model(tokens, CombinedBalancer([]))
    output.logits_BSV.square().mean().backward()
    once = output.layers[0].counts_BE.sum(0)
    assert once.sum() == 2 * 16 * 2
    assert counted.tolist() == (expected * once).tolist()
