"""torchtitan's router, its token counts and its bias update against ours.

Its experts compute in bfloat16 whatever the input is, so the output of the layer is compared at that
precision; everything about routing is compared in float32.
"""

from types import SimpleNamespace

import pytest
import torch
from our_layer import E, answer, by_expert, fill, inputs
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchtitan_layer import BIAS, U, make_ours, make_theirs, optim

from explorer.config.rule_text import LossFree
from explorer.model.balancers import CombinedBalancer

# Their gate asks for float32 autocast, which a CPU answers with a warning and with float32.
pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")


@pytest.mark.parametrize("bias", [None, BIAS], ids=["neutral", "biased"])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
def test_router_output_and_counts(score_func: str, normalised: bool, bias: Tensor | None) -> None:
    theirs = make_theirs(3, score_func=score_func, route_norm=normalised, route_scale=2.5)
    ours = make_ours(theirs, 3, score_func=score_func, normalize_gates=normalised, route_scale=2.5)
    bias = torch.zeros(E) if bias is None else bias
    theirs.expert_bias_E.copy_(bias)
    x = inputs()
    weights_BSK, ids_BSK, scores_BSE = theirs.router(x, theirs.expert_bias_E)
    mine = answer(ours, x, bias)
    torch.testing.assert_close(mine.layer.routing.scores_TE, scores_BSE.flatten(0, 1))
    torch.testing.assert_close(mine.gates_TE, by_expert(ids_BSK.flatten(0, 1), weights_BSK.flatten(0, 1)))
    out = theirs(x)
    assert mine.layer.counts_BE.sum(0).tolist() == theirs.tokens_per_expert_E.tolist()
    scale = out.abs().max().item()
    torch.testing.assert_close(mine.out_BSD, out, rtol=2e-2, atol=1e-2 * scale)


def titan_model(layers: list[nn.Module]) -> nn.Module:
    """As much of a model as their update looks for: named blocks that hold a mixture layer."""
    model = nn.Module()
    model.layers = nn.ModuleDict()
    for index, layer in enumerate(layers):
        block = nn.Module()
        block.moe_enabled, block.moe = True, layer
        model.layers[str(index)] = block
    return model


def titan_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """A plain optimizer with their hook, on one process."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    alone = SimpleNamespace(get_optional_mesh=lambda name: None, ep_enabled=False, tp=1)
    optim.register_moe_load_balancing_hook(optimizer, [model], alone)
    return optimizer


def test_p10_their_update_is_our_centred_sign_rule_step_by_step() -> None:
    # Two layers, six steps; the bias of one step chooses in the next.
    peers = [make_theirs(2, score_func="sigmoid") for _ in range(2)]
    fill(peers[1], seed=5)
    mine = [make_ours(peer) for peer in peers]
    optimizer = titan_optimizer(titan_model(peers))
    balancer = CombinedBalancer([LossFree(bias_update_rate=U, centred=True)])
    for step in range(6):
        x = inputs(seed=10 + step)
        counts_LE = []
        for peer, layer in zip(peers, mine, strict=True):
            peer(x)
            report = answer(layer, x, layer.router.expert_bias_E).layer
            counts_LE.append(report.counts_BE.sum(0))
            assert counts_LE[-1].tolist() == peer.tokens_per_expert_E.tolist()
        optimizer.step()
        bias_LE = torch.stack([layer.router.expert_bias_E for layer in mine])
        balancer.update(bias_LE, torch.stack(counts_LE), step)
        for peer, layer, bias_E in zip(peers, mine, bias_LE, strict=True):
            layer.router.expert_bias_E.copy_(bias_E)
            torch.testing.assert_close(bias_E, peer.expert_bias_E, rtol=0, atol=1e-7)
            assert peer.expert_bias_E.abs().max() > 0
            assert peer.expert_bias_E.mean().abs() < 1e-7


def test_p09_their_hand_case() -> None:
    # Ten tokens to the first of two experts, none to the second: u = 0.1 gives -0.1 and +0.1 in both.
    layer = make_theirs(coeff=0.1)
    layer.expert_bias_E, layer.tokens_per_expert_E = torch.zeros(2), torch.tensor([10.0, 0.0])
    titan_optimizer(titan_model([layer])).step()
    bias = torch.zeros(2)
    CombinedBalancer([LossFree(bias_update_rate=0.1)]).update(bias, torch.tensor([10, 0]), 0)
    assert layer.expert_bias_E.tolist() == pytest.approx([-0.1, 0.1])
    assert bias.tolist() == pytest.approx([-0.1, 0.1])


def test_p11_accumulated_counts_move_the_bias_once() -> None:
    peer = make_theirs(2, score_func="sigmoid")
    optimizer = titan_optimizer(titan_model([peer]))
    parts = [inputs(seed=seed, num_sequences=2) for seed in (1, 2, 3)]
    for part in parts:
        peer(part)
    optimizer.step()
    layer = make_ours(peer)
    counts_E = answer(layer, torch.cat(parts), torch.zeros(E)).layer.counts_BE.sum(0)
    bias_E = torch.zeros(E)
    CombinedBalancer([LossFree(bias_update_rate=U, centred=True)]).update(bias_E, counts_E, 0)
    torch.testing.assert_close(peer.expert_bias_E, bias_E)
    assert peer.tokens_per_expert_E.tolist() == [0.0] * E


@pytest.mark.parametrize(("use_reentrant", "times"), [(None, 1), (True, 2), (False, 2)])
def test_p17_recomputation_counts_twice_in_theirs(use_reentrant: bool | None, times: int) -> None:
    # They halve the counts where they find their own checkpoint wrapper. Ours are returned and counted once.
    peer, x = make_theirs(2, score_func="sigmoid"), inputs().requires_grad_()
    once = answer(make_ours(peer), x).layer.counts_BE.sum(0)
    out = peer(x) if use_reentrant is None else checkpoint(peer, x, use_reentrant=use_reentrant)
    out.sum().backward()
    assert peer.tokens_per_expert_E.tolist() == (times * once).tolist()


def test_p13_their_counts_are_float32_and_ours_are_not() -> None:
    # One token more than 2^24 is lost to a float32 counter; ours are int64.
    peer = make_theirs(2)
    peer.tokens_per_expert_E.fill_(2.0**24)
    peer.tokens_per_expert_E.add_(1)
    assert peer.tokens_per_expert_E.tolist() == [2.0**24] * E
    layer = make_ours(peer)
    assert answer(layer, inputs()).layer.counts_BE.dtype == torch.int64
