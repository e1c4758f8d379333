"""The training loop, seen through a recorder that keeps everything in memory.

Every arm trains once (12 steps of 2 x 64 tokens); the tests read what was recorded.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import biases, figures
from runs_in_memory import ARMS, Trained, rows, train_tiny, trained
from sentences import sentence
from tiny import make_tiny_config, make_tiny_corpus

from explorer import metrics
from explorer.config.rule_text import AuxLoss, LossFree
from explorer.errors import TrainingError
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer, LossFreeBalancing, balance_loss
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    LayerRecord,
    LoadRecord,
    MemoryRecorder,
    ProbeRecord,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training import train
from explorer.training.schedules import learning_rate, probe_steps
from explorer.training.step import train_step

WITH_BIAS = [arm for arm in ARMS if "loss_free" in arm]


WITH_AUX = [arm for arm in ARMS if "aux" in arm]


@pytest.mark.parametrize("arm", ARMS)
def test_p28_counts_sum_to_tokens_times_k_in_every_step_and_layer(arm: str) -> None:
    run = trained(arm)
    loads = run.of(LoadRecord)
    assert [load.step for load in loads] == list(range(12))
    for load in loads:
        assert load.tokens_LE.dtype == np.int64
        assert load.tokens_LE.sum(-1).tolist() == [128 * 2] * 2
    for load in run.of(EvalLoadRecord):
        expected = 2 * sum(
            e.num_tokens for e in run.of(EvalRecord) if (e.step, e.domain) == (load.step, load.domain)
        )
        assert load.tokens_LE.sum(-1).tolist() == [expected] * 2


@pytest.mark.parametrize("arm", ARMS)
def test_steps_are_described_one_by_one(arm: str) -> None:
    run = trained(arm)
    steps = run.of(StepRecord)
    assert [s.step for s in steps] == list(range(12))
    assert [s.tokens_seen for s in steps] == [128 * (s + 1) for s in range(12)]
    training = run.config.training
    assert [s.learning_rate for s in steps] == [learning_rate(training, s) for s in range(12)]
    assert all(s.grad_norm > 0 for s in steps)
    times = [s.wall_time_s for s in steps]
    assert times == sorted(times)


@pytest.mark.parametrize("arm", WITH_BIAS)
def test_p09_p11_bias_follows_the_recorded_counts_exactly_one_update_a_step(arm: str) -> None:
    run = trained(arm)
    rule = next(rule for rule in run.config.balancer.rules if isinstance(rule, LossFree))
    loads = run.of(LoadRecord)
    expected = np.full((2, 4), biases.NEUTRAL[rule.bias_form])
    for load in loads:
        # The row of step s holds the bias used in it, before its update.
        np.testing.assert_allclose(load.expert_bias_LE, expected, rtol=1e-5, atol=1e-7)
        assert load.expert_bias_LE.dtype == np.float32
        rate = rule.bias_update_rate
        if rule.freeze_after_step is not None and load.step >= rule.freeze_after_step:
            rate = 0.0
        expected = np.array(
            [
                biases.updated(bias, counts, rate, rule.update_rule, rule.centred)
                for bias, counts in zip(load.expert_bias_LE, load.tokens_LE.tolist(), strict=True)
            ]
        )
        assert run.of(StepRecord)[load.step].bias_update_rate == rate
    assert np.abs(loads[-1].expert_bias_LE - loads[0].expert_bias_LE).max() > 0
    # The last update shows in the evaluation that follows it.
    for load in run.of(EvalLoadRecord):
        if load.step == 12:
            np.testing.assert_allclose(load.expert_bias_LE, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("arm", WITH_BIAS)
def test_an_evaluation_at_s_uses_the_bias_of_s(arm: str) -> None:
    run = trained(arm)
    used = {load.step: load.expert_bias_LE for load in run.of(LoadRecord)}
    steps = [load.step for load in run.of(EvalLoadRecord)]
    assert sorted(set(steps)) == [0, 5, 10, 12]
    for load in run.of(EvalLoadRecord):
        if load.step in used:
            assert np.array_equal(load.expert_bias_LE, used[load.step])


@pytest.mark.parametrize("arm", sorted(set(ARMS) - set(WITH_BIAS)))
def test_without_a_bias_rule_no_bias_is_recorded(arm: str) -> None:
    run = trained(arm)
    assert all(load.expert_bias_LE is None for load in run.of(LoadRecord) + run.of(EvalLoadRecord))
    assert all(step.bias_update_rate is None for step in run.of(StepRecord))
    assert all(layer.switched_slots_L is None for layer in run.of(LayerRecord))
    assert all(float(router.expert_bias_E.abs().max()) == 0 for router in run.model.routers)


def test_p11_the_balancer_is_asked_once_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    update = LossFreeBalancing.update

    def spy(self, expert_bias, counts, step, observed=None):
        calls.append((step, counts.tolist()))
        update(self, expert_bias, counts, step, observed)

    monkeypatch.setattr(LossFreeBalancing, "update", spy)
    run = train_tiny("loss_free", gradient_accumulation_steps=3, eval_interval=1)
    # Not per micro-batch, not in an evaluation, and from the counts of the whole step.
    recorded = [(load.step, load.tokens_LE.tolist()) for load in run.of(LoadRecord)]
    assert calls == recorded


@pytest.mark.parametrize("arm", ["loss_free:u=0.01", "loss_free+seq_aux", "aux_loss"])
def test_p16_evaluation_changes_nothing(arm: str) -> None:
    rare = train_tiny(arm, eval_interval=1000)
    often = train_tiny(arm, eval_interval=1, probe_tokens=32)
    assert rows(rare, StepRecord) == rows(often, StepRecord)
    assert rows(rare, LoadRecord) == rows(often, LoadRecord)
    assert rows(rare, LayerRecord) == rows(often, LayerRecord)
    assert len(often.of(EvalRecord)) > len(rare.of(EvalRecord))
    assert rare.weights_equal(often)


def test_the_same_configuration_trains_the_same_run() -> None:
    assert rows(trained("loss_free+seq_aux")) == rows(train_tiny("loss_free+seq_aux"))
    assert rows(trained("none"), StepRecord) != rows(train_tiny("none", seed=1), StepRecord)


@pytest.mark.parametrize("arm", ARMS[1:])
def test_arms_of_one_seed_share_initial_weights_and_data_bit_for_bit(arm: str) -> None:
    control, other = trained("none"), trained(arm)
    assert control.initial.keys() == other.initial.keys()
    for name, value in control.initial.items():
        if "expert_bias" not in name:
            assert torch.equal(value, other.initial[name]), name
    # An arm may look at a batch twice (to count the whole step first), but not at another one.
    assert control.batches == other.batches


def test_another_seed_has_other_weights_and_other_data() -> None:
    first, second = trained("none"), train_tiny("none", seed=1)
    assert not torch.equal(first.initial["embedding.weight"], second.initial["embedding.weight"])
    assert first.batches != second.batches


@pytest.mark.parametrize(
    "arm", ["aux_loss:coeff=1000", "aux_loss:coeff=1000,scope=sequence", "z_loss:coeff=1000"]
)
def test_p25_language_loss_is_logged_without_aux_and_z(arm: str) -> None:
    control, run = trained("none"), train_tiny(arm)
    # Before the first update both models are the same, so a loss that has 1,000 x aux in it would show.
    assert run.of(StepRecord)[0].lm_loss == control.of(StepRecord)[0].lm_loss
    for mine, theirs in zip(run.of(EvalRecord)[:2], control.of(EvalRecord)[:2], strict=True):
        assert mine == theirs
    assert run.of(StepRecord)[0].grad_norm > 10 * control.of(StepRecord)[0].grad_norm


@pytest.mark.parametrize("arm", ["aux_loss:coeff=0.1", "aux_loss:score_norm=raw", "loss_free+aux_loss"])
def test_p20_p21_the_logged_aux_loss_is_f_times_p_of_the_recorded_loads(arm: str) -> None:
    run = trained(arm)
    raw = "raw" in arm
    layers = {record.step: record for record in run.of(LayerRecord)}
    for load, step in zip(run.of(LoadRecord), run.of(StepRecord), strict=True):
        f = 4 * load.tokens_LE / load.tokens_LE.sum(-1, keepdims=True)
        p = load.mean_score_LE if raw else load.mean_normalised_score_LE
        # Global batch: exact over the two micro-batches of the step. Unscaled, layer by layer.
        np.testing.assert_allclose(layers[load.step].aux_loss_L, (f * p).sum(-1), rtol=1e-5)
        assert step.aux_loss == pytest.approx((f * p).sum(-1).mean(), rel=1e-5)


@pytest.mark.parametrize("arm", ARMS)
def test_losses_are_recorded_where_there_is_one_and_null_elsewhere(arm: str) -> None:
    for step in trained(arm).of(StepRecord):
        assert (step.aux_loss is None) == (arm not in WITH_AUX)
        assert (step.z_loss is None) == ("z_loss" not in arm)


@pytest.mark.parametrize("arm", ARMS)
def test_mean_normalised_scores_sum_to_one(arm: str) -> None:
    for load in trained(arm).of(LoadRecord):
        np.testing.assert_allclose(load.mean_normalised_score_LE.sum(-1), 1, rtol=1e-5)
        assert (load.mean_score_LE > 0).all()


def direction(rules, coeff_sum: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What one plain gradient step does, and the gradient of the objective written out again."""
    config = make_tiny_config(gradient_accumulation_steps=1, max_grad_norm=1e9)
    corpus = make_tiny_corpus()
    model = build_model(config.model, 256, 16, seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, sgd, CombinedBalancer(rules), config, corpus, 0, 1.0)
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}

    model.load_state_dict(before, strict=False)
    batch = corpus.batch(seed=0, step=0, micro_batch=0, num_sequences=4, sequence_length=16)
    tokens = torch.from_numpy(batch.tokens)
    output = model(tokens[:, :-1], CombinedBalancer([]))
    loss = torch.nn.functional.cross_entropy(output.logits_BSV.flatten(0, 1), tokens[:, 1:].flatten())
    for layer in output.layers:
        aux = balance_loss(layer.routing.scores_TE, layer.counts_BE, scope="micro_batch")
        loss = loss + coeff_sum * aux
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    names = [name for name, _ in model.named_parameters()]
    return moved, dict(zip(names, gradients, strict=True))


