"""Expert choice and expert thresholds against slow references, and what must always hold of them."""

import math
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pytest
import torch
from choice_strategies import lists
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import choosers, routing
from strategies import MARGIN, smallest_gap
from tiny import make_tiny_config

from explorer.config.run import ModelConfig
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.expert_choice import (
    ThresholdRouter,
    cut_off,
    expert_choice,
    expert_choice_mask,
    expert_threshold,
    initial_threshold,
    update_thresholds,
)
from explorer.model.router import Routing, sequence_counts


@dataclass(frozen=True)
class Case:
    """Router logits of T tokens without near ties between tokens of one expert."""

    logits_TE: np.ndarray
    top_k: int
    score_func: str
    chunk: int | None

    @property
    def scores_TE(self) -> list[list[float]]:
        if self.score_func == "sqrt_softplus":
            return [[math.sqrt(math.log1p(math.exp(x))) for x in row] for row in self.logits_TE.tolist()]
        return routing.scores(self.logits_TE, self.score_func)

    @property
    def num_experts(self) -> int:
        return self.logits_TE.shape[1]

    def config(self, name: str, **changes) -> ModelConfig:
        chunk = {"expert_choice_chunk": self.chunk} if name == "expert_choice" else {}
        return ModelConfig(
            num_experts=self.num_experts, top_k=self.top_k, score_func=self.score_func, routing=name,
            **chunk, **changes,
        )  # fmt: skip

    def by_choice(self, **changes) -> Routing:
        return expert_choice(torch.from_numpy(self.logits_TE), self.config("expert_choice", **changes))


@st.composite
def cases(draw) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_tokens, num_experts = draw(st.integers(1, 20)), draw(st.integers(1, 6))
    logits = draw(st.sampled_from([0.3, 1.0, 3.0])) * rng.standard_normal((num_tokens, num_experts))
    case = Case(
        logits_TE=logits.astype(np.float32),
        top_k=draw(st.integers(1, num_experts)),
        score_func=draw(st.sampled_from(["sigmoid", "softmax", "sqrt_softplus"])),
        chunk=draw(st.none() | st.integers(1, 24)),
    )
    if num_experts > 1:
        assume(smallest_gap(np.array(case.scores_TE).T.tolist()) > MARGIN)
    return case


@given(case=cases())
def test_expert_choice_equals_the_reference(case: Case) -> None:
    assume(case.num_experts > 1)
    fast = case.by_choice(route_scale=2.5)
    assert lists(fast) == choosers.experts_choose(case.scores_TE, case.top_k, case.chunk)
    scores = case.scores_TE
    for token, experts in enumerate(lists(fast)):
        # The gate is the score as it is, whoever else took the token.
        expected = [2.5 * scores[token][e] if e in experts else 0.0 for e in range(case.num_experts)]
        assert fast.gate_weights_TK[token].tolist() == pytest.approx(expected, rel=1e-5)


@given(case=cases())
def test_every_expert_takes_exactly_its_share_of_every_chunk(case: Case) -> None:
    scores = torch.from_numpy(case.logits_TE)
    chosen_TE = expert_choice_mask(scores, case.top_k, case.chunk)
    for group_NE in chosen_TE.split(case.chunk or len(scores)):
        capacity = math.ceil(len(group_NE) * case.top_k / case.num_experts)
        assert group_NE.sum(0).tolist() == [capacity] * case.num_experts


@given(case=cases(), normalize=st.booleans())
def test_slots_counts_and_gates_fit_together(case: Case, normalize: bool) -> None:
    fast = case.by_choice(normalize_gates=normalize)
    assert fast.topk_expert_ids_TK.shape == fast.gate_weights_TK.shape == case.logits_TE.shape
    assert torch.equal(fast.served_TK, fast.topk_expert_ids_TK < case.num_experts)
    assert not fast.gate_weights_TK[~fast.served_TK].any()
    counts_BE = sequence_counts(fast.topk_expert_ids_TK, 1, case.num_experts)
    assert counts_BE[0].tolist() == choosers.load(lists(fast), case.num_experts)
    # Normalised or not makes no difference: the paper's gate is the score.
    other = case.by_choice(normalize_gates=not normalize)
    assert torch.equal(fast.gate_weights_TK, other.gate_weights_TK)


