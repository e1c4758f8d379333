"""Hash and random routing, and the dense model of equal active size."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import routing
from tiny import make_tiny_config

from explorer import metrics
from explorer.config.run import ModelConfig
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.controls import hash_table, random_subsets, with_gates
from explorer.model.router import ForwardContext, sequence_counts

SIZES = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes=SIZES, vocab=st.integers(1, 300), layer=st.integers(0, 5))
def test_a_hash_gives_every_id_k_distinct_experts_and_every_expert_as_many_ids(sizes, vocab, layer) -> None:
    num_experts, top_k = sizes
    table = hash_table(vocab, num_experts, top_k, layer)
    assert table.shape == (vocab, top_k)
    assert table.dtype == torch.int64
    assert all(len(set(row)) == top_k for row in table.tolist())
    counts = routing.count(table.tolist(), num_experts)
    assert max(counts) - min(counts) <= top_k
    if vocab % num_experts == 0:
        assert counts == [vocab * top_k // num_experts] * num_experts


def test_the_hash_is_the_same_in_every_run_and_another_in_every_layer() -> None:
    torch.manual_seed(1)
    first = hash_table(256, 16, 2, 0)
    torch.manual_seed(2)
    assert torch.equal(hash_table(256, 16, 2, 0), first)
    assert not torch.equal(hash_table(256, 16, 2, 1), first)
    # Known values: a change of the table would make new runs other than the recorded ones.
    assert first[:3].tolist() == FIRST_IDS
    # Neighbours among the ids do not share experts more than chance would have it.
    same = np.mean(
        [len(set(a) & set(b)) for a, b in zip(first[:-1].tolist(), first[1:].tolist(), strict=True)]
    )
    assert same == pytest.approx(2 * 2 / 16, abs=0.12)


FIRST_IDS = [[5, 3], [7, 4], [13, 6]]


def test_which_experts_meet_in_a_hash_is_left_to_chance() -> None:
    # A table made of K neighbours in one round would know only E pairs.
    table = hash_table(4096, 16, 2, 0)
    pairs = {tuple(sorted(row)) for row in table.tolist()}
    assert len(pairs) == math.comb(16, 2)


@given(sizes=SIZES, tokens=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_random_routing_draws_k_distinct_experts(sizes, tokens: int, seed: int) -> None:
    num_experts, top_k = sizes
    ids = random_subsets(tokens, num_experts, top_k, torch.Generator().manual_seed(seed))
    assert ids.shape == (tokens, top_k)
    assert all(len(set(row)) == top_k for row in ids.tolist())
    again = random_subsets(tokens, num_experts, top_k, torch.Generator().manual_seed(seed))
    assert torch.equal(ids, again)


def test_p34_random_routing_lies_inside_the_predicted_band() -> None:
    mean, high = metrics.uniform_reference(16, 2, 1024, 1)
    violations = []
    for seed in range(60):
        ids = random_subsets(1024, 16, 2, torch.Generator().manual_seed(seed))
        violations.append(float(metrics.max_vio(sequence_counts(ids, 1, 16)[0].numpy())))
    assert np.mean(violations) == pytest.approx(mean, rel=0.15)
    assert np.mean([value > high for value in violations]) < 0.2


@given(
    seed=st.integers(0, 1000), normalize=st.booleans(), top_k=st.integers(1, 5),
    score_func=st.sampled_from(["sigmoid", "softmax"]),
)  # fmt: skip
def test_the_controls_weigh_by_the_routers_own_scores(seed, normalize, top_k, score_func) -> None:
    logits = np.random.default_rng(seed).standard_normal((7, 5)).astype(np.float32)
    config = ModelConfig(
        num_experts=5, top_k=top_k, routing="random", normalize_gates=normalize, score_func=score_func,
        route_scale=1.5,
    )  # fmt: skip
    ids = random_subsets(7, 5, top_k, torch.Generator().manual_seed(seed))
    fast = with_gates(torch.from_numpy(logits), ids, config)
    scores = routing.scores(logits, score_func)
    expected = routing.gate_weights(scores, ids.tolist(), normalize, 1.5)
    np.testing.assert_allclose(fast.gate_weights_TK.numpy(), expected, rtol=1e-5)
    assert torch.equal(fast.topk_expert_ids_TK, ids)


def test_p07_a_single_expert_of_a_control_is_not_normalised() -> None:
    config = ModelConfig(num_experts=5, top_k=1, routing="hash")
    logits = torch.tensor([[1.0, -1.0, 0.0, 2.0, 0.5]])
    fast = with_gates(logits, torch.tensor([[1]]), config)
    assert float(fast.gate_weights_TK) == pytest.approx(routing.sigmoid(-1.0))


@pytest.mark.parametrize("name", ["hash", "random"])
def test_the_language_loss_reaches_the_router_of_a_control(name: str) -> None:
    model = build_model(make_tiny_config("none", routing=name, init_std=0.2).model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(1))
    model(tokens, CombinedBalancer([])).logits_BSV.square().mean().backward()
    assert min(float(router.weight_ED.grad.norm()) for router in model.routers) > 1e-5


def test_a_token_id_goes_to_the_same_experts_wherever_it_stands() -> None:
    model = build_model(make_tiny_config("none", routing="hash").model, 256, 16, seed=0)
    tokens = torch.tensor([[5, 9, 5, 7], [9, 5, 5, 5]])
    output = model(tokens, CombinedBalancer([]))
    for layer, router in zip(output.layers, model.routers, strict=True):
        ids = layer.routing.topk_expert_ids_TK.view(2, 4, 2)
        assert torch.equal(ids[0, 0], ids[1, 3])
        assert torch.equal(ids[0, 1], ids[1, 0])
        assert torch.equal(ids[0, 0], router.hash_table_VK[5])
    assert not any("hash" in name for name in model.state_dict())


def test_random_routing_follows_the_seed_of_the_pass_and_nothing_else() -> None:
    model = build_model(make_tiny_config("none", routing="random").model, 256, 16, seed=0)
    tokens = torch.zeros(2, 16, dtype=torch.int64)

    def ids(seed: int) -> list:
        torch.manual_seed(seed + 99)
        output = model(tokens, CombinedBalancer([]), ForwardContext(seed=seed))
        return [layer.routing.topk_expert_ids_TK.tolist() for layer in output.layers]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert ids(1)[0] != ids(1)[1], "another draw in every layer"


@pytest.mark.parametrize("shared", [0, 1])
def test_the_dense_model_has_as_many_active_parameters_as_the_mixture(shared: int) -> None:
    config = make_tiny_config("none", num_shared_experts=shared, num_layers=3, num_dense_layers=1)
    mixture = build_model(config.model, 256, 16, seed=0)
    dense = build_model(config.with_setting("model.routing", "dense").model, 256, 16, seed=0)
    routers = sum(router.weight_ED.numel() for router in mixture.routers)
    idle = sum(
        p.numel() * (4 - 2) // 4 for name, p in mixture.named_parameters() if "experts" in name
    )  # K = 2 of E = 4 work
    total = sum(p.numel() for p in mixture.parameters())
    assert sum(p.numel() for p in dense.parameters()) == total - routers - idle
    assert dense.routers == []
    assert config.with_setting("model.routing", "dense").model.num_moe_layers == 0


@pytest.mark.parametrize("name", ["expert_choice", "expert_threshold", "hash", "random", "dense"])
def test_every_routing_starts_from_the_weights_of_token_choice(name: str) -> None:
    config = make_tiny_config("none", num_shared_experts=1, num_layers=3, num_dense_layers=1)
    plain = build_model(config.model, 256, 16, seed=3).state_dict()
    other = build_model(config.with_setting("model.routing", name).model, 256, 16, seed=3).state_dict()
    common = plain.keys() & other.keys()
    assert all(torch.equal(plain[key], other[key]) for key in common)
    own = {key for key in other.keys() - common if "threshold" not in key}
    if name == "dense":
        # Embedding, norms, attention and the first, dense layer are shared; two layers are its own.
        assert own == {f"blocks.{i}.ffn.{part}.weight" for i in (1, 2) for part in ("gate_up", "down")}
    else:
        assert not own
        assert plain.keys() <= other.keys()


def test_building_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for name in ("dense", "hash", "expert_threshold"):
        build_model(make_tiny_config("none", routing=name).model, 256, 16, seed=0)
    assert torch.equal(torch.rand(3), expected)
