"""Batch-aware selection inside the forward pass, against loops over tokens and experts."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentences import pattern
from task_models import make_trained

from explorer.errors import ConfigError
from explorer.model.router import Routing, route
from explorer.routing import batch_selection as policies
from explorer.routing.spec import RouteSpec
from explorer.tasks.selection import (
    Choice,
    Lynx,
    Oea,
    Reselection,
    SelectionRule,
    StaticTopK,
    check_selectable,
    decode_groups,
    default_rules,
    prefill_groups,
)


def reference(
    rule: SelectionRule, compared: Any, logits: Any, groups: list[int], top_k: int
) -> list[set[int]]:
    """The experts of every token, by loops."""
    experts = range(len(compared[0]))
    best = [sorted(experts, key=lambda e: (-row[e], e)) for row in compared]
    selected = [set(order[:top_k]) for order in best]
    for group in set(groups) - {-1}:
        members = [t for t, g in enumerate(groups) if g == group]
        if isinstance(rule, StaticTopK):
            for t in members:
                selected[t] = set(best[t][: rule.k])
            continue
        kept = set()
        if isinstance(rule, Oea):
            kept = {e for t in members for e in best[t][: rule.k0]}
        if isinstance(rule, Lynx):
            kept = lynx_kept(rule, best, logits, members, top_k)
        for t in members:
            selected[t] = set([e for e in best[t] if e in kept][:top_k])
    return selected


def lynx_kept(rule: Lynx, best: list[list[int]], logits: Any, members: list[int], top_k: int) -> set[int]:
    score = [0.0] * len(best[0])
    for t in members:
        for e in best[t]:
            score[e] += max(2, len(members)) ** bin_of(rule, logits[t][e] - logits[t][best[t][0]])
    full = {e for t in members for e in best[t][:top_k]}
    number = max(top_k, math.ceil(rule.keep * len(full) - 1e-9))
    rank_sum = [sum(best[t].index(e) for t in members) for e in range(len(score))]
    kept = set(sorted(range(len(score)), key=lambda e: (-score[e], rank_sum[e], e))[:number])
    for t in members:
        if bin_of(rule, logits[t][best[t][1]] - logits[t][best[t][0]]) < 0:
            kept.add(best[t][0])
    return kept


def bin_of(rule: Lynx, difference: float) -> int:
    return min(0, max(-rule.beta, math.floor(rule.alpha * difference)))


def routed(rng: np.random.Generator, tokens: int, experts: int, top_k: int) -> Routing:
    logits = torch.from_numpy(rng.normal(size=(tokens, experts)) * 2).float()
    bias = torch.from_numpy(rng.normal(size=experts) * 0.1).float()
    return route(logits, RouteSpec(top_k=top_k), expert_bias_E=bias)


rules = st.one_of(
    st.builds(StaticTopK, st.integers(1, 6)),
    st.builds(Oea, st.integers(1, 3)),
    st.builds(
        Lynx,
        keep=st.sampled_from([0.0, 0.4, 0.75, 1.0]),
        alpha=st.sampled_from([0.3, 1.0, 4.0]),
        beta=st.integers(1, 5),
    ),
)


@given(
    rule=rules,
    seed=st.integers(0, 2**32),
    top_k=st.integers(1, 4),
    groups=st.lists(st.integers(-1, 3), min_size=1, max_size=12),
)
def test_the_selection_is_that_of_the_loops(
    rule: SelectionRule, seed: int, top_k: int, groups: list[int]
) -> None:
    routing = routed(np.random.default_rng(seed), len(groups), 6, top_k)
    reselection = Reselection(rule, torch.tensor(groups))
    result = reselection(routing, 0)
    assert routing.compared_TE is not None
    expected = reference(
        rule, routing.compared_TE.tolist(), routing.router_logits_TE.double().tolist(), groups, top_k
    )
    rows = result.topk_expert_ids_TK.tolist()
    assert [{e for e in row if e < 6} for row in rows] == expected
    in_groups = [(g, experts) for g, experts in zip(groups, expected, strict=True) if g >= 0]
    assert reselection.assignments == [sum(len(experts) for _, experts in in_groups)]
    unions = [set().union(*(c for g, c in in_groups if g == group)) for group in {g for g, _ in in_groups}]
    assert reselection.distinct == [sum(map(len, unions))]
    busiest = [
        max(sum(e in c for g, c in in_groups if g == group) for e in range(6))
        for group in {g for g, _ in in_groups}
    ]
    assert reselection.busiest == [sum(busiest)]


@given(seed=st.integers(0, 2**32), k=st.integers(1, 5))
def test_gates_are_the_routers_scores_of_the_chosen(seed: int, k: int) -> None:
    """Uneven numbers of experts too: an empty slot has gate 0, the others sum to 1."""
    routing = routed(np.random.default_rng(seed), 5, 6, 2)
    result = Reselection(StaticTopK(k), torch.tensor([0, -1, 0, -1, 0]))(routing, 0)
    scores = routing.scores_TE.tolist()
    for t, (ids, weights) in enumerate(
        zip(result.topk_expert_ids_TK.tolist(), result.gate_weights_TK.tolist(), strict=True)
    ):
        experts = [e for e in ids if e < 6]
        total = sum(scores[t][e] for e in experts)
        assert weights[: len(experts)] == pytest.approx([scores[t][e] / total for e in experts])
        assert not any(weights[len(experts) :])


TOKENS = torch.randint(65, 90, (4, 12), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("rule", [StaticTopK(2), Oea(2)], ids=lambda rule: rule.label)
@pytest.mark.parametrize("balancer", ["none", "loss_free"])
def test_rules_that_keep_everything_change_no_logit(rule: SelectionRule, balancer: str) -> None:
    trained = make_trained(balancer)
    plain = trained.forward(TOKENS)
    same = trained.forward(TOKENS, reroute=Reselection(rule, decode_groups(4, 12, 4)))
    assert torch.equal(same.logits_BSV, plain.logits_BSV)
    assert [x.counts_BE.tolist() for x in same.layers] == [x.counts_BE.tolist() for x in plain.layers]


def test_a_model_with_smaller_k_is_the_model_with_eval_top_k() -> None:
    """The project's own way to evaluate with another K is the oracle; normalised gates."""
    trained = make_trained(num_experts=4, top_k=2)
    oracle = make_trained(num_experts=4, top_k=2, eval_top_k=3)
    oracle.model.load_state_dict(trained.model.state_dict())
    ours = trained.forward(TOKENS, reroute=Reselection(StaticTopK(3), prefill_groups(4, 12, 1)))
    assert torch.allclose(ours.logits_BSV, oracle.forward(TOKENS).logits_BSV, atol=1e-5)


