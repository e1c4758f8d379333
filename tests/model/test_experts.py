"""Expert dispatch: grouped, loop and the dense oracle against loops over tokens (P3, P27)."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import routing
from strategies import MARGIN, smallest_gap
from tiny import make_tiny_config
from torch import Tensor

from explorer.config.rule_text import LossFree
from explorer.config.run import ModelConfig
from explorer.errors import ConfigError
from explorer.model.balancers import CombinedBalancer
from explorer.model.experts import Experts, SwiGLU, grouped_fits
from explorer.model.router import LayerContext, Routing, sequence_counts
from explorer.model.transformer import MoELayer

KINDS = ("grouped", "loop", "dense")
# [T][K] assignments over four experts.
ASSIGNMENTS = {
    "even": [[0, 1], [2, 3], [1, 2], [3, 0]],
    "empty_expert": [[0, 1], [1, 0], [3, 1], [3, 0], [0, 3]],
    "first_and_last_empty": [[1, 2], [2, 1], [1, 2]],
    "one_hot_expert": [[2, 0]] * 5 + [[2, 1]] * 2,
    "all_on_one": [[3]] * 6,
    "k_equals_e": [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]],
    "one_token": [[1, 3]],
}


def make_experts(dispatch: str, width: int = 8, inner: int = 8, seed: int = 0) -> Experts:
    torch.manual_seed(seed)
    return Experts(4, width, inner, 0.5, dispatch)


def make_routing(ids: list[list[int]], gates: Tensor) -> Routing:
    """A routing with known choices; only choices and gates matter to the experts."""
    empty = torch.zeros(len(ids), 4)
    return Routing(empty, empty, torch.tensor(ids), gates)


def run(kind: str, ids: list[list[int]], width: int = 8, inner: int = 8) -> dict[str, Tensor]:
    """Output and all gradients of one dispatch."""
    experts = make_experts(kind, width, inner)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(ids), width, generator=generator).requires_grad_()
    gates = torch.rand(len(ids), len(ids[0]), generator=generator).requires_grad_()
    pull = torch.randn(len(ids), width, generator=generator)
    counts = sequence_counts(torch.tensor(ids), 1, 4)[0]
    out = experts(x, make_routing(ids, gates), counts)
    (out * pull).sum().backward()
    grads = {"x": x.grad, "gates": gates.grad}
    grads |= {"gate_up": experts.gate_up_EDF2.grad, "down": experts.down_EFD.grad}
    return {"out": out.detach(), **grads}


def triples(experts: Experts) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(gate [F][D], up [F][D], down [D][F]) of every expert, for the reference."""
    inner = experts.down_EFD.shape[1]
    result = []
    for gate_up, down in zip(experts.gate_up_EDF2.detach(), experts.down_EFD.detach(), strict=True):
        result.append((gate_up[:, :inner].T.numpy(), gate_up[:, inner:].T.numpy(), down.T.numpy()))
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_p27_every_dispatch_equals_the_reference(kind: str, name: str) -> None:
    ids = ASSIGNMENTS[name]
    fast = run(kind, ids)["out"]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(ids), 8, generator=generator)
    gates = torch.rand(len(ids), len(ids[0]), generator=generator)
    slow = routing.moe_output(x.tolist(), triples(make_experts(kind)), ids, gates.tolist())
    np.testing.assert_allclose(fast.numpy(), slow, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["grouped", "loop"])
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_p27_every_dispatch_agrees_with_the_dense_oracle_in_all_gradients(kind: str, name: str) -> None:
    fast, oracle = run(kind, ASSIGNMENTS[name]), run("dense", ASSIGNMENTS[name])
    for part, expected in oracle.items():
        torch.testing.assert_close(
            fast[part], expected, rtol=1e-4, atol=1e-5, msg=lambda m, p=part: f"{p}: {m}"
        )


def test_p27_an_empty_expert_gets_a_zero_gradient() -> None:
    for kind in KINDS:
        grads = run(kind, ASSIGNMENTS["empty_expert"])
        assert grads["gate_up"][2].abs().max() == 0
        assert grads["down"][2].abs().max() == 0
        assert grads["down"][0].abs().max() > 0