def test_the_objective_is_language_loss_plus_alpha_times_the_sum_over_layers() -> None:
    moved, expected = direction([AuxLoss(coeff=0.7)], coeff_sum=0.7)
    for name, value in expected.items():
        torch.testing.assert_close(
            moved[name], value, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_bias_rule_adds_no_gradient() -> None:
    moved, expected = direction([LossFree()], coeff_sum=0.0)
    for name, value in expected.items():
        torch.testing.assert_close(moved[name], value, rtol=1e-3, atol=1e-6)


SAME = [
    "none",
    "loss_free:u=0.01",
    "aux_loss:scope=sequence,coeff=0.1",
    "aux_loss:coeff=0.1",
    "loss_free+seq_aux",
]


@pytest.mark.parametrize("arm", SAME)
def test_p11_accumulating_four_micro_batches_equals_one_of_four_times_the_size(arm: str) -> None:
    sizes = {"num_steps": 4, "eval_interval": 100}
    many = train_tiny(arm, gradient_accumulation_steps=4, micro_batch_size=2, **sizes)
    one = train_tiny(arm, gradient_accumulation_steps=1, micro_batch_size=8, **sizes)
    for a, b in zip(many.of(LoadRecord), one.of(LoadRecord), strict=True):
        assert a.tokens_LE.tolist() == b.tokens_LE.tolist()
        assert np.array_equal(a.expert_bias_LE, b.expert_bias_LE)
        np.testing.assert_allclose(a.mean_score_LE, b.mean_score_LE, rtol=1e-4)
    for a, b in zip(many.of(StepRecord), one.of(StepRecord), strict=True):
        assert a.lm_loss == pytest.approx(b.lm_loss, rel=1e-5)
        assert (a.aux_loss or 0) == pytest.approx(b.aux_loss or 0, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-3)
    for name, value in many.model.state_dict().items():
        torch.testing.assert_close(value, one.model.state_dict()[name], rtol=1e-2, atol=1e-4)


def test_micro_batch_scope_is_another_loss_under_accumulation() -> None:
    sizes = {"num_steps": 2, "eval_interval": 100}
    arm = "aux_loss:scope=micro_batch,coeff=0.1"
    many = train_tiny(arm, gradient_accumulation_steps=4, micro_batch_size=2, **sizes)
    one = train_tiny(arm, gradient_accumulation_steps=1, micro_batch_size=8, **sizes)
    assert many.of(StepRecord)[0].lm_loss == pytest.approx(one.of(StepRecord)[0].lm_loss, rel=1e-5)
    assert many.of(StepRecord)[0].aux_loss != pytest.approx(one.of(StepRecord)[0].aux_loss, rel=1e-4)


@pytest.mark.parametrize("arm", ARMS)
def test_loads_per_sequence_add_up(arm: str) -> None:
    run = trained(arm)
    sequences = run.of(SequenceLoadRecord)
    loads = {load.step: load.tokens_LE for load in run.of(LoadRecord)}
    sampled = [r for r in sequences if r.split == "train"]
    assert [(r.step, r.micro_batch) for r in sampled] == [(s, m) for s in (0, 4, 8) for m in (0, 1)]
    for step in (0, 4, 8):
        parts = [r.tokens_BLE.sum(0) for r in sampled if r.step == step]
        assert np.array_equal(sum(parts), loads[step])
    assert all(sorted(set(r.domains_B)) == ["high", "low"] for r in sampled)
    # The final evaluation keeps its sequences too.
    for load in run.of(EvalLoadRecord):
        if load.step == 12:
            mine = [r for r in sequences if r.split == "held_out" and set(r.domains_B) == {load.domain}]
            assert np.array_equal(sum(r.tokens_BLE.sum(0) for r in mine), load.tokens_LE)


def test_margins_and_switched_slots_are_sampled() -> None:
    layers = trained("loss_free:u=0.01").of(LayerRecord)
    assert [record.step for record in layers] == [0, 4, 8]
    assert layers[0].switched_slots_L.tolist() == [0, 0]
    assert sum(int(record.switched_slots_L.sum()) for record in layers[1:]) > 0
    assert all((record.score_margin_L > 0).all() for record in layers)


def test_with_k_equal_to_e_there_is_no_margin() -> None:
    run = train_tiny("loss_free", top_k=4, num_steps=2)
    for record in run.of(LayerRecord):
        assert record.score_margin_L is None
        assert record.switched_slots_L.tolist() == [0, 0]
    for load in run.of(LoadRecord):
        assert load.tokens_LE.tolist() == [[128] * 4] * 2
        assert load.expert_bias_LE.tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
def test_p07_a_top_1_router_learns_from_the_language_loss(score_func: str) -> None:
    run = train_tiny("none", top_k=1, weight_decay=0.0, score_func=score_func, num_steps=3)
    for index, router in enumerate(run.model.routers):
        moved = router.weight_ED - run.initial[f"blocks.{index}.ffn.router.weight_ED"]
        assert float(moved.detach().abs().max()) > 1e-4


def test_dense_first_layers_are_not_counted() -> None:
    run = train_tiny("loss_free", num_layers=3, num_dense_layers=1, num_steps=2)
    assert [load.tokens_LE.shape for load in run.of(LoadRecord)] == [(2, 4)] * 2


@pytest.mark.parametrize("arm", ARMS)
def test_final_figures_follow_from_the_records(arm: str) -> None:
    run = trained(arm)
    final = run.result.figures
    last = [load.tokens_LE.tolist() for load in run.of(LoadRecord)]
    assert final["max_vio_batch"] == pytest.approx(figures.max_vio_batch(last, 3))
    held_out = sum(load.tokens_LE for load in run.of(EvalLoadRecord) if load.step == 12)
    assert final["max_vio_global"] == pytest.approx(figures.mean_max_vio(held_out.tolist()))
    assert final["worst_max_vio"] == max(metrics.max_vio(held_out))
    ends = [e for e in run.of(EvalRecord) if e.step == 12]
    assert final["perplexity"] == pytest.approx(np.exp(np.mean([e.lm_loss for e in ends])))
    bits = [figures.bits_per_byte(e.lm_loss, e.num_tokens, e.num_bytes) for e in ends]
    assert final["bits_per_byte"] == pytest.approx(np.mean(bits))
    assert run.result.state == "finished"
    assert run.result.last_step == 12


def test_training_learns() -> None:
    run = train_tiny("loss_free", num_steps=40, learning_rate=1e-2, eval_interval=100)
    losses = [step.lm_loss for step in run.of(StepRecord)]
    assert losses[0] == pytest.approx(np.log(256), abs=0.1)
    assert np.mean(losses[-5:]) < 4


def test_loss_free_serves_all_experts_where_no_balancing_collapses() -> None:
    sizes = {"num_steps": 40, "eval_interval": 100, "num_experts": 8}
    totals = {}
    for arm in ("none", "loss_free:u=0.01"):
        loads = [load.tokens_LE for load in train_tiny(arm, **sizes).of(LoadRecord)]
        # Summed over steps: the few distinct tokens of this text change sides together.
        totals[arm] = figures.mean_max_vio(sum(loads[20:]).tolist())
    assert totals["none"] > 2
    assert totals["loss_free:u=0.01"] < 1


def test_probes_hold_logits_choices_and_bias() -> None:
    run = train_tiny("loss_free:u=0.05", probe_tokens=32)
    probes = run.of(ProbeRecord)
    assert [probe.step for probe in probes] == probe_steps(12)
    for probe in probes:
        assert probe.router_logits_PLE.shape == (32, 2, 4)
        compared = 1 / (1 + np.exp(-probe.router_logits_PLE)) + probe.expert_bias_LE
        best = np.sort(np.argsort(-compared, -1)[..., :2], -1)
        assert np.array_equal(np.sort(probe.selected_experts_PLK, -1), best)
    document = run.recorder.documents["probe.json"]
    assert len(document["token_ids"]) == 32
    assert document["domains"] == ["low", "high"]


def exploding(**changes):
    return make_tiny_config("none", learning_rate=1e30, min_learning_rate=0.0, warmup_steps=0, **changes)


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_is_not_recorded() -> None:
    recorder = MemoryRecorder()
    with pytest.raises(TrainingError) as caught:
        train(exploding(), recorder, corpus=make_tiny_corpus())
    message = str(caught.value)
    assert "step" in message
    assert "finite" in message
    assert sentence("errors.lower_learning_rate") in message
    steps = recorder.of(StepRecord)
    assert all(np.isfinite([s.lm_loss, s.grad_norm]).all() for s in steps)
    assert len(recorder.of(LoadRecord)) == len(steps)


def test_a_run_folder_says_that_training_failed_and_why(tmp_path) -> None:
    from explorer.recording import RunFolder, run_info_from_config
    from explorer.recording.run_writer import RunWriter

    info = run_info_from_config(
        exploding(), run_id="exploding", corpus={"name": "made"}, device="cpu", versions={}
    )
    with pytest.raises(TrainingError), RunWriter.create(tmp_path, info) as recorder:
        train(exploding(), recorder, corpus=make_tiny_corpus())
    status = RunFolder(tmp_path / "exploding").status
    assert status.state == "failed"
    assert "finite" in status.message


def test_recording_needs_no_recorder_of_a_kind() -> None:
    from explorer.records.records import NullRecorder

    silent = train(make_tiny_config("loss_free:u=0.01"), NullRecorder(), corpus=make_tiny_corpus())
    assert silent.figures == trained("loss_free:u=0.01").result.figures


def test_progress_is_told_after_every_step() -> None:
    seen: list[tuple[int, int]] = []
    train_tiny("none", num_steps=4, on_step=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    train_tiny("none", num_steps=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_learned_positions_and_shared_experts_train_too() -> None:
    run: Trained = train_tiny("loss_free", position="learned", num_shared_experts=1, num_steps=3)
    assert run.result.state == "finished"
    assert replace(run.config).model.position == "learned"
