"""Group-limited routing against transformers' DeepSeek-V3, torchtitan, and a router that fills with zeros."""

import pytest
import torch
from our_layer import D, E, answer, by_expert, fill, inputs, make_layer
from peer_code import need
from routes import route
from torchtitan_layer import BIAS, make_ours, make_theirs
from transformers_blocks import check_equal, deepseek_block

(axk2,) = need("transformers.models.axk2.modeling_axk2")

GROUPS = [(4, 1, 2), (4, 2, 3), (4, 3, 3), (2, 1, 3), (4, 4, 3)]
"""Groups, groups that a token may use, K."""


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("num_groups", "top_k_groups", "top_k"), GROUPS)
def test_p08_deepseek_v3(num_groups: int, top_k_groups: int, top_k: int, biased: bool) -> None:
    layer = make_layer(
        top_k, num_shared_experts=1, route_scale=2.5, num_groups=num_groups, top_k_groups=top_k_groups
    )
    block = deepseek_block(top_k, n_group=num_groups, topk_group=top_k_groups)
    check_equal(block, layer, BIAS if biased else torch.zeros(E))


@pytest.mark.filterwarnings("ignore:In CPU autocast")
@pytest.mark.parametrize(("num_groups", "top_k_groups", "top_k"), GROUPS)
def test_p08_torchtitan(num_groups: int, top_k_groups: int, top_k: int) -> None:
    theirs = make_theirs(top_k, num_expert_groups=num_groups, num_limited_groups=top_k_groups)
    ours = make_ours(theirs, top_k, normalize_gates=False, num_groups=num_groups, top_k_groups=top_k_groups)
    weights, ids, _ = theirs.router(inputs(), BIAS)
    mine = answer(ours, inputs(), BIAS)
    torch.testing.assert_close(mine.gates_TE, by_expert(ids.flatten(0, 1), weights.flatten(0, 1)))


def zero_filled_router(top_k: int):
    """A router of transformers that puts 0, not -inf, where a group was rejected."""
    config = axk2.AXK2Config(
        hidden_size=D, n_routed_experts=E, num_experts_per_tok=top_k, n_group=4, topk_group=2
    )
    router = axk2.AXK2TopkRouter(config)
    fill(router)
    return router


@pytest.mark.parametrize("constant", [0.0, 1.0, -1.0])
def test_p04_a_rejected_group_wins_where_it_is_filled_with_zeros(constant: float) -> None:
    # A constant on all biases means nothing. At -1 every allowed expert compares below 0, and so below all
    # that were rejected: all choices of theirs leave the best groups.
    router, layer = zero_filled_router(3), make_layer(3, num_groups=4, top_k_groups=2)
    with torch.no_grad():
        layer.router.weight_ED.copy_(router.weight)
    allowed = answer(layer, inputs(), torch.zeros(E)).chosen_TE
    ours = answer(layer, inputs(), torch.full((E,), constant)).chosen_TE
    assert torch.equal(ours, allowed)
    router.e_score_correction_bias.fill_(constant)
    _, weights, ids = router(inputs())
    theirs = by_expert(ids, torch.ones_like(weights)).bool()
    if constant >= 0:
        assert torch.equal(theirs, allowed)
    else:
        # Four of eight experts are allowed and three are chosen: none of the three is among the four.
        groups_TG = allowed.view(-1, 4, 2).any(-1)
        theirs_TG = theirs.view(-1, 4, 2).any(-1)
        assert not (groups_TG & theirs_TG).any()


def test_p08_a_group_is_worth_its_two_best_and_not_its_best_or_its_sum() -> None:
    # Groups of three. Best single expert: group 0; largest sum: group 2; two best: group 1.
    scores = torch.tensor([[0.90, 0.10, 0.05, 0.70, 0.65, 0.05, 0.60, 0.58, 0.57]])
    block = deepseek_block(2, n_group=3, topk_group=1, n_routed_experts=9)
    expert_ids = route(scores.logit(), top_k=2, num_groups=3, top_k_groups=1).topk_expert_ids_TK
    assert sorted(expert_ids[0].tolist()) == [3, 4]
    with torch.no_grad():
        block.gate.weight.zero_()
        block.gate.weight[:, 0] = scores[0].logit()
    _, _, ids = block.gate(torch.eye(1, D))
    assert sorted(ids[0].tolist()) == [3, 4]
