"""Pitfalls of reading: numbers that popular tools get wrong, beside what ours say of the same case."""

from pathlib import Path

import numpy as np
import pytest
import torch
from routes import route
from runs_in_memory import train_tiny
from store_runs import make_info, random_counts, record_steps
from tiny import make_tiny_corpus

from explorer import metrics
from explorer.config.run import ModelConfig
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import LayerContext, sequence_counts
from explorer.model.transformer import MoELayer
from explorer.queries import balance
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, ProbeRecord, SequenceLoadRecord
from explorer.routing.balancing import biased_scores
from explorer.store import Index


def test_p29_an_imbalance_that_drops_the_busiest_experts_is_not_max_vio() -> None:
    # prime-rl takes the k busiest experts away before it computes what it calls max_vio.
    counts = np.array([50, 10, 10, 10])
    assert float(metrics.max_vio(np.sort(counts)[:-1])) == 0.0
    assert float(metrics.max_vio(counts)) == pytest.approx(1.5)


def test_p29_the_number_of_experts_is_not_the_largest_id_plus_one() -> None:
    # moewatch infers E from the ids it meets; here the last four of eight experts are dead.
    ids = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    inferred = np.bincount(ids.ravel(), minlength=ids.max() + 1)
    assert float(metrics.max_vio(inferred)) == 0.0
    counts = sequence_counts(torch.from_numpy(ids), 1, 8)[0].numpy()
    assert counts.tolist() == [2, 2, 2, 2, 0, 0, 0, 0]
    assert float(metrics.max_vio(counts)) == 1.0


def test_p30_counting_the_best_logit_alone_hides_all_other_choices() -> None:
    # moewatch counts argmax also where K is 8. First choices are level here, all second ones on expert 3.
    logits = torch.tensor([[2.0, -2.0, -2.0, 1.0], [-2.0, 2.0, -2.0, 1.0], [-2.0, -2.0, 2.0, 1.0]] * 10)
    first = torch.bincount(logits.argmax(-1), minlength=4)
    assert first.tolist() == [10, 10, 10, 0]
    counts = sequence_counts(route(logits, top_k=2).topk_expert_ids_TK, 1, 4)[0]
    assert counts.tolist() == [10, 10, 10, 30]
    assert float(metrics.max_vio(counts.numpy())) == pytest.approx(1.0)


def test_p30_recorded_choices_are_those_used_and_cannot_be_had_from_logits_alone() -> None:
    # plumb-moe recomputes the top-K from the gate's output. With a bias that is another selection.
    run = train_tiny("loss_free:u=0.05", num_steps=12, probe_tokens=64)
    probe = run.of(ProbeRecord)[-1]
    expert_ids, logits = probe.selected_experts_PLK, torch.from_numpy(probe.router_logits_PLE)
    from_logits = logits.topk(2, dim=-1).indices.sort(-1).values.numpy()
    assert (from_logits != np.sort(expert_ids, -1)).any()
    compared = biased_scores(logits.sigmoid(), torch.from_numpy(probe.expert_bias_LE), "additive")
    assert (compared.topk(2, dim=-1).indices.sort(-1).values.numpy() == np.sort(expert_ids, -1)).all()


def test_p32_layers_are_in_order_of_their_number(tmp_path: Path) -> None:
    # Automodel numbers layers by the text order of their names: block 10 is its layer 2.
    by_text = sorted(range(12), key=str)
    assert by_text[2] == 10
    counts = random_counts(4, 12, 4, seed=3)
    recorder = RunWriter.create(tmp_path / "runs", make_info(layers=12, num_steps=4))
    record_steps(recorder, counts, range(4))
    recorder.finish("finished")
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            layers = balance.layer_balance(cur, ["run"])
    assert layers["layer"].to_list() == list(range(12))
    expected = [metrics.max_vio_batch(counts[:, layer : layer + 1]) for layer in range(12)]
    assert layers["max_vio_batch"].to_list() == pytest.approx(expected)
    assert [expected[layer] for layer in by_text] != pytest.approx(expected)


def test_p32_layers_and_ranks_are_not_exchanged() -> None:
    # vLLM reduced over layers where ranks were meant: two layers, rank 1 with twice the load of rank 0.
    load_LR = np.array([[1, 2], [1, 2]])
    assert metrics.balance_efficiency(load_LR).mean() == pytest.approx(0.75)
    assert metrics.balance_efficiency(load_LR.T).mean() == 1.0


