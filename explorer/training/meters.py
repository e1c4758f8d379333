"""Measurements of one step's micro-batches: integer counts, sums and means, still on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.corpus import Batch
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import choice_margin, switched_slots
from explorer.model.transformer import LayerOutput
from explorer.training.finite import nonfinite_logits
from explorer.training.ranks import SINGLE_PROCESS, Ranks
from explorer.training.thresholds import threshold_routers


def assignments_LE(layers: Sequence[LayerOutput]) -> Tensor:
    """Assignments of one micro-batch, int64 [L, E]."""
    return torch.stack([layer.counts_BE.sum(0) for layer in layers])


COUNTED = {"tokens", "dropped_tokens", "switched_slots", "nonfinite_logits"}
"""Integer measurements, summed over micro-batches; everything else is averaged."""


@dataclass(frozen=True)
class Totals:
    """Measurements of one step over all its micro-batches and ranks."""

    counts: dict[str, Tensor]
    """Integer sums, [L] or [L, E]."""
    means: dict[str, Tensor]
    """Means over micro-batches, [L] or [L, E]; `lm_loss` is a scalar."""
    rank_counts_RLE: Tensor | None
    """Assignments by rank, int64; None in a single process."""


class StepMeters:
    """Collects the measurements of one step's micro-batches."""

    def __init__(self, is_sampled: bool) -> None:
        self.is_sampled = is_sampled
        """Whether per-sequence loads and other costly measurements are included."""
        self.losses: list[Tensor] = []
        self.layer_sums: list[dict[str, Tensor]] = []
        self.sequences: list[tuple[int, list[str], Tensor]] = []
        self.observations: list[list[Tensor | None]] = []
        self.scores: list[Tensor] = []
        """Scores of every micro-batch, [L, T, E], where they update thresholds."""

    @torch.no_grad()
    def add(
        self,
        index: int,
        batch: Batch,
        loss: Tensor,
        layers: Sequence[LayerOutput],
        model: MoETransformer,
        balancer: CombinedBalancer,
    ) -> None:
        """Add micro-batch `index` of the step; loss: a scalar, nats per token."""
        self.losses.append(loss)
        self.observations.append([layer.observed for layer in layers])
        if not layers:  # a dense model: nothing is routed
            nothing_LE = torch.zeros(0, model.config.num_experts, dtype=torch.int64, device=loss.device)
            self.layer_sums.append({"tokens": nothing_LE, "nonfinite_logits": nothing_LE})
            return
        scores_LTE = torch.stack([layer.routing.scores_TE.detach() for layer in layers])
        counts_LBE = torch.stack([layer.counts_BE for layer in layers])
        if threshold_routers(model):
            self.scores.append(scores_LTE)
        sums = {
            "tokens": counts_LBE.sum(1),
            "nonfinite_logits": nonfinite_logits(layers),
            "mean_score": scores_LTE.mean(1),
            # Clamped as in the loss: all scores of a token may underflow to 0.
            "mean_normalised_score": (scores_LTE / scores_LTE.sum(-1, keepdim=True).clamp_min(1e-20)).mean(1),
        }
        dropped = [layer.dropped_BE for layer in layers if layer.dropped_BE is not None]
        if dropped:
            sums["dropped_tokens"] = torch.stack(dropped).sum(1)
        for name in ("aux", "z"):
            values = [getattr(layer.losses, name) for layer in layers]
            if all(v is not None for v in values):
                sums[f"{name}_loss"] = torch.stack(values)
        if self.is_sampled:
            self.sequences.append((index, batch.domain_names, counts_LBE.transpose(0, 1)))
            self._sample(sums, layers, balancer)
        self.layer_sums.append(sums)

    def _sample(
        self, sums: dict[str, Tensor], layers: Sequence[LayerOutput], balancer: CombinedBalancer
    ) -> None:
        routings = [layer.routing for layer in layers]
        margins = [m for m in map(choice_margin, routings) if m is not None]
        if margins:
            sums["score_margin"] = torch.stack(margins)
        if balancer.uses_bias:
            sums["switched_slots"] = torch.stack([switched_slots(routing) for routing in routings])

    def counts_LE(self) -> Tensor | None:
        """Assignments in the micro-batches so far, int64; None before the first and in a dense model."""
        if not self.layer_sums or not len(self.layer_sums[0]["tokens"]):
            return None
        return torch.stack([sums["tokens"] for sums in self.layer_sums]).sum(0)

    def observed(self, balancer: CombinedBalancer, ranks: Ranks = SINGLE_PROCESS) -> list[Tensor] | None:
        """Per layer, the observation of the whole step, see `Balancer.pool`; None if it needs none."""
        layers = list(zip(*self.observations, strict=True))
        parts_of_layers = [[part for part in layer if part is not None] for layer in layers]
        if not parts_of_layers or not all(parts_of_layers):
            return None
        return [balancer.pool(ranks.gather(balancer.pool(parts))) for parts in parts_of_layers]

    def totals(self, ranks: Ranks) -> Totals:
        """Sums and means over the micro-batches of all ranks, equally weighted."""
        names = self.layer_sums[0].keys()
        counts = {n: torch.stack([sums[n] for sums in self.layer_sums]).sum(0) for n in names & COUNTED}
        means = {
            n: torch.stack([sums[n] for sums in self.layer_sums]).float().mean(0) for n in names - COUNTED
        }
        means["lm_loss"] = torch.stack(self.losses).mean()
        by_rank = ranks.gather_named({name: counts[name] for name in sorted(counts)})
        return Totals(
            counts={name: torch.stack([part[name] for part in by_rank]).sum(0) for name in counts},
            means=ranks.mean_named({name: means[name] for name in sorted(means)}),
            rank_counts_RLE=torch.stack([part["tokens"] for part in by_rank]) if ranks.size > 1 else None,
        )

    def all_sequences(self, ranks: Ranks) -> list[tuple[int, list[str], Tensor]]:
        """(micro-batch, domains, counts [B, L, E]) of every rank, on rank 0; empty unless sampled."""
        if not self.is_sampled:
            return []
        if ranks.size == 1:
            return self.sequences
        # They are sent between processes, and no process should open another one's GPU.
        return ranks.collect([(index, domains, counts.cpu()) for index, domains, counts in self.sequences])
