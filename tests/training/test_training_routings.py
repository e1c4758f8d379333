"""Training with every routing: what is recorded, resuming, thresholds, and what must not leak."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import choosers
from runs_in_memory import Trained, rows, train_tiny
from sentences import sentence
from tiny import make_tiny_config, make_tiny_corpus

from explorer.cli import main
from explorer.config.presets import get_preset
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.leak import measure_leak
from explorer.recording import RunFolder
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training import step as steps
from explorer.training.thresholds import move_thresholds

ROUTINGS = {
    "expert_choice": {"expert_choice_chunk": 24},
    "expert_threshold": {"threshold_ema": 0.5},
    "hash": {},
    "random": {},
    "dense": {},
}
EXPERTS = [name for name in ROUTINGS if name != "dense"]


def train_routing(name: str, **changes) -> Trained:
    return train_tiny("none", routing=name, **ROUTINGS[name], **changes)


trained = cache(train_routing)


@pytest.mark.parametrize("name", EXPERTS)
def test_loads_of_every_step_are_recorded(name: str) -> None:
    run = trained(name)
    loads = run.of(LoadRecord)
    assert [load.step for load in loads] == list(range(12))
    assert all(load.expert_bias_LE is None for load in loads)
    sums = {int(total) for load in loads for total in load.tokens_LE.sum(-1)}
    if name in ("hash", "random"):
        assert sums == {128 * 2}
    elif name == "expert_choice":
        # Two micro-batches of 64 tokens: chunks of 24, 24 and 16 tokens; every expert takes half of each.
        assert all((load.tokens_LE == 2 * (12 + 12 + 8)).all() for load in loads)
    else:
        assert len(sums) > 3, "tokens have another number of experts in every step"
        # While all scores rise, the cut-offs lag behind and more tokens pass.
        assert 128 < np.mean([load.tokens_LE.sum(-1) for load in loads]) < 512
    held_out = [load for load in run.of(EvalLoadRecord) if load.step == 12]
    assert held_out
    # No token compares scores here, so there is no margin between the K-th and the next.
    assert all(layer.score_margin_L is None for layer in run.of(LayerRecord))


def test_a_dense_run_has_losses_and_no_loads() -> None:
    run = trained("dense")
    assert [s.step for s in run.of(StepRecord)] == list(range(12))
    for kind in (LoadRecord, LayerRecord, SequenceLoadRecord, EvalLoadRecord, ProbeRecord):
        assert run.of(kind) == []
    assert {record.step for record in run.of(EvalRecord)} == {0, 5, 10, 12}
    figures = run.result.figures
    assert figures["perplexity"] > 1
    for name in ("max_vio_batch", "max_vio_global", "worst_layer", "worst_max_vio", "effective_experts"):
        assert figures[name] is None
    assert trained("dense").of(StepRecord)[-1].lm_loss < run.of(StepRecord)[0].lm_loss
    probed = train_routing("dense", probe_tokens=32)
    assert probed.recorder.documents == {}


@pytest.mark.parametrize("name", ROUTINGS)
def test_p15_a_resumed_run_equals_the_unbroken_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole = trained(name)
    part = train_routing(name, stop_after=7, checkpoint_dir=tmp_path)
    rest = train_routing(name, checkpoint_dir=tmp_path, resume_from=7)
    assert part.result.state == "stopped"
    assert rest.weights_equal(whole)
    later = [row for row in rows(whole) if row["step"] >= 7]
    assert rows(rest) == [row for row in later if row["table"] != "EvalRecord" or row["step"] >= 7]
    assert rest.result.figures == whole.result.figures


@pytest.mark.parametrize("name", ["expert_choice", "expert_threshold", "random"])
def test_p16_evaluation_changes_nothing(name: str) -> None:
    rare = train_routing(name, eval_interval=1000)
    often = train_routing(name, eval_interval=1, probe_tokens=32)
    assert rows(rare, LoadRecord) == rows(often, LoadRecord)
    assert rows(rare, StepRecord) == rows(often, StepRecord)
    assert rare.weights_equal(often)


def test_random_evaluations_repeat_and_differ_from_batch_to_batch() -> None:
    run = train_routing("random", eval_interval=4, eval_tokens=512, final_eval_tokens=512)
    by_step = {}
    for load in run.of(EvalLoadRecord):
        by_step.setdefault(load.step, {})[load.domain] = load.tokens_LE.tolist()
    # The draws depend on the batch alone: every evaluation on the way sees the same loads.
    assert by_step[0] == by_step[4] == by_step[8]
    held_out = [r.tokens_BLE.sum(0).tolist() for r in run.of(SequenceLoadRecord) if r.split == "held_out"]
    assert len({json.dumps(loads) for loads in held_out}) == len(held_out) > 1


def test_a_probe_keeps_the_experts_that_took_each_token() -> None:
    run = train_routing("expert_threshold", probe_tokens=32)
    probe = run.of(ProbeRecord)[-1]
    assert probe.selected_experts_PLK.shape == (32, 2, 4)
    scores = 1 / (1 + np.exp(-probe.router_logits_PLE.astype(np.float64)))
    thresholds = [router.threshold_E.tolist() for router in run.model.routers]
    for layer in (0, 1):
        expected = choosers.above(scores[:, layer].tolist(), thresholds[layer])
        experts = [[e for e in row if e < 4] for row in probe.selected_experts_PLK[:, layer].tolist()]
        assert experts == expected


def test_p11_thresholds_move_once_a_step_from_all_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(model, scores_LTE, step, ranks):
        before = [router.threshold_E.tolist() for router in model.routers]
        move_thresholds(model, scores_LTE, step, ranks)
        after = [router.threshold_E.tolist() for router in model.routers]
        seen.append((step, torch.cat(scores_LTE, 1).tolist(), before, after))

    monkeypatch.setattr(steps, "move_thresholds", spy)
    train_routing("expert_threshold", eval_interval=1)
    assert [entry[0] for entry in seen] == list(range(12))
    for number, (step, scores, before, after) in enumerate(seen):
        if number:
            assert before == seen[number - 1][3], "nothing else moves them, evaluation least of all"
        for layer in (0, 1):
            assert len(scores[layer]) == 128
            expected = choosers.moved_thresholds(before[layer], scores[layer], 2, 0.5, step == 0)
            assert after[layer] == pytest.approx(expected, abs=1e-6)


def test_p11_four_micro_batches_move_thresholds_as_one_of_four_times_the_tokens() -> None:
    thresholds = []
    for sizes in ((16, 1), (4, 4)):
        config = make_tiny_config("none", routing="expert_threshold", num_steps=1, warmup_steps=0)
        model = build_model(config.model, 256, 16, seed=0)
        tokens = torch.randint(0, 256, (16, 16), generator=torch.Generator().manual_seed(0))
        parts = []
        with torch.no_grad():
            for micro_batch in tokens.split(sizes[0]):
                output = model(micro_batch, CombinedBalancer([]))
                parts.append(torch.stack([layer.routing.scores_TE for layer in output.layers]))
        assert len(parts) == sizes[1]
        move_thresholds(model, parts, step=1)
        thresholds.append(torch.stack([router.threshold_E for router in model.routers]))
    torch.testing.assert_close(thresholds[0], thresholds[1], rtol=1e-6, atol=1e-6)


def test_thresholds_keep_a_collapsing_router_balanced() -> None:
    """The rule's purpose: thresholds follow whatever the scores do."""
    run = train_routing("expert_threshold", num_steps=30, learning_rate=0.03)
    last = np.sum([load.tokens_LE for load in run.of(LoadRecord)[-5:]], axis=0)
    assert (last.max(-1) / last.mean(-1)).max() < 1.25
    assert last.sum(-1) == pytest.approx(5 * 128 * 2, rel=0.15)


