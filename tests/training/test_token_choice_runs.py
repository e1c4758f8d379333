"""Tiny runs with every setting of token choice: what is counted, recorded, evaluated and resumed."""

from functools import cache

import numpy as np
import polars as pl
import pytest
import torch
from runs_in_memory import Trained, rows, train_tiny
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.rule_text import LossFree
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.capacity import capacity
from explorer.model.router import ForwardContext
from explorer.recording import RunFolder, run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training import micro_batches, train

STEP_TOKENS, MICRO_TOKENS, EXPERTS = 128, 64, 4
SETTINGS = {
    "sqrt_softplus": {"score_func": "sqrt_softplus"},
    "softmax gate": {"gate_func": "softmax"},
    "groups": {"num_experts": 8, "num_groups": 4, "top_k_groups": 2},
    "router noise": {"router_noise": 0.3},
    "noisy top-k": {"noisy_top_k": True},
    "top-p": {"top_p": 0.6, "score_func": "softmax", "init_std": 0.2},
    "eval top-k": {"eval_top_k": 3},
    "top-p, eval top-k": {"top_p": 0.6, "eval_top_k": 1},
    "capacity": {"capacity_factor": 0.75},
    "position": {"capacity_factor": 0.75, "drop_policy": "position"},
    "random second": {"random_second": True, "init_std": 0.2},
    "GShard": {"random_second": True, "capacity_factor": 1.0, "score_func": "softmax"},
    "top-p, capacity": {"top_p": 0.6, "capacity_factor": 1.0},
}
RANDOM = ("router noise", "noisy top-k", "random second", "GShard")
FIXED_K = [name for name, s in SETTINGS.items() if not s.keys() & {"top_p", "random_second"}]