def test_expert_choice_by_hand() -> None:
    # Two experts, K = 1, four tokens: each takes ceil(4 · 1 / 2) = 2. Both take token 3, nobody token 0.
    logits = torch.tensor([[-3.0, -3.0], [2.0, -1.0], [-1.0, 1.0], [1.0, 2.0]])
    config = ModelConfig(num_experts=2, top_k=1, routing="expert_choice")
    assert lists(expert_choice(logits, config)) == [[], [0], [1], [0, 1]]
    # In chunks of two, each takes one token of {0, 1} and one of {2, 3}.
    config = ModelConfig(num_experts=2, top_k=1, routing="expert_choice", expert_choice_chunk=2)
    assert lists(expert_choice(logits, config)) == [[], [0, 1], [], [0, 1]]
    # In chunks of three, each takes ceil(3 / 2) = 2 of {0, 1, 2}, and ceil(1 / 2) = 1 of the token left over.
    config = ModelConfig(num_experts=2, top_k=1, routing="expert_choice", expert_choice_chunk=3)
    assert lists(expert_choice(logits, config)) == [[], [0, 1], [0, 1], [0, 1]]


@given(case=cases(), seed=st.integers(0, 1000))
def test_the_order_of_tokens_in_a_chunk_decides_nothing(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(case.logits_TE))
    whole = Case(case.logits_TE, case.top_k, case.score_func, None)
    shuffled = Case(case.logits_TE[order], case.top_k, case.score_func, None)
    assert [lists(whole.by_choice())[i] for i in order] == lists(shuffled.by_choice())


@given(case=cases())
def test_thresholds_equal_the_reference(case: Case) -> None:
    assume(case.num_experts > 1)
    scores = case.scores_TE
    thresholds = [fmean(column) for column in zip(*scores, strict=True)]
    assume(min(abs(s - t) for row in scores for s, t in zip(row, thresholds, strict=True)) > MARGIN)
    config = case.config("expert_threshold", normalize_gates=True)
    fast = expert_threshold(torch.from_numpy(case.logits_TE), torch.tensor(thresholds), config)
    assert lists(fast) == choosers.above(scores, thresholds)
    for token, experts in enumerate(lists(fast)):
        expected = [scores[token][e] if e in experts else 0.0 for e in range(case.num_experts)]
        assert fast.gate_weights_TK[token].tolist() == pytest.approx(expected, rel=1e-5)


@given(case=cases(), memory=st.sampled_from([0.0, 0.5, 0.9]), is_first=st.booleans())
def test_the_update_of_thresholds_equals_the_reference(case: Case, memory: float, is_first: bool) -> None:
    config = case.config("expert_threshold", threshold_ema=memory)
    router = ThresholdRouter(4, case.num_experts, 0.02, 0.0)
    before = [0.1 * e for e in range(case.num_experts)]
    router.threshold_E = torch.tensor(before)
    scores = torch.tensor(case.scores_TE, dtype=torch.float32)
    update_thresholds([router], scores[None], config, is_first=is_first)
    expected = choosers.moved_thresholds(before, scores.tolist(), case.top_k, memory, is_first)
    assert router.threshold_E.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert router.threshold_E.dtype == torch.float32


@given(case=cases())
def test_the_cut_off_of_a_batch_lets_as_many_in_as_expert_choice_takes(case: Case) -> None:
    assume(case.top_k < case.num_experts)
    scores = torch.tensor(case.scores_TE, dtype=torch.float32)
    cut_E = cut_off(scores[None], case.top_k)[0]
    num_tokens = len(scores)
    exact = (num_tokens - 1) * case.top_k / case.num_experts
    # Strictly above the quantile; the token that is exactly at a whole place is not.
    expected = math.ceil(exact - 1e-9) if exact % 1 else int(exact)
    assert (scores > cut_E).sum(0).tolist() == [expected] * case.num_experts


def test_with_k_equal_to_e_everybody_is_let_in() -> None:
    config = ModelConfig(num_experts=3, top_k=3, routing="expert_threshold")
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    cut_E = cut_off(logits.sigmoid()[None], 3)[0]
    assert lists(expert_threshold(logits, cut_E, config)) == [[0, 1, 2]] * 7
    first_E = torch.full((3,), initial_threshold(config))
    assert lists(expert_threshold(logits, first_E, config)) == [[0, 1, 2]] * 7