def test_p32_a_step_is_all_of_its_micro_batches_and_not_the_last() -> None:
    run = train_tiny("none", num_steps=5, gradient_accumulation_steps=3)
    loads = {load.step: load.tokens_LE for load in run.of(LoadRecord)}
    for step in (0, 4):
        parts = [s for s in run.of(SequenceLoadRecord) if s.step == step and s.split == "train"]
        assert [part.micro_batch for part in parts] == [0, 1, 2]
        total = sum(part.tokens_BLE.sum(0) for part in parts)
        assert loads[step].tolist() == total.tolist()
        assert loads[step].tolist() != parts[-1].tokens_BLE.sum(0).tolist()


def padded(sequence: list[int], length: int) -> torch.Tensor:
    """A sequence with zeros behind it, [1, S]."""
    return torch.tensor([sequence + [0] * (length - len(sequence))])


def test_p18_padding_would_be_counted_which_is_why_there_is_none() -> None:
    # Our model takes no mask. Tokens behind a sequence do not change its own routing (attention is
    # causal), and they would be in every count.
    run = train_tiny("none", num_steps=2)
    sequence = [70, 75, 80, 85, 90, 72, 77]
    run.model.eval()
    with torch.no_grad():
        trimmed = run.model(torch.tensor([sequence]), CombinedBalancer([])).layers
        longer = run.model(padded(sequence, 16), CombinedBalancer([])).layers
    for short, long in zip(trimmed, longer, strict=True):
        ids = long.routing.topk_expert_ids_TK
        assert torch.equal(ids[: len(sequence)], short.routing.topk_expert_ids_TK)
        assert long.counts_BE.sum() - short.counts_BE.sum() == (16 - len(sequence)) * 2
        assert torch.equal(sequence_counts(ids[: len(sequence)], 1, 4), short.counts_BE)


@pytest.mark.parametrize("length", [7, 16, 100])
def test_p18_every_token_of_every_batch_is_text(length: int) -> None:
    # Training, evaluation and probe are made of whole windows of the text: each row is found in it.
    corpus = make_tiny_corpus()
    train = [text.tobytes() for text in corpus.train_tokens]
    held_out = [text.tobytes() for text in corpus.held_out_tokens]
    batches = [
        (train, corpus.batch(seed=3, step=s, micro_batch=s % 2, num_sequences=5, sequence_length=length))
        for s in range(6)
    ]
    batches += [(held_out, b) for b in corpus.held_out(num_tokens=400, sequence_length=length)]
    batches += [(held_out, corpus.probe(num_tokens=2 * length, sequence_length=length))]
    for texts, batch in batches:
        assert batch.tokens.shape == (len(batch.domain_names), length + 1)
        for row, domain in zip(batch.tokens, batch.domain_ids, strict=True):
            assert row.astype(np.uint8).tobytes() in texts[domain]


@pytest.mark.parametrize("drop_policy", ["probability", "position"])
def test_p28_demand_and_served_are_stored_apart(drop_policy: str) -> None:
    # Megatron counts after the capacity cut: an expert that three times too many tokens want reads as just
    # full, and the others as if they were level with it.
    config = ModelConfig(
        num_layers=1,
        hidden_size=8,
        num_heads=2,
        num_experts=4,
        top_k=1,
        capacity_factor=1.0,
        drop_policy=drop_policy,
        expert_hidden_size=8,
    )
    layer = MoELayer(config)
    with torch.no_grad():
        layer.router.weight_ED.copy_(4 * torch.eye(4, 8))
    x_BSD = torch.zeros(1, 16, 8)
    for token in range(16):
        x_BSD[0, token, token if token < 4 else 0] = 1.0 + token / 100
    _, report = layer(x_BSD, CombinedBalancer([]), LayerContext(0, torch.zeros(16, dtype=torch.int64)))
    demand = report.counts_BE.sum(0)
    served = demand - report.dropped_BE.sum(0)
    assert demand.tolist() == [13, 1, 1, 1]
    assert served.tolist() == [4, 1, 1, 1]
    assert float(metrics.max_vio(demand.numpy())) > 2 > float(metrics.max_vio(served.numpy()))
