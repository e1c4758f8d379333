"""Our mixture layer against the blocks of transformers with the same weights.

Routers choose the same experts with the same weights, layers give the same output, and a gradient that
comes in at the output arrives the same at the input, the experts and the router.
"""

import pytest
import torch
from our_layer import E, answer, inputs, make_layer
from torch import Tensor
from transformers_blocks import (
    check_equal,
    copied,
    deepseek_block,
    mixtral_block,
    olmoe_block,
    qwen3_block,
)

BIAS = torch.tensor([0.3, -0.4, 0.1, 0.0, -0.2, 0.25, -0.1, 0.05])


@pytest.mark.parametrize("dispatch", ["loop", "grouped", "dense"])
@pytest.mark.parametrize("top_k", [2, 3, E])
def test_mixtral(top_k: int, dispatch: str) -> None:
    check_equal(mixtral_block(top_k), make_layer(top_k, score_func="softmax", dispatch=dispatch))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("make_block", [olmoe_block, qwen3_block])
def test_olmoe_and_qwen3(make_block, normalised: bool) -> None:
    layer = make_layer(3, score_func="softmax", normalize_gates=normalised)
    check_equal(make_block(3, normalised), layer)


@pytest.mark.parametrize("make_block", [olmoe_block, qwen3_block])
def test_a_single_expert_unnormalised(make_block) -> None:
    check_equal(make_block(1, False), make_layer(1, score_func="softmax"))


def test_p07_their_normalised_top_1_tells_the_router_nothing() -> None:
    # Mixtral divides a single score by itself: the gate is 1 and no gradient reaches the router. Ours
    # never normalises one expert, so it cannot equal theirs here, and does learn.
    block, layer = mixtral_block(1), make_layer(1, score_func="softmax")
    copied(block, layer)
    x = inputs()
    block(x).sum().backward()
    mine = answer(layer, x)
    mine.out_BSD.sum().backward()
    assert block.gate.weight.grad.abs().max() < 1e-5
    assert layer.router.weight_ED.grad.abs().max() > 1e-2


@pytest.mark.parametrize("bias", [None, BIAS], ids=["neutral", "biased"])
@pytest.mark.parametrize("normalised", [True, False])
def test_deepseek_v3_bias_shared_expert_and_scale(normalised: bool, bias: Tensor | None) -> None:
    layer = make_layer(3, num_shared_experts=1, route_scale=2.5, normalize_gates=normalised)
    block = deepseek_block(3, norm_topk_prob=normalised)
    check_equal(block, layer, torch.zeros(E) if bias is None else bias)


def test_p03_the_bias_of_deepseek_v3_changes_choices_and_is_in_no_weight() -> None:
    block, layer = deepseek_block(3), make_layer(3, num_shared_experts=1, route_scale=2.5)
    copied(block, layer)
    x = inputs()
    plain, biased = answer(layer, x, torch.zeros(E)), answer(layer, x, BIAS)
    assert not torch.equal(plain.chosen_TE, biased.chosen_TE)
    block.gate.e_score_correction_bias.copy_(BIAS)
    _, weights_TK, _ = block.gate(x.flatten(0, 1))
    torch.testing.assert_close(weights_TK.sum(-1), torch.full((len(weights_TK),), 2.5))
    torch.testing.assert_close(biased.gates_TE.sum(-1), torch.full((len(weights_TK),), 2.5))
