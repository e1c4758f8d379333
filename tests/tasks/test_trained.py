"""A kept model gives what the run's last evaluation gave, at any length."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentences import pattern
from small_corpus import use_small_corpus
from task_models import make_trained
from torch.nn import functional as F

from explorer.config.presets import tiny
from explorer.corpus import load_corpus
from explorer.errors import ConfigError, TrainingError
from explorer.running.into_folder import TrainedRun, train_run
from explorer.tasks.scoring import Passage, score
from explorer.tasks.trained import check_causal, load_trained, padded


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrainedRun:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_small_corpus(monkeypatch)
    config = tiny().with_settings(
        {"balancer": "loss_free:u=0.05", "training.num_steps": 6, "training.warmup_steps": 1}
    )
    return train_run(config, tmp_path / "runs", run_id="kept", keep_model=True)


def test_a_kept_model_has_the_held_out_loss_that_the_run_recorded(run: TrainedRun) -> None:
    trained = load_trained(run.path)
    corpus = load_corpus(run.config.corpus)
    training = run.config.training
    batches = corpus.held_out(num_tokens=training.final_eval_tokens, sequence_length=training.sequence_length)
    passages = [Passage(ids=row.tolist()) for batch in batches for row in batch.tokens]
    scores = score(trained, passages)
    tokens = sum(one.tokens for one in scores)
    assert tokens == sum(batch.num_tokens for batch in batches)
    assert sum(one.nats for one in scores) / tokens == pytest.approx(run.result.figures["lm_loss"], rel=1e-5)
    assert any(router.expert_bias_E.abs().sum() > 0 for router in trained.model.routers)


def test_a_run_without_a_kept_model_says_how_to_keep_one(run: TrainedRun) -> None:
    (run.path / "model.pt").unlink()
    with pytest.raises(TrainingError, match=pattern("tasks.no_model")):
        load_trained(run.path)


def test_a_damaged_model_is_one_sentence(run: TrainedRun) -> None:
    (run.path / "model.pt").write_bytes(b"not a model")
    with pytest.raises(TrainingError, match=pattern("tasks.damaged_model")):
        load_trained(run.path)


def test_another_text_is_refused(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    info = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    info["corpus"]["digest"] = "another"
    (run.path / "run.json").write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(TrainingError, match=pattern("tasks.other_text")):
        load_trained(run.path)


def test_training_is_the_same_whether_or_not_the_model_is_kept(run: TrainedRun, tmp_path: Path) -> None:
    other = train_run(run.config, tmp_path / "runs", run_id="plain")
    assert other.result.figures == run.result.figures
    assert not (other.path / "model.pt").exists()


def test_a_longer_context_changes_no_earlier_logit() -> None:
    trained = make_trained(sequence_length=16)
    tokens = torch.randint(65, 90, (2, 16), generator=torch.Generator().manual_seed(1))
    longer = trained.at_length(64)
    assert torch.equal(longer.forward(tokens).logits_BSV, trained.forward(tokens).logits_BSV)
    assert longer.forward(tokens.repeat(1, 4)).logits_BSV.shape == (2, 64, 256)


def test_learned_positions_have_no_longer_context() -> None:
    trained = make_trained(position="learned")
    with pytest.raises(ConfigError, match=pattern("tasks.no_positions")):
        trained.at_length(32)
    assert trained.at_length(8).length == 8


@pytest.mark.parametrize("changes", [{"routing": "expert_choice"}, {"capacity_factor": 1.0}])
def test_routing_across_tokens_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=pattern("tasks.no_answer")):
        check_causal(make_trained(**changes), "two_hop")


@pytest.mark.parametrize("length", [8, 16, 40])
@pytest.mark.parametrize("first", [1, 5, 30])
def test_scores_are_those_of_one_window_per_token(length: int, first: int) -> None:
    """Slow reference: every token from its own forward pass over the context that its window has."""
    trained = make_trained(sequence_length=length)
    ids = np.random.default_rng(5).integers(65, 90, 40).tolist()
    (result,) = score(trained, [Passage(ids=ids, first=first)])
    nats, correct, place = 0.0, 0, first
    while place < len(ids):
        begin = max(0, min(place - length // 2, len(ids) - length - 1))
        end = min(len(ids), begin + length + 1)
        for target in range(place, end):
            logits = trained.forward(torch.tensor([ids[begin:target]])).logits_BSV[0, -1]
            nats += float(F.cross_entropy(logits, torch.tensor(ids[target])))
            correct += int(logits.argmax()) == ids[target]
        place = end
    assert (result.tokens, result.correct) == (len(ids) - first, correct)
    assert result.nats == pytest.approx(nats, rel=1e-4)


def test_passages_of_different_length_do_not_touch_each_other() -> None:
    trained = make_trained()
    rows = [np.random.default_rng(n).integers(65, 90, n + 2).tolist() for n in range(30)]
    together = score(trained, [Passage(ids=row) for row in rows])
    alone = [score(trained, [Passage(ids=row)])[0] for row in rows]
    assert [(a.tokens, a.correct) for a in together] == [(b.tokens, b.correct) for b in alone]
    assert [a.nats for a in together] == pytest.approx([b.nats for b in alone], rel=1e-4)


def test_padding_is_on_the_right() -> None:
    assert padded([[5], [6, 7]]).tolist() == [[5, 0], [6, 7]]