@pytest.mark.parametrize("sizes", [(6, 5), (8, 3), (7, 8), (1, 1)])
def test_p27_sizes_that_grouped_refuses_go_through_the_loop(sizes: tuple[int, int]) -> None:
    width, inner = sizes
    experts = make_experts("auto", width, inner)
    x = torch.ones(2, width)
    assert not grouped_fits(experts.gate_up_EDF2, experts.down_EFD, x)
    ids = ASSIGNMENTS["empty_expert"]
    auto, oracle = run("auto", ids, width, inner), run("dense", ids, width, inner)
    for part, expected in oracle.items():
        torch.testing.assert_close(auto[part], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "numbers"), [(None, 4), (torch.bfloat16, 8)])
def test_grouped_products_that_do_not_fit_are_refused_with_the_rule(
    dtype: torch.dtype | None, numbers: int
) -> None:
    # Rows of 12 numbers are whole 16 bytes in float32 and not in bf16.
    width = 12 if dtype else 6
    context = torch.autocast("cpu", dtype=dtype) if dtype else nullcontext()
    with context, pytest.raises(ConfigError, match=rf"model\.dispatch = 'grouped'.*\({numbers} numbers\)"):
        run("grouped", ASSIGNMENTS["empty_expert"], width, width)


def test_p27_auto_takes_the_grouped_product_where_it_fits() -> None:
    experts = make_experts("auto")
    assert grouped_fits(experts.gate_up_EDF2, experts.down_EFD, torch.ones(2, 8))
    ids = ASSIGNMENTS["one_hot_expert"]
    assert torch.equal(run("auto", ids)["out"], run("grouped", ids)["out"])


@given(
    seed=st.integers(0, 2**32 - 1),
    num_tokens=st.integers(1, 12),
    top_k=st.integers(1, 4),
)
@pytest.mark.parametrize("kind", ["grouped", "loop"])
def test_p27_random_assignments_agree(kind: str, seed: int, num_tokens: int, top_k: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [rng.permutation(4)[:top_k].tolist() for _ in range(num_tokens)]
    fast, oracle = run(kind, ids), run("dense", ids)
    for part, expected in oracle.items():
        torch.testing.assert_close(fast[part], expected, rtol=1e-4, atol=1e-5)


def alone(x: Tensor) -> LayerContext:
    """The context of a layer that is called outside a model."""
    return LayerContext(layer=0, tokens_T=torch.zeros(x.shape[0] * x.shape[1], dtype=torch.int64))


def moe_layer(**changes) -> MoELayer:
    config: ModelConfig = make_tiny_config(init_std=0.5, **changes).model
    torch.manual_seed(3)
    return MoELayer(config)


@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
@pytest.mark.parametrize("num_shared_experts", [0, 2])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_whole_layer_equals_the_reference(
    score_func: str, num_shared_experts: int, with_bias: bool
) -> None:
    layer = moe_layer(score_func=score_func, num_shared_experts=num_shared_experts, route_scale=2.5)
    bias = [0.3, -0.2, 0.1, 0.0]
    layer.router.expert_bias_E.copy_(torch.tensor(bias))
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(4))
    balancer = CombinedBalancer([LossFree()] if with_bias else [])
    out, info = layer(x, balancer, alone(x))

    tokens = x.reshape(-1, 16).double().tolist()
    logits = [routing.matvec(layer.router.weight_ED.tolist(), token) for token in tokens]
    scores = routing.scores(logits, score_func)
    compared = routing.biased(scores, bias if with_bias else None, "additive")
    assert smallest_gap(compared) > MARGIN, "choose another seed: near tie"
    expert_ids = [routing.top_k(row, 2) for row in compared]
    gates = routing.gate_weights(scores, expert_ids, True, 2.5)
    shared = []
    if layer.shared is not None:
        gate, up = layer.shared.gate_up.weight.detach().chunk(2)
        for index in range(num_shared_experts):
            part = slice(index * 8, (index + 1) * 8)
            down = layer.shared.down.weight.detach()[:, part]
            shared.append((gate[part].numpy(), up[part].numpy(), down.numpy()))
    slow = routing.moe_output(tokens, triples(layer.experts), expert_ids, gates, shared)
    np.testing.assert_allclose(out.detach().reshape(-1, 16).numpy(), slow, rtol=1e-3, atol=1e-4)
    assert info.counts_BE.sum(0).tolist() == routing.count(expert_ids, 4)