@pytest.mark.parametrize("dispatch", ["loop", "grouped", "dense"])
def test_uneven_experts_give_the_same_output_by_every_dispatch(dispatch: str) -> None:
    trained = make_trained(num_experts=4, top_k=2, dispatch=dispatch, hidden_size=16, expert_hidden_size=16)
    groups = decode_groups(4, 12, 2).where(torch.arange(48) % 3 > 0, -1)
    ours = trained.forward(TOKENS, reroute=Reselection(Oea(1), groups)).logits_BSV
    dense = make_trained(num_experts=4, top_k=2, dispatch="dense", hidden_size=16, expert_hidden_size=16)
    assert torch.allclose(
        ours, dense.forward(TOKENS, reroute=Reselection(Oea(1), groups)).logits_BSV, atol=1e-4
    )


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_a_token_alone_keeps_its_experts_under_lynx(keep: float) -> None:
    """However coarse the bins are; without a bias, which would rank otherwise than the logits."""
    logits = torch.randn(20, 8, generator=torch.Generator().manual_seed(4))
    routing = route(logits, RouteSpec(top_k=3))
    for alpha in (0.01, 1.0, 50.0):
        result = Reselection(Lynx(keep, alpha=alpha), torch.arange(20))(routing, 0)
        assert result.topk_expert_ids_TK.tolist() == routing.topk_expert_ids_TK.tolist()


@given(
    seed=st.integers(0, 2**32),
    top_k=st.integers(1, 4),
    batch=st.sampled_from([1, 2, 4, 8]),
    keep=st.sampled_from([0.0, 0.5, 0.75]),
    alpha=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_lynx_is_the_same_on_logged_scores(
    seed: int, top_k: int, batch: int, keep: float, alpha: float
) -> None:
    """Coarse logits, so that many scores are equal."""
    logits = np.random.default_rng(seed).integers(-4, 4, (3, batch, 6)) / 2
    ranks = policies.preference_ranks(logits)
    logged = policies.lynx(ranks, logits, top_k, policies.LynxKnobs(alpha=alpha, keep=keep))
    choice = Choice(
        ranks_TE=torch.from_numpy(ranks.reshape(-1, 6)),
        logits_TE=torch.from_numpy(logits.reshape(-1, 6)),
        groups_T=torch.arange(3).repeat_interleave(batch),
        num_groups=3,
        top_k=top_k,
    )
    assert Lynx(keep, alpha=alpha).mask(choice).tolist() == logged.reshape(-1, 6).tolist()


def test_training_never_reroutes() -> None:
    from explorer.training.micro_batches import pass_context

    assert pass_context(make_trained().config.training, 0, 0).reroute is None


def test_groups_of_decoding_and_prefill() -> None:
    assert decode_groups(3, 2, 2).tolist() == [0, 1, 0, 1, 2, 3]
    assert prefill_groups(3, 2, 2).tolist() == [0, 0, 0, 0, 1, 1]


def test_the_default_rules_fit_both_shapes() -> None:
    assert [rule.label for rule in default_rules(2, 8)] == [
        "top-1", "top-2", "top-3", "top-4", "OEA k0=1", "Lynx keep=0.5", "Lynx keep=0.75",
    ]  # fmt: skip
    assert [rule.label for rule in default_rules(8, 32)][4:8] == ["top-8", "OEA k0=1", "OEA k0=2", "OEA k0=4"]


@pytest.mark.parametrize("changes", [{"routing": "hash"}, {"top_p": 0.5}, {"capacity_factor": 1.0}])
def test_models_without_a_fixed_choice_by_score_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=pattern("tasks.not_selectable")):
        check_selectable(make_trained(**changes))
