"""Expert loads beyond the training length: the same text in few long or many short sequences.

Shapes: R sequences, P position buckets, L MoE layers, E experts, G GPUs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from explorer import metrics
from explorer.errors import CorpusError
from explorer.model.router import sequence_counts
from explorer.routing import placement
from explorer.tasks.result import TaskResult, mean, not_run, ratio
from explorer.tasks.trained import TrainedModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Placer = Callable[[Ints], Floats]
"""From the loads that a placement is planned on, [L, E], to the share of each expert's tokens that each GPU
serves, [L, G, E]; the shares of an expert add up to 1."""

FACTORS = (1, 2, 4, 8)
TOKENS = 32_768
TOKENS_AT_ONCE = 4_096
GPUS = 4
DRAWS = 1_000
"""Simulated batches per floor: its standard error is about 1 % of it."""
LEAST_SEQUENCES = 8
"""Of fewer sequences no floor is given: drawn again and again, they would show too little of chance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LengthLoads:
    """What was counted at one context length."""

    length: int
    domains_R: tuple[str, ...]
    """Pieces of different texts follow each other, so that neighbours in a batch are not of one text."""
    counts_RPLE: Ints
    """Assignments per sequence and position bucket, before capacity."""
    loss_RP: Floats
    """Σ nats."""
    tokens_RP: Ints

    @property
    def counts_RLE(self) -> Ints:
        return np.asarray(self.counts_RPLE.sum(1))


def contiguous(num_gpus: int) -> Placer:
    """Experts in the order of their indices, as evenly as possible, without replicas."""

    def place(loads_LE: Ints) -> Floats:
        layers, experts = loads_LE.shape
        gpu_E = np.arange(experts) * num_gpus // experts
        return np.tile((gpu_E == np.arange(num_gpus)[:, None]).astype(np.float64), (layers, 1, 1))

    return place