@pytest.mark.parametrize("dispatch", KINDS)
def test_p03_output_does_not_change_with_the_bias_while_the_chosen_set_stands(dispatch: str) -> None:
    layer = moe_layer(dispatch=dispatch)
    # Every token prefers experts 1 and 3 by a wide margin, so a small bias changes no choice.
    x = torch.ones(1, 6, 16) + 0.1 * torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        layer.router.weight_ED.copy_(torch.tensor([-0.05, 0.05, -0.04, 0.06])[:, None].expand(4, 16))
    balancer = CombinedBalancer([LossFree()])
    outputs = []
    for bias in ([0.0, 0.0, 0.0, 0.0], [0.1, -0.05, 0.02, -0.1], [-3.0, 0.2, -3.0, 0.2]):
        layer.router.expert_bias_E.copy_(torch.tensor(bias))
        out, info = layer(x, balancer, alone(x))
        assert info.counts_BE.tolist() == [[0, 6, 0, 6]]
        outputs.append(out)
    # Which of the two comes first may change, and with it only the order of a sum.
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(outputs[0], outputs[2], rtol=1e-6, atol=1e-7)


def test_the_gate_gradient_reaches_the_router_as_finite_differences_say() -> None:
    layer = moe_layer(dispatch="dense")
    x = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(6))
    out, info = layer(x, CombinedBalancer([]), alone(x))
    out.sum().backward()
    ids = info.routing.topk_expert_ids_TK.tolist()
    tokens = x.reshape(-1, 16).tolist()
    weight = layer.router.weight_ED.detach().double().numpy()

    def slow(weights: np.ndarray) -> float:
        logits = [routing.matvec(weights, token) for token in tokens]
        gates = routing.gate_weights(routing.scores(logits, "sigmoid"), ids, True, 1.0)
        return float(np.sum(routing.moe_output(tokens, triples(layer.experts), ids, gates)))

    for expert, place in [(0, 0), (1, 7), (2, 3), (3, 15)]:
        step = np.zeros_like(weight)
        step[expert, place] = 1e-4
        slope = (slow(weight + step) - slow(weight - step)) / 2e-4
        assert layer.router.weight_ED.grad[expert, place].item() == pytest.approx(slope, rel=1e-2, abs=1e-3)


def test_shared_experts_are_not_counted() -> None:
    layer = moe_layer(num_shared_experts=2)
    x = torch.randn(2, 5, 16)
    _, info = layer(x, CombinedBalancer([]), alone(x))
    assert info.counts_BE.shape == (2, 4)
    assert int(info.counts_BE.sum()) == 2 * 5 * 2


def test_swiglu_equals_the_reference() -> None:
    torch.manual_seed(0)
    block = SwiGLU(4, 3, 0.5)
    x = torch.randn(4)
    gate, up = block.gate_up.weight.detach().chunk(2)
    slow = routing.swiglu(x.tolist(), gate.tolist(), up.tolist(), block.down.weight.tolist())
    np.testing.assert_allclose(block(x).detach().numpy(), slow, rtol=1e-5, atol=1e-6)


def test_dispatch_does_not_change_the_initial_weights() -> None:
    config = make_tiny_config().model
    states = []
    for dispatch in KINDS:
        torch.manual_seed(0)
        states.append(MoELayer(replace(config, dispatch=dispatch)).state_dict())
    for name, value in states[0].items():
        assert all(torch.equal(value, other[name]) for other in states[1:])