@pytest.fixture(scope="module")
def held_out() -> torch.Tensor:
    batch = next(iter(make_tiny_corpus().held_out(num_tokens=128, sequence_length=16)))
    return torch.from_numpy(batch.tokens[:, :-1])


@pytest.mark.parametrize("balancer", ["none", "loss_free:u=0.01"])
def test_token_choice_is_causal_trained_and_fresh(balancer: str, held_out: torch.Tensor) -> None:
    run = train_tiny(balancer)
    for model in (run.model, build_model(run.config.model, 256, 16, seed=0)):
        assert measure_leak(model, held_out, CombinedBalancer(run.config.balancer.rules)).is_causal


@pytest.mark.parametrize("name", ["expert_threshold", "hash", "random", "dense"])
def test_everything_but_expert_choice_is_causal(name: str, held_out: torch.Tensor) -> None:
    run = trained(name)
    for model in (run.model, build_model(run.config.model, 256, 16, seed=0)):
        leak = measure_leak(model, held_out)
        assert leak.is_causal, leak
        assert leak.earlier_tokens > 0 < leak.other_tokens


def test_expert_choice_leaks_later_tokens_of_its_chunk_and_of_other_sequences(held_out: torch.Tensor) -> None:
    leaks = {}
    for chunk in (1, 4, 16, None):
        options = {} if chunk is None else {"expert_choice_chunk": chunk}
        config = make_tiny_config("none", routing="expert_choice", init_std=0.1, **options)
        model = build_model(config.model, 256, 16, seed=0)
        leaks[chunk] = measure_leak(model, held_out, trials=32)
    # A chunk of one token has no neighbours; one within a sequence reaches no other sequence.
    assert leaks[1].is_causal
    assert 0 < leaks[4].share("earlier_experts") < leaks[16].share("earlier_experts")
    assert leaks[16].earlier_logits > 0
    assert leaks[16].other_experts == leaks[4].other_experts == 0
    assert leaks[None].other_experts > 0 < leaks[None].earlier_experts


def test_the_measure_sees_a_leak_that_was_put_there(held_out: torch.Tensor) -> None:
    """A model whose attention looks ahead is caught by its logits, though its experts come late."""
    config = make_tiny_config("none", init_std=0.2)
    model = build_model(config.model, 256, 16, seed=0)
    head = model.blocks[1].attention
    plain = head.forward
    head.forward = lambda x: plain(x.flip(1)).flip(1)
    assert measure_leak(model, held_out, trials=4).earlier_logits > 0


@pytest.mark.parametrize("text", ["expert_choice:chunk=16", "expert_threshold", "hash", "random", "dense"])
def test_the_command_line_trains_every_routing(text: str, tmp_path: Path, capsys) -> None:
    short = ["--set", "training.num_steps=4", "--set", "training.warmup_steps=1"]
    common = ["train", "--preset", "tiny", "--runs", str(tmp_path), *short]
    code = main([*common, "--balancer", text, "--run-id", "one", "--json"])
    assert code == 0
    figures = json.loads(capsys.readouterr().out)
    name = text.partition(":")[0]
    assert (figures["arm"], figures["balancer"], figures["state"]) == (text, name, "finished")
    assert figures["perplexity"] > 1
    assert (figures["max_vio_global"] is None) == (name == "dense")
    run = RunFolder(tmp_path / "one")
    assert run.info.balancer_family == name
    plain = get_preset("tiny").with_setting("training.warmup_steps", 1).with_setting("training.num_steps", 4)
    assert run.info.pair_key == plain.pair_key
    assert main([*common, "--set", f"model.routing={name}", "--balancer", "loss_free"]) == 2
    assert sentence("config.nothing_to_balance") in capsys.readouterr().err
