"""Loads by domain and pairs of experts, against loops over tokens."""

import numpy as np
import pytest
import torch
from task_models import make_trained

from explorer import metrics
from explorer.tasks.specialisation import pair_distance, sequences_by_domain, specialisation


def test_loads_and_pairs_are_those_of_the_tokens() -> None:
    trained = make_trained("loss_free", sequence_length=8)
    result = specialisation(trained, 4)
    domains = sequences_by_domain(trained, 4)
    assert [len(rows) for rows in domains.values()] == [4, 4]
    pairs, loads = np.zeros((2, 4, 4), dtype=int), np.zeros((2, 2, 4), dtype=int)
    for place, rows in enumerate(domains.values()):
        for layer, output in enumerate(trained.forward(torch.from_numpy(rows[:, :-1])).layers):
            for experts in output.routing.topk_expert_ids_TK.tolist():
                for first in experts:
                    loads[place, layer, first] += 1
                    for second in experts:
                        pairs[layer, first, second] += 1
    assert [row["tokens_LE"] for row in result.rows if row["kind"] == "domain"] == loads.tolist()
    assert result.rows[-1]["pairs_LEE"] == pairs.tolist()
    expected = np.mean([metrics.jensen_shannon(*loads[:, layer]) for layer in range(2)])
    assert result.metrics["domain_distance"] == pytest.approx(expected)
    assert result.metrics["pair_distance"] == pytest.approx(pair_distance(pairs).mean())
    assert result.counts == {"tokens": 64, "domains": 2, "layers": 2}


def test_pair_distance_by_hand() -> None:
    """Four experts of equal load: every pair alike, and only the pairs 0-1 and 2-3."""
    even = np.full((4, 4), 2)
    np.fill_diagonal(even, 6)
    fixed = np.array([[6, 6, 0, 0], [6, 6, 0, 0], [0, 0, 6, 6], [0, 0, 6, 6]])
    # Of independent experts, the two pairs would hold a third.
    assert pair_distance(np.stack([even, fixed])).tolist() == [pytest.approx(0), pytest.approx(2 / 3)]


def test_one_expert_per_token_has_no_pairs() -> None:
    assert np.isnan(pair_distance(np.diag([3, 4, 5])[None])).all()
    assert specialisation(make_trained(top_k=1, sequence_length=8), 4).metrics["pair_distance"] is None


def test_a_dense_model_has_no_experts() -> None:
    assert specialisation(make_trained(routing="dense"), 4).status == "not run"