def eplb_placer(num_gpus: int) -> Placer:
    """EPLB's placement from these loads, with one replica per GPU (`routing.placement`)."""

    def place(loads_LE: Ints) -> Floats:
        experts = loads_LE.shape[1]
        slots = -(-experts // num_gpus) * num_gpus + num_gpus
        return placement.gpu_shares(placement.plan(loads_LE, slots=slots, gpus=num_gpus), experts, num_gpus)

    return place


def default_placements() -> Mapping[str, Placer]:
    """On `GPUS` GPUs: in the order of indices, and EPLB's."""
    return {"contiguous": contiguous(GPUS), "eplb": eplb_placer(GPUS)}


def long_context(
    trained: TrainedModel, num_tokens: int = TOKENS, placements: Mapping[str, Placer] | None = None
) -> TaskResult:
    """Loads, imbalance and loss at 1, 2, 4 and 8 times the training length.

    Every length sees exactly the same target tokens: long windows of held-out text, whole or cut. A batch is
    as many tokens as one of the longest sequences, whatever the length. Rows of kind `length` have its
    MaxVio, the floor (`resampled_reference`: chance, given that tokens come in whole sequences) and the
    excess; rows of kind `bucket` (by position) and `domain` have the same over all their tokens. Placements
    are planned on the loads at the training length and judged at every length.
    """
    if not trained.model.routers:
        return not_run("long_context", "The model has no MoE layer, so it has no expert loads.")
    factor = longest_factor(trained)
    lengths = [f * trained.length for f in FACTORS if f <= factor]
    placements = placements if placements is not None else default_placements()
    windows = long_windows(trained, lengths[-1], num_tokens)
    loads = [count(trained, windows, length) for length in lengths]
    shares = {name: place(loads[0].counts_RLE.sum(0)) for name, place in placements.items()}
    rows = [row for one in loads for row in _rows(one, lengths, shares, trained.config.model.top_k)]
    tokens = int(loads[0].tokens_RP.sum())
    counts = {"tokens": tokens, "training_length": trained.length, "longest": lengths[-1]}
    return TaskResult(task="long_context", counts=counts, rows=rows)


def longest_factor(trained: TrainedModel) -> int:
    """The largest factor whose sequences fit the held-out text of every domain, and the model's positions."""
    if trained.config.model.position == "learned":
        return 1
    fewest = min(tokens.size for tokens in trained.corpus.held_out_tokens)
    fitting = [factor for factor in FACTORS if factor * trained.length + 1 <= fewest]
    if not fitting:
        raise CorpusError(
            f"{trained.name}: the held-out text of a domain has only {fewest} tokens, fewer than a sequence "
            f"of {trained.length}; train with shorter sequences."
        )
    return fitting[-1]


def long_windows(trained: TrainedModel, longest: int, num_tokens: int) -> list[tuple[str, Ints]]:
    """(domain, tokens [longest + 1]) of held-out text, domains in turns, about `num_tokens` in all."""
    by_domain: dict[str, list[Ints]] = {}
    for batch in trained.corpus.held_out(num_tokens=num_tokens, sequence_length=longest):
        by_domain.setdefault(batch.domain, []).extend(batch.tokens)
    most = max(map(len, by_domain.values()))
    turns = [(name, rows, turn) for turn in range(most) for name, rows in by_domain.items()]
    return [(name, rows[turn]) for name, rows, turn in turns if turn < len(rows)]


@torch.no_grad()
def count(trained: TrainedModel, windows: Sequence[tuple[str, Ints]], length: int) -> LengthLoads:
    """Cut the windows into sequences of `length` tokens of context and count their loads."""
    model = trained.at_length(length)
    pieces = (len(windows[0][1]) - 1) // length
    # The first piece of every window, then the second: neighbours come from different texts.
    cut = [
        (domain, tokens[piece * length : (piece + 1) * length + 1])
        for piece in range(pieces)
        for domain, tokens in windows
    ]
    edges = bucket_edges(trained.length, length)
    at_once = max(1, TOKENS_AT_ONCE // length)
    parts = [
        _count_batch(model, torch.from_numpy(np.stack([tokens for _, tokens in cut[i : i + at_once]])), edges)
        for i in range(0, len(cut), at_once)
    ]
    sizes_P = np.diff(edges)
    return LengthLoads(
        length=length,
        domains_R=tuple(domain for domain, _ in cut),
        counts_RPLE=np.concatenate([counts for counts, _ in parts]),
        loss_RP=np.concatenate([losses for _, losses in parts]),
        tokens_RP=np.tile(sizes_P, (len(cut), 1)),
    )


def bucket_edges(training_length: int, length: int) -> list[int]:
    """Edges of position buckets: 0, the training length, then each twice the one before.

    >>> bucket_edges(64, 256)
    [0, 64, 128, 256]
    """
    edges = [0, training_length]
    while edges[-1] < length:
        edges.append(2 * edges[-1])
    return edges


def _count_batch(model: TrainedModel, tokens_BS: Tensor, edges: Sequence[int]) -> tuple[Ints, Floats]:
    """(counts [B, P, L, E], nats [B, P]) of a few sequences."""
    output = model.forward(tokens_BS[:, :-1])
    logits, targets = output.logits_BSV.float(), tokens_BS[:, 1:].to(model.device)
    nats_BS = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    experts = model.config.model.num_experts
    counts, losses = [], []
    for first, last in pairwise(edges):
        layers = [
            sequence_counts(
                layer.routing.topk_expert_ids_TK.view(*targets.shape, -1)[:, first:last].flatten(1),
                len(targets),
                experts,
            )
            for layer in output.layers
        ]
        counts.append(torch.stack(layers, 1))
        losses.append(nats_BS[:, first:last].double().sum(1))
    return torch.stack(counts, 1).cpu().numpy(), torch.stack(losses, 1).cpu().numpy()


def _rows(
    one: LengthLoads, lengths: Sequence[int], shares: Mapping[str, Floats], top_k: int
) -> Iterator[dict[str, Any]]:
    per_batch = lengths[-1] // one.length
    counts_RLE = one.counts_RLE
    experts = counts_RLE.shape[-1]
    measured = mean(metrics.max_vio_computation_batch(counts_RLE, per_batch))
    yield {
        "kind": "length",
        "length": one.length,
        "sequences_per_batch": per_batch,
        **_sums(one.loss_RP, one.tokens_RP, counts_RLE.sum(0)),
        "sequences": len(counts_RLE),
        "max_vio": measured,
        **_floor(counts_RLE, per_batch, measured),
        "uniform_floor": metrics.uniform_reference(experts, top_k, lengths[-1])[0],
        **{
            f"gpu_max_vio {name}": gpu_max_vio(counts_RLE, share, per_batch) for name, share in shares.items()
        },
    }
    for place, (first, last) in enumerate(pairwise(bucket_edges(lengths[0], one.length))):
        part_RLE = one.counts_RPLE[:, place]
        sums = _sums(one.loss_RP[:, place], one.tokens_RP[:, place], part_RLE.sum(0))
        where = {"kind": "bucket", "length": one.length, "first": first, "last": last - 1}
        yield where | sums | _together(part_RLE)
    for domain in dict.fromkeys(one.domains_R):
        is_in_R = np.array([name == domain for name in one.domains_R])
        part_RLE = counts_RLE[is_in_R]
        sums = _sums(one.loss_RP[is_in_R], one.tokens_RP[is_in_R], part_RLE.sum(0))
        where = {"kind": "domain", "length": one.length, "domain": domain}
        yield where | sums | _together(part_RLE)


def _sums(loss: Floats, tokens: Ints, counts_LE: Ints) -> dict[str, Any]:
    total, nats = int(tokens.sum()), float(loss.sum())
    return {"tokens": total, "loss_sum": nats, "loss": ratio(nats, total), "tokens_LE": counts_LE.tolist()}


def _together(counts_RLE: Ints) -> dict[str, Any]:
    """MaxVio of all sequences together, over the floor of as many."""
    measured = metrics.max_vio_global(counts_RLE.sum(0))
    return {
        "sequences": len(counts_RLE),
        "max_vio": measured,
        **_floor(counts_RLE, len(counts_RLE), measured),
    }


def _floor(counts_RLE: Ints, sequences: int, measured: float | None) -> dict[str, float | None]:
    """What clustering alone gives in batches of that many sequences, and the excess over it.

    Domains are not kept apart: which of them a batch holds is part of its chance.
    """
    if len(counts_RLE) < LEAST_SEQUENCES or measured is None:
        return {"floor": None, "excess": None}
    floor = metrics.resampled_reference(counts_RLE, sequences, draws=DRAWS)[0]
    return {"floor": floor, "excess": measured - floor}


def gpu_max_vio(counts_RLE: Ints, shares_LGE: Floats, per_batch: int) -> float | None:
    """Busiest GPU over the mean, minus 1: mean over batches of `per_batch` sequences, then over layers.

    None without a whole batch.
    """
    batches = len(counts_RLE) // per_batch
    if not batches:
        return None
    whole = counts_RLE[: batches * per_batch].reshape(batches, per_batch, *counts_RLE.shape[1:]).sum(1)
    loads_XLG = np.einsum("lge,xle->xlg", shares_LGE, whole)
    # Not `metrics.max_vio`, which takes counts: a replica serves a share of them.
    return float((loads_XLG.max(-1) / loads_XLG.mean(-1) - 1).mean())
