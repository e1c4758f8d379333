"""Which experts the domains of the text use, and which experts work together, on held-out text.

Shapes: D domains, L MoE layers, E experts, T tokens, K experts per token.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explorer import metrics
from explorer.tasks.result import TaskResult, mean, not_run
from explorer.tasks.trained import TrainedModel, check_causal

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SEQUENCES = 64


@torch.no_grad()
def specialisation(trained: TrainedModel, sequences: int = SEQUENCES) -> TaskResult:
    """Loads by domain and pairs of experts, from as many held-out sequences of every domain.

    domain_distance    mean Jensen-Shannon distance between domains (`metrics.mean_domain_distance`)
    domain_experts     effective experts of a domain (`metrics.effective_experts`)
    pair_distance      `pair_distance` of the co-activation
    All are means over layers. Counting noise raises both distances: compare models at equal tokens.
    """
    check_causal(trained, "specialisation")
    if not trained.model.routers:
        return not_run("specialisation", "The model has no MoE layer, so it has no expert loads.")
    experts = trained.config.model.num_experts
    names, ids_DTLK = [], []
    for name, tokens_BS in sequences_by_domain(trained, sequences).items():
        names.append(name)
        layers = trained.forward(torch.from_numpy(tokens_BS[:, :-1])).layers
        ids_DTLK.append(np.stack([layer.routing.topk_expert_ids_TK.cpu().numpy() for layer in layers], 1))
    counts_DLE = np.stack([_counts(ids_TLK, experts) for ids_TLK in ids_DTLK])
    pairs_LEE = sum(metrics.coactivation(np.moveaxis(ids_TLK, 1, 0), experts) for ids_TLK in ids_DTLK)
    by_layer_LDE = np.moveaxis(counts_DLE, 0, 1)
    return TaskResult(
        task="specialisation",
        counts={"tokens": sum(map(len, ids_DTLK)), "domains": len(names), "layers": counts_DLE.shape[1]},
        metrics={
            "domain_distance": mean(metrics.mean_domain_distance(by_layer_LDE)),
            "domain_experts": mean(metrics.effective_experts(by_layer_LDE)),
            "pair_distance": mean(pair_distance(np.asarray(pairs_LEE))),
        },
        rows=[
            *_domain_rows(names, counts_DLE),
            {"kind": "pairs", "pairs_LEE": np.asarray(pairs_LEE).tolist()},
        ],
    )


def sequences_by_domain(trained: TrainedModel, sequences: int) -> dict[str, Ints]:
    """Held-out sequences of the training length, [B, S + 1], equally many of every domain."""
    length = trained.length
    by_domain: dict[str, list[Ints]] = {}
    num_tokens = sequences * length * len(trained.corpus.domains)
    for batch in trained.corpus.held_out(num_tokens=num_tokens, sequence_length=length):
        by_domain.setdefault(batch.domain, []).extend(batch.tokens)
    fewest = min(min(map(len, by_domain.values())), sequences)
    return {name: np.stack(rows[:fewest]) for name, rows in by_domain.items()}


def _counts(ids_TLK: Ints, experts: int) -> Ints:
    layers = ids_TLK.shape[1]
    return np.stack([np.bincount(ids_TLK[:, layer].ravel(), minlength=experts) for layer in range(layers)])


def pair_distance(pairs_LEE: Ints) -> Floats:
    """Total variation distance between the shares of expert pairs and those of independent experts, [L].

    Independent experts pair in proportion to the product of their loads. 0: which experts a token has beside
    one does not depend on that one; towards 1: experts only work in fixed groups. NaN for K = 1.
    """
    pairs = np.asarray(pairs_LEE, dtype=np.float64)
    loads_LE = np.diagonal(pairs, axis1=-2, axis2=-1)
    expected = loads_LE[..., :, None] * loads_LE[..., None, :]
    is_other = ~np.eye(pairs.shape[-1], dtype=bool)
    return np.asarray(0.5 * np.abs(_shares(pairs * is_other) - _shares(expected * is_other)).sum((-2, -1)))


def _shares(values_LEE: Floats) -> Floats:
    total = values_LEE.sum((-2, -1), keepdims=True)
    return np.where(total > 0, values_LEE / np.where(total > 0, total, 1.0), np.nan)


def _domain_rows(names: list[str], counts_DLE: Ints) -> list[dict[str, Any]]:
    return [
        {
            "kind": "domain",
            "domain": name,
            "effective_experts": mean(metrics.effective_experts(counts_LE)),
            "tokens_LE": counts_LE.tolist(),
        }
        for name, counts_LE in zip(names, counts_DLE, strict=True)
    ]
