"""Loads at longer contexts: same tokens at every length, counts by bucket and domain, floors, placements."""

import numpy as np
import pytest
import torch
from task_models import make_trained
from torch.nn import functional as F

from explorer import metrics
from explorer.tasks.long_context import (
    DRAWS,
    bucket_edges,
    contiguous,
    count,
    eplb_placer,
    gpu_max_vio,
    long_context,
    long_windows,
    longest_factor,
)
from explorer.tasks.result import TaskResult
from explorer.tasks.trained import TrainedModel


@pytest.fixture(scope="module")
def result(trained: TrainedModel) -> TaskResult:
    return long_context(trained, 512)


def of_kind(result: TaskResult, kind: str) -> list[dict[str, object]]:
    return [dict(row) for row in result.rows if row["kind"] == kind]


def test_every_length_sees_the_same_targets(trained: TrainedModel, result: TaskResult) -> None:
    rows = of_kind(result, "length")
    assert [row["length"] for row in rows] == [8, 16, 32, 64]
    assert {row["tokens"] for row in rows} == {512}
    assert [row["sequences"] for row in rows] == [64, 32, 16, 8]
    for row in rows:
        assert np.sum(row["tokens_LE"], axis=-1).tolist() == [2 * 512, 2 * 512]


@pytest.mark.parametrize("length", [8, 16, 64])
def test_counts_and_losses_are_those_of_each_sequence_alone(trained: TrainedModel, length: int) -> None:
    windows = long_windows(trained, 64, 256)
    loads = count(trained, windows, length)
    model, edges = trained.at_length(length), bucket_edges(8, length)
    place = 0
    for piece in range(64 // length):
        for domain, tokens in windows:
            ids = torch.from_numpy(tokens[piece * length : piece * length + length + 1])[None]
            output = model.forward(ids[:, :-1])
            nats = F.cross_entropy(output.logits_BSV[0], ids[0, 1:], reduction="none")
            for bucket in range(len(edges) - 1):
                inside = slice(edges[bucket], edges[bucket + 1])
                for layer, routed in enumerate(output.layers):
                    expert_ids = routed.routing.topk_expert_ids_TK[inside].flatten().tolist()
                    expected = [expert_ids.count(expert) for expert in range(4)]
                    assert loads.counts_RPLE[place, bucket, layer].tolist() == expected
                assert loads.loss_RP[place, bucket] == pytest.approx(float(nats[inside].sum()), rel=1e-4)
            assert loads.domains_R[place] == domain
            place += 1
    assert place == len(loads.domains_R)


def test_buckets_and_domains_add_up_to_the_length(result: TaskResult) -> None:
    for row in of_kind(result, "length"):
        for kind in ("bucket", "domain"):
            parts = [part for part in of_kind(result, kind) if part["length"] == row["length"]]
            assert np.sum([part["tokens_LE"] for part in parts], axis=0).tolist() == row["tokens_LE"]
            assert sum(part["loss_sum"] for part in parts) == pytest.approx(row["loss_sum"])
    assert [(r["first"], r["last"]) for r in of_kind(result, "bucket") if r["length"] == 64] == [
        (0, 7), (8, 15), (16, 31), (32, 63),
    ]  # fmt: skip


def test_a_batch_is_one_long_sequence_or_as_many_short_tokens(
    trained: TrainedModel, result: TaskResult
) -> None:
    windows = long_windows(trained, 64, 512)
    for row in of_kind(result, "length"):
        counts = count(trained, windows, row["length"]).counts_RLE  # type: ignore[arg-type]
        per_batch = 64 // row["length"]  # type: ignore[operator]
        batches = [counts[i : i + per_batch].sum(0) for i in range(0, len(counts), per_batch)]
        expected = np.mean([[max(layer) * 4 / sum(layer) - 1 for layer in batch] for batch in batches])
        assert row["sequences_per_batch"] == per_batch
        assert row["max_vio"] == pytest.approx(expected)
        assert row["floor"] == metrics.resampled_reference(counts, per_batch, draws=DRAWS)[0]
        assert row["excess"] == row["max_vio"] - row["floor"]  # type: ignore[operator]


def test_sequences_of_equal_loads_have_no_excess() -> None:
    """One long sequence: its own clustering is the floor of a batch of one."""
    counts = np.array([[[8, 4, 4, 0]], [[0, 4, 4, 8]]])
    measured = metrics.max_vio_computation_batch(counts, 1).mean()
    assert measured == pytest.approx(metrics.resampled_reference(counts, 1)[0])


def test_a_placement_is_planned_on_the_training_length_and_judged_everywhere(trained: TrainedModel) -> None:
    seen = []

    def busiest_first(loads_LE: np.ndarray) -> np.ndarray:
        """Every expert on both GPUs: nothing can be out of balance."""
        seen.append(loads_LE)
        return np.full((*loads_LE.shape[:1], 2, loads_LE.shape[1]), 0.5)

    rows = of_kind(long_context(trained, 512, {"all": busiest_first, "plain": contiguous(2)}), "length")
    assert len(seen) == 1
    assert seen[0].tolist() == rows[0]["tokens_LE"]
    assert [row["gpu_max_vio all"] for row in rows] == [0.0] * 4
    assert all(row["gpu_max_vio plain"] > 0 for row in rows)  # type: ignore[operator]


def test_eplb_beats_the_order_of_indices_where_it_was_planned(
    trained: TrainedModel, result: TaskResult
) -> None:
    loads = np.array([[9, 8, 7, 1, 1, 1, 1, 0]])
    shares = eplb_placer(2)(loads)
    assert shares.shape == (1, 2, 8)
    assert shares.sum(1) == pytest.approx(np.ones((1, 8)))
    assert gpu_max_vio(loads[None], shares, 1) < gpu_max_vio(loads[None], contiguous(2)(loads), 1)  # type: ignore[operator]
    first = of_kind(result, "length")[0]
    assert first["gpu_max_vio eplb"] < first["gpu_max_vio contiguous"]  # type: ignore[operator]


def test_gpu_imbalance_by_hand() -> None:
    counts = np.array([[[6, 2, 1, 1]], [[2, 2, 1, 5]], [[9, 9, 9, 9]]])
    shares = contiguous(2)(counts[0])
    assert shares.tolist() == [[[1, 1, 0, 0], [0, 0, 1, 1]]]
    assert gpu_max_vio(counts, shares, 1) == pytest.approx((8 / 5 + 6 / 5 + 1) / 3 - 1)
    assert gpu_max_vio(counts, shares, 2) == pytest.approx(12 / 10 - 1)
    assert gpu_max_vio(counts, shares, 4) is None


def test_learned_positions_stay_at_the_training_length() -> None:
    trained = make_trained(sequence_length=8, position="learned")
    assert longest_factor(trained) == 1
    assert [row["length"] for row in of_kind(long_context(trained, 64), "length")] == [8]


def test_a_dense_model_has_no_loads() -> None:
    assert long_context(make_trained(routing="dense"), 64).status == "not run"


def test_too_few_sequences_have_no_floor(result: TaskResult) -> None:
    """At the longest length each domain has four sequences; together they are eight."""
    for row in result.rows:
        assert (row["floor"] is None) == (row["excess"] is None) == (row["sequences"] < 8)
    assert [r["floor"] is None for r in of_kind(result, "domain") if r["length"] == 64] == [True, True]
