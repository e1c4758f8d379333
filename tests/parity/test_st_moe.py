"""st-moe-pytorch's balancing loss and z-loss against ours: GShard's, first choices only, scaled to 1."""

import pytest
import torch
from our_layer import D, E, fill, inputs
from peer_code import need
from routes import route
from torch import Tensor, nn

from explorer.config.rule_text import AuxLoss, GShardLoss, Rule, ZLoss
from explorer.model.balancers import LayerBatch, make_balancer
from explorer.model.router import sequence_counts

(st_moe,) = need("st_moe_pytorch.st_moe_pytorch")


def gating(top_n: int) -> nn.Module:
    """Their gate in training mode, where alone it has losses."""
    gate = st_moe.TopNGating(dim=D, num_gates=E, top_n=top_n)
    fill(gate)
    return gate.train()


def loss_of(rule: Rule, logits_TE: Tensor, top_k: int, num_sequences: int) -> Tensor:
    routing = route(logits_TE, top_k=top_k, score_func="softmax")
    counts = sequence_counts(routing.topk_expert_ids_TK, num_sequences, E)
    return make_balancer(rule).loss(LayerBatch(routing, counts))


@pytest.mark.parametrize("top_n", [2, 3])
@pytest.mark.parametrize(
    ("position", "rule"),
    [(2, GShardLoss(scope="sequence", normalisation="unit")), (3, ZLoss())],
    ids=["balance", "z"],
)
def test_losses_and_their_gradients(position: int, rule: Rule, top_n: int) -> None:
    gate, x_BSD = gating(top_n), inputs()
    theirs = gate(x_BSD)[position]
    weight = gate.to_gates.weight.detach().clone().requires_grad_()
    mine = loss_of(rule, x_BSD.flatten(0, 1) @ weight.T, top_n, len(x_BSD))
    torch.testing.assert_close(mine, theirs)
    mine.backward()
    theirs.backward()
    torch.testing.assert_close(weight.grad, gate.to_gates.weight.grad, rtol=1e-4, atol=1e-6)
    assert weight.grad.abs().max() > 1e-3


def test_p20_it_counts_first_choices_only_and_misses_a_collapse_of_the_second() -> None:
    # First choices take turns among seven experts, the second is always the eighth.
    logits = torch.zeros(1, 7, D)
    for token in range(7):
        logits[0, token, token], logits[0, token, 7] = 4.0, 3.0
    gate = gating(2)
    with torch.no_grad():
        gate.to_gates.weight.copy_(torch.eye(E, D))
    theirs = gate(logits)[2].item()
    flat = logits[0, :, :E]
    unit = GShardLoss(scope="sequence", normalisation="unit")
    assert loss_of(unit, flat, 2, 1).item() == pytest.approx(theirs)
    # Half of all assignments are on one of eight experts, which counting all choices sees.
    everything = loss_of(AuxLoss(scope="sequence"), flat, 2, 1).item()
    assert theirs < 1 < everything
