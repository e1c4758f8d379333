"""Count scopes of the bias and of shuffled tokens, and routers that stay as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from routes import route
from sentences import pattern
from small_corpus import use_small_corpus

from explorer.config.presets import tiny
from explorer.config.rule_text import AuxLoss, LossFree, parse_rules
from explorer.config.run import RunConfig
from explorer.corpus import load_corpus
from explorer.errors import ConfigError
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer, LayerBatch, balance_loss
from explorer.model.loss_balancers import sampled_counts
from explorer.model.router import sequence_counts
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step

RNG = np.random.default_rng(3)
MICRO_BATCHES = [
    torch.tensor(RNG.normal(size=(24, 5)) + RNG.normal(size=5), dtype=torch.float32) for _ in range(3)
]
SEQUENCES = 4


def moved(rule: LossFree) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The bias after one step from 0, and the counts [B, E] of every micro-batch."""
    combined, bias = CombinedBalancer([rule]), torch.zeros(5)
    routings = [route(logits, top_k=2) for logits in MICRO_BATCHES]
    counts = [sequence_counts(r.topk_expert_ids_TK, SEQUENCES, 5) for r in routings]
    seen = [
        combined.observe(LayerBatch(routing, counts_BE))
        for routing, counts_BE in zip(routings, counts, strict=True)
    ]
    pooled = [combined.pool([one for one in seen if one is not None])] if seen[0] is not None else None
    combined.update(bias, torch.stack(counts).sum((0, 1)), 0, pooled)
    return bias, counts


@pytest.mark.parametrize("scope", ["sequence", "micro_batch", "global_batch"])
def test_the_bias_moves_by_the_mean_sign_of_its_groups(scope: str) -> None:
    bias, counts = moved(LossFree(bias_update_rate=0.01, scope=scope))
    groups = [row for one in counts for row in one.tolist()]
    if scope == "micro_batch":
        groups = [one.sum(0).tolist() for one in counts]
    if scope == "global_batch":
        groups = [torch.stack(counts).sum((0, 1)).tolist()]
    expected = [
        0.01 * sum(np.sign(sum(group) / 5 - group[expert]) for group in groups) / len(groups)
        for expert in range(5)
    ]
    assert bias.tolist() == pytest.approx(expected, abs=1e-8)


def test_scopes_differ_for_the_sign_and_agree_for_the_proportional_rule() -> None:
    signs = [moved(LossFree(scope=scope))[0] for scope in ("sequence", "micro_batch", "global_batch")]
    assert not torch.equal(signs[0], signs[1])
    assert not torch.equal(signs[0], signs[2])
    linear = LossFree(update_rule="proportional")
    for scope in ("sequence", "micro_batch"):
        assert moved(replace(linear, scope=scope))[0].numpy() == pytest.approx(
            moved(linear)[0].numpy(), abs=1e-8
        )


def test_a_scope_and_a_running_mean_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=pattern("config.scope_and_mean")):
        LossFree(scope="sequence", load_ema=0.5)
    assert parse_rules("loss_free:scope=sequence")[0].label == "loss-free u=0.003 (sequence scope)"
    assert parse_rules("loss_free:scope=micro_batch")[0].short == "loss-free 0.003 micro-batch"


def test_a_sample_has_no_assignment_twice() -> None:
    counts = torch.tensor([6, 0, 1, 9])
    for seed in range(20):
        drawn = sampled_counts(counts, 7, seed)
        assert drawn.sum() == 7
        assert (drawn <= counts).all()
    assert torch.equal(sampled_counts(counts, 16, 0), counts)
    assert not torch.equal(sampled_counts(counts, 7, 0), sampled_counts(counts, 7, 1))


def test_samples_have_the_shares_of_the_step() -> None:
    counts = torch.tensor([60, 25, 15])
    mean = torch.stack([sampled_counts(counts, 10, seed) for seed in range(2000)]).double().mean(0)
    # Hypergeometric: the standard error of a mean is below 0.034.
    assert mean.tolist() == pytest.approx([6.0, 2.5, 1.5], abs=0.15)


def test_shuffled_is_the_micro_batch_where_that_is_the_step() -> None:
    scores, counts = torch.rand(24, 5), sequence_counts(torch.randint(0, 5, (24, 2)), SEQUENCES, 5)
    alone = balance_loss(scores, counts, scope="shuffled")
    assert alone == balance_loss(scores, counts, scope="micro_batch")
    assert balance_loss(scores, counts, scope="shuffled", step_counts_E=counts.sum(0)) == alone
    step = counts.sum(0) + torch.tensor([40, 0, 0, 0, 0])
    drawn = sampled_counts(step, 48, 5)
    expected = (drawn * 5 / 48 * (scores / scores.sum(-1, keepdim=True)).mean(0)).sum()
    shuffled = balance_loss(scores, counts, scope="shuffled", step_counts_E=step, seed=5)
    assert float(shuffled) == pytest.approx(float(expected), rel=1e-5)
    assert CombinedBalancer([AuxLoss(scope="shuffled")]).needs_step_counts


def after_two_steps(monkeypatch: pytest.MonkeyPatch, config: RunConfig) -> torch.nn.Module:
    use_small_corpus(monkeypatch)
    corpus = load_corpus(config.corpus)
    training = config.training
    model = build_model(config.model, corpus.vocab_size, training.sequence_length, training.seed)
    optimizer = make_optimizer(model, config)
    balancer = CombinedBalancer(config.balancer.rules)
    for step in range(2):
        train_step(model, optimizer, balancer, config, corpus, step, 1e-2)
    return model


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_frozen_router_keeps_its_weights_and_gets_a_bias(
    monkeypatch: pytest.MonkeyPatch, is_frozen: bool
) -> None:
    config = tiny().with_settings(
        {"balancer": "quantile", "model.frozen_router": is_frozen, "training.gradient_probe_interval": 1}
    )
    model = after_two_steps(monkeypatch, config)
    training = config.training
    fresh = build_model(
        config.model,
        model.embedding.weight.shape[0],  # type: ignore[union-attr,index]
        training.sequence_length,
        training.seed,
    )
    for router, new in zip(model.routers, fresh.routers, strict=True):  # type: ignore[arg-type]
        assert torch.equal(router.weight_ED, new.weight_ED) == is_frozen
        assert router.expert_bias_E.abs().sum() > 0


def test_a_dense_model_has_no_router_to_freeze() -> None:
    with pytest.raises(ConfigError, match=pattern("config.frozen_dense")):
        tiny().with_settings({"model.routing": "dense", "model.frozen_router": True})
    assert "frozen_router" not in tiny().to_dict()["model"]
    assert "scope" not in tiny().with_settings({"balancer": "loss_free"}).to_dict()["balancer"]["rules"][0]