@pytest.mark.parametrize("score_func", ["sigmoid", "softmax", "sqrt_softplus"])
@pytest.mark.parametrize(("num_experts", "top_k"), [(4, 2), (16, 2), (16, 6)])
def test_a_fresh_router_lets_about_k_experts_take_a_token(
    score_func: str, num_experts: int, top_k: int
) -> None:
    config = make_tiny_config(
        "none", routing="expert_threshold", num_experts=num_experts, top_k=top_k, score_func=score_func,
        hidden_size=64, init_std=0.05,
    )  # fmt: skip
    model = build_model(config.model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (16, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = model(tokens, CombinedBalancer([]))
    for layer in output.layers:
        assert int(layer.counts_BE.sum()) / 256 == pytest.approx(top_k, rel=0.25)


def test_a_token_that_nobody_takes_passes_only_shared_experts_and_the_residual() -> None:
    config = make_tiny_config("none", routing="expert_threshold", num_shared_experts=1)
    model = build_model(config.model, 256, 16, seed=0)
    for router in model.routers:
        router.threshold_E.fill_(2.0)  # above every sigmoid
    layer = model.blocks[0].ffn
    captured = {}
    layer.shared.register_forward_hook(lambda module, inputs, output: captured.update(shared=output))
    tokens = torch.randint(0, 256, (1, 5), generator=torch.Generator().manual_seed(1))
    layer.register_forward_hook(lambda module, inputs, output: captured.update(layer=output[0]))
    output = model(tokens, CombinedBalancer([]))
    assert torch.equal(captured["layer"].view_as(captured["shared"]), captured["shared"])
    assert all(int(part.counts_BE.sum()) == 0 for part in output.layers)
    output.logits_BSV.sum().backward()
    # Nothing reaches routers and routed experts, and nothing breaks.
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert not any(router.weight_ED.grad.any() for router in model.routers)


@pytest.mark.parametrize("dispatch", ["grouped", "loop", "dense"])
@pytest.mark.parametrize(
    "routing_", [{"routing": "expert_choice", "expert_choice_chunk": 12}, {"routing": "expert_threshold"}]
)
def test_p27_every_dispatch_agrees_where_tokens_have_any_number_of_experts(dispatch: str, routing_) -> None:
    tokens = torch.randint(0, 256, (3, 9), generator=torch.Generator().manual_seed(1))
    results = {}
    for kind in (dispatch, "dense"):
        config = make_tiny_config("none", dispatch=kind, num_experts=8, init_std=0.2, **routing_)
        model = build_model(config.model, 256, 16, seed=0)
        logits = model(tokens, CombinedBalancer([])).logits_BSV
        logits.square().mean().backward()
        results[kind] = (logits, model.routers[0].weight_ED.grad, model.blocks[0].ffn.experts.down_EFD.grad)
    for mine, oracle in zip(results[dispatch], results["dense"], strict=True):
        torch.testing.assert_close(mine, oracle, rtol=2e-4, atol=1e-5)


def test_p02_p14_thresholds_are_saved_stay_float32_and_exist_in_this_routing_only() -> None:
    config = make_tiny_config("none", routing="expert_threshold")
    model = build_model(config.model, 256, 16, seed=0)
    assert {n for n in model.state_dict() if "threshold" in n} == {
        f"blocks.{layer}.ffn.router.threshold_E" for layer in (0, 1)
    }
    model.routers[0].threshold_E.copy_(torch.tensor([0.500001, 0.500002, 0.500003, 0.500004]))
    kept = model.routers[0].threshold_E.clone()
    model.to(torch.bfloat16)
    assert model.routers[0].threshold_E.dtype == torch.float32
    assert torch.equal(model.routers[0].threshold_E, kept)
    assert not any("threshold" in name for name, _ in model.named_parameters())
    for name in ("token_choice", "expert_choice", "hash", "random", "dense"):
        other = build_model(make_tiny_config("none", routing=name).model, 256, 16, seed=0)
        assert not any("threshold" in entry for entry in other.state_dict()), name