@cache
def trained(name: str, balancer: str = "loss_free:u=0.01+seq_aux") -> Trained:
    return train_tiny(balancer, probe_tokens=64, **SETTINGS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_trains_and_evaluates(name: str) -> None:
    run = trained(name)
    losses = [record.lm_loss for record in run.of(StepRecord)]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert np.isfinite([record.lm_loss for record in run.of(EvalRecord)]).all()
    assert run.result.state == "finished"
    # The bias followed the loads: it moved in every step.
    biases = np.stack([record.expert_bias_LE for record in run.of(LoadRecord)])
    assert (np.abs(np.diff(biases, axis=0)).max((1, 2)) > 0).all()
    for record in run.of(LayerRecord):
        assert record.aux_loss_L is not None


@pytest.mark.parametrize("name", FIXED_K)
def test_p28_demand_is_tokens_times_k(name: str) -> None:
    for record in trained(name).of(LoadRecord):
        assert record.tokens_LE.sum(1).tolist() == [STEP_TOKENS * 2] * 2


@pytest.mark.parametrize("name", SETTINGS)
def test_p28_served_plus_dropped_is_demand_and_within_capacity(name: str) -> None:
    config = trained(name).config.model
    dropped_anything = False
    for record in trained(name).of(LoadRecord):
        dropped = record.dropped_tokens_LE
        if config.capacity_factor is None:
            assert dropped is None or not dropped.any()
            continue
        most = 2 * capacity(config.capacity_factor, MICRO_TOKENS, 2, EXPERTS)
        assert (dropped >= 0).all()
        assert (record.tokens_LE - dropped <= most).all()
        assert (dropped >= record.tokens_LE - most).all()
        dropped_anything |= bool(dropped.any())
    assert dropped_anything == (config.capacity_factor is not None)


@pytest.mark.parametrize("name", ["top-p", "random second"])
def test_a_token_may_have_fewer_experts_and_all_counts_agree(name: str) -> None:
    run = trained(name)
    per_token = [record.tokens_LE.sum(1) / STEP_TOKENS for record in run.of(LoadRecord)]
    assert np.all(np.stack(per_token) > 1)
    assert np.all(np.stack(per_token) < (EXPERTS if name == "top-p" else 2))
    # Counts of the sampled sequences are those of the step.
    by_step = {record.step: record.tokens_LE for record in run.of(LoadRecord)}
    sums: dict[int, np.ndarray] = {}
    for record in run.of(SequenceLoadRecord):
        if record.split == "train":
            sums[record.step] = sums.get(record.step, 0) + record.tokens_BLE.sum(0)
    assert sorted(sums) == [0, 4, 8]
    for step, tokens_LE in sums.items():
        assert np.array_equal(tokens_LE, by_step[step])


@pytest.mark.parametrize(
    ("name", "per_token"), [("eval top-k", 3), ("top-p, eval top-k", 1), ("random second", 2), ("groups", 2)]
)
def test_evaluation_uses_its_own_k_and_draws_nothing(name: str, per_token: int) -> None:
    run = trained(name)
    tokens = {(r.step, r.domain): r.num_tokens for r in run.of(EvalRecord)}
    for record in run.of(EvalLoadRecord):
        expected = tokens[record.step, record.domain] * per_token
        assert record.tokens_LE.sum(1).tolist() == [expected] * 2
    for record in run.of(ProbeRecord):
        num_experts = record.router_logits_PLE.shape[-1]
        assert ((record.selected_experts_PLK < num_experts).sum(-1) == per_token).all()


def test_top_p_is_evaluated_with_top_p() -> None:
    run = trained("top-p")
    for record in run.of(ProbeRecord):
        taken = (record.selected_experts_PLK < EXPERTS).sum(-1)
        assert record.selected_experts_PLK.shape[-1] == EXPERTS
        assert taken.min() >= 1
        assert len(np.unique(taken)) > 1


@pytest.mark.parametrize("name", SETTINGS)
def test_switched_slots_never_exceed_the_demand(name: str) -> None:
    demand = {record.step: record.tokens_LE.sum(1) for record in trained(name).of(LoadRecord)}
    sampled = [r for r in trained(name).of(LayerRecord) if r.switched_slots_L is not None]
    assert [record.step for record in sampled] == [0, 4, 8]
    assert sampled[0].switched_slots_L.tolist() == [0, 0]  # the bias is 0 in the first step, noise or not
    for record in sampled:
        assert (record.switched_slots_L <= demand[record.step]).all()
        assert record.score_margin_L is not None
        assert (record.score_margin_L > 0).all()


@pytest.mark.parametrize("stop", [5, 8])
@pytest.mark.parametrize("name", RANDOM)
def test_p15_a_resumed_run_with_noise_equals_the_unbroken_one_bit_for_bit(name, stop, tmp_path) -> None:
    arm, changes = "loss_free:u=0.01+seq_aux", {"probe_tokens": 64, **SETTINGS[name]}
    first = train_tiny(arm, stop_after=stop, checkpoint_dir=tmp_path, **changes)
    rest = train_tiny(arm, checkpoint_dir=tmp_path, resume_from=stop, **changes)
    whole = trained(name)
    assert rows(first) == [row for row in rows(whole) if row["step"] < stop]
    assert rows(rest) == [row for row in rows(whole) if row["step"] >= stop]
    assert rest.weights_equal(whole)


@pytest.mark.parametrize("name", [*RANDOM, "top-p", "capacity"])
def test_the_pass_that_counts_sees_what_the_pass_that_trains_does(name: str, monkeypatch) -> None:
    """f of the global auxiliary loss comes from a pass of its own: the same noise, or it is another f."""
    seen = []
    original = micro_batches.count_whole_step

    def watched(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(micro_batches, "count_whole_step", watched)
    run = train_tiny("aux_loss:coeff=0.1", **SETTINGS[name])
    recorded = [record.tokens_LE for record in run.of(LoadRecord)]
    assert len(seen) == len(recorded) == 12
    for counted, trained_with in zip(seen, recorded, strict=True):
        assert counted.tolist() == trained_with.tolist()


@pytest.mark.parametrize("name", ["noisy top-k", "router noise", "random second", "top-p", "capacity"])
def test_initial_weights_are_those_of_the_plain_model(name: str) -> None:
    size = {"init_std": 0.2}
    plain, other = (
        build_model(make_tiny_config(**(s | size)).model, 256, 16, seed=3).state_dict()
        for s in ({}, SETTINGS[name])
    )
    extra = other.keys() - plain.keys()
    assert {key.rpartition(".")[2] for key in extra} == (
        {"noise_weight_ED"} if name == "noisy top-k" else set()
    )
    assert all(torch.equal(other[key], plain[key]) for key in plain)
    assert all(not other[key].any() for key in extra)


def forward(name: str, context: ForwardContext, seed: int = 3) -> torch.Tensor:
    settings = SETTINGS.get(name, {}) | {"init_std": 0.2}
    model = build_model(make_tiny_config(**settings).model, 256, 16, seed=seed)
    tokens = torch.randint(0, 256, (4, 16), generator=torch.Generator().manual_seed(0))
    return model(tokens, CombinedBalancer([LossFree()]), context).logits_BSV.detach()


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_draws_the_same_another_does_not_and_evaluation_draws_none(name: str) -> None:
    same = [forward(name, ForwardContext(is_training=True, seed=5)) for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], forward(name, ForwardContext(is_training=True, seed=6)))
    evaluated = [forward(name, ForwardContext(seed=seed)) for seed in (5, 6)]
    assert torch.equal(*evaluated)
    if name in ("router noise", "noisy top-k", "random second"):
        assert torch.equal(evaluated[0], forward("plain", ForwardContext()))


def test_layers_and_micro_batches_draw_different_noise() -> None:
    model = build_model(make_tiny_config(noisy_top_k=True, init_std=1e-9).model, 256, 16, seed=0)
    tokens = torch.zeros(4, 16, dtype=torch.int64)
    contexts = [ForwardContext(is_training=True, seed=seed) for seed in (1, 2)]
    ids = [
        layer.routing.topk_expert_ids_TK
        for context in contexts
        for layer in model(tokens, CombinedBalancer([]), context).layers
    ]
    # All logits are 0: noise alone chooses, and differs by token, layer and seed.
    assert all(len({tuple(row) for row in each.tolist()}) > 4 for each in ids)
    assert len({tuple(each.flatten().tolist()) for each in ids}) == 4


def test_the_language_loss_reaches_the_noise_weight_and_it_is_learned() -> None:
    run = trained("noisy top-k")
    learned = [v for key, v in run.model.state_dict().items() if key.endswith("noise_weight_ED")]
    assert len(learned) == 2
    assert all(float(weight.norm()) > 1e-4 for weight in learned)


def test_router_noise_chooses_and_does_not_weigh() -> None:
    model = build_model(make_tiny_config(router_noise=2.0, normalize_gates=False).model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (4, 16), generator=torch.Generator().manual_seed(0))
    layer = model(tokens, CombinedBalancer([]), ForwardContext(is_training=True)).layers[0].routing
    clean = layer.router_logits_TE.sigmoid()
    assert torch.equal(layer.scores_TE, clean)
    assert torch.equal(layer.gate_weights_TK, clean.gather(1, layer.topk_expert_ids_TK))
    assert not torch.equal(layer.topk_expert_ids_TK, clean.topk(2).indices)


def test_noisy_top_k_weighs_by_the_noisy_scores_and_keeps_the_logits_clean() -> None:
    config = make_tiny_config(noisy_top_k=True, score_func="softmax")
    model = build_model(config.model, 256, 16, seed=0)
    tokens = torch.randint(0, 256, (4, 16), generator=torch.Generator().manual_seed(0))
    routing, clean = (
        model(tokens, CombinedBalancer([]), ForwardContext(is_training=flag)).layers[0].routing
        for flag in (True, False)
    )
    assert torch.equal(routing.router_logits_TE, clean.router_logits_TE)
    assert not torch.equal(routing.scores_TE, clean.scores_TE)
    # Shazeer et al., eq. 3: softmax of the kept noisy logits, which is the noisy softmax divided by its sum.
    kept = routing.scores_TE.log().gather(1, routing.topk_expert_ids_TK).softmax(-1)
    torch.testing.assert_close(routing.gate_weights_TK, kept, rtol=1e-4, atol=1e-6)
    assert torch.equal(routing.topk_expert_ids_TK, routing.scores_TE.topk(2).indices)


@pytest.mark.parametrize("name", ["capacity", "top-p"])
def test_a_recorded_run_holds_dropped_tokens_and_lists_of_any_length(name: str, tmp_path) -> None:
    config = make_tiny_config("loss_free:u=0.01", probe_tokens=64, **SETTINGS[name])
    info = run_info_from_config(config, run_id="run", corpus={"name": "made"}, device="cpu", versions={})
    with RunWriter.create(tmp_path, info) as recorder:
        train(config, recorder, corpus=make_tiny_corpus())
    folder = RunFolder(tmp_path / "run")
    loads = folder.read("expert_loads")
    demand = loads.group_by("step", "layer").agg(pl.col("tokens").sum(), pl.col("dropped_tokens").sum())
    experts = folder.read("probe_scores")["selected_experts"]
    if name == "capacity":
        assert demand["tokens"].unique().to_list() == [STEP_TOKENS * 2]
        assert demand["dropped_tokens"].sum() > 0
        assert (loads["dropped_tokens"] <= loads["tokens"]).all()
        assert experts.list.len().unique().to_list() == [2]
    else:
        assert demand["dropped_tokens"].sum() == 0
        assert experts.list.len().n_unique() > 1
        assert experts.list.len().min() >= 1
        assert experts.list.max().max() < EXPERTS


@pytest.mark.parametrize("routing", ["hash", "random"])
def test_p28_capacity_limits_the_controls_too(routing: str) -> None:
    run = train_tiny("none", routing=routing, capacity_factor=0.75, drop_policy="position")
    most = 2 * capacity(0.75, MICRO_TOKENS, 2, EXPERTS)
    for record in run.of(LoadRecord):
        assert record.tokens_LE.sum(1).tolist() == [STEP_TOKENS * 2] * 2
        assert record.dropped_tokens_LE.sum() > 0
        assert (record.tokens_LE - record.dropped_tokens_LE <= most).all()
