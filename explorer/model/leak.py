"""Information leak: does a token's routing depend on later tokens or other sequences?

Measured by changing one token. In a causal language model a position's output depends only on that
position and earlier ones of the same sequence. Token choice, expert thresholds, hash and random routing
are causal.
Expert choice ranks tokens against each other, so a later token can take an earlier one's place with an
expert (arXiv 2408.15664, section 5.2): training then sees what decoding cannot.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext
from explorer.model.transformer import MoETransformer

TOLERANCE = 1e-5
"""Tolerance below which logits count as equal, times the largest logit if that is above 1: a
matrix product over other tokens may round differently."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Changes where none may occur, over all trials; shares are of the tokens compared."""

    trials: int
    earlier_tokens: int
    """Tokens before the changed one, in its own sequence, summed over trials."""
    earlier_experts: int
    """Of these, those with a different set of experts in some layer."""
    earlier_logits: int
    """Of these, those with different next-token logits."""
    other_tokens: int
    """Tokens of the other sequences, summed over trials."""
    other_experts: int
    other_logits: int

    @property
    def is_causal(self) -> bool:
        """Whether nothing leaked in these trials."""
        return not (self.earlier_experts or self.earlier_logits or self.other_experts or self.other_logits)

    def share(self, what: str) -> float:
        """`earlier_experts`, `earlier_logits`, `other_experts` or `other_logits` as a share of its tokens."""
        tokens = self.earlier_tokens if what.startswith("earlier") else self.other_tokens
        return getattr(self, what) / tokens if tokens else 0.0


@torch.no_grad()
def measure_leak(
    model: MoETransformer,
    tokens_BS: Tensor,
    balancer: CombinedBalancer | None = None,
    *,
    trials: int = 16,
    seed: int = 0,
) -> Leak:
    """Change one token at a time, at a random position after the first, and compare with the original pass.

    The model is in evaluation; `balancer` supplies the selection bias, if any. The new token is any other id.
    """
    balancer = balancer or CombinedBalancer([])
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    context = ForwardContext(seed=seed)
    before = _pass(model, tokens_BS, balancer, context)
    counts = dict.fromkeys(("earlier_tokens", "earlier_experts", "earlier_logits"), 0)
    counts |= dict.fromkeys(("other_tokens", "other_experts", "other_logits"), 0)
    batch, length = tokens_BS.shape
    for _ in range(trials):
        sequence = int(torch.randint(batch, (), generator=generator))
        position = int(torch.randint(1, length, (), generator=generator))
        step = int(torch.randint(1, model.embedding.num_embeddings, (), generator=generator))
        changed_BS = tokens_BS.clone()
        changed_BS[sequence, position] = (changed_BS[sequence, position] + step) % len(model.embedding.weight)
        after = _pass(model, changed_BS, balancer, context)
        differs = [_differs(a, b) for a, b in zip(before, after, strict=True)]
        others = torch.arange(batch, device=tokens_BS.device) != sequence
        counts["earlier_tokens"] += position
        counts["other_tokens"] += (batch - 1) * length
        for name, differs_BS in zip(("experts", "logits"), differs, strict=True):
            counts[f"earlier_{name}"] += int(differs_BS[sequence, :position].sum())
            counts[f"other_{name}"] += int(differs_BS[others].sum())
    model.train(was_training)
    return Leak(trials=trials, **counts)


def _pass(
    model: MoETransformer, tokens_BS: Tensor, balancer: CombinedBalancer, context: ForwardContext
) -> tuple[Tensor, Tensor]:
    """The selected experts, [B, S, L · E] as 0 and 1, and the logits [B, S, V]."""
    output = model(tokens_BS, balancer, context)
    num_experts = model.config.num_experts
    selected = []
    for layer in output.layers:
        ids_TK = layer.routing.topk_expert_ids_TK
        taken_TX = torch.zeros(len(ids_TK), num_experts + 1, device=ids_TK.device).scatter_(1, ids_TK, 1.0)
        selected.append(taken_TX[:, :num_experts])
    sets_TX = torch.cat(selected, dim=1) if selected else output.logits_BSV.new_zeros(tokens_BS.numel(), 0)
    return sets_TX.view(*tokens_BS.shape, -1), output.logits_BSV.float()


def _differs(a_BSX: Tensor, b_BSX: Tensor) -> Tensor:
    """Where two passes differ, bool [B, S]."""
    largest = max(1.0, float(a_BSX.abs().max())) if a_BSX.numel() else 1.0
    return ((a_BSX - b_BSX).abs() > TOLERANCE * largest).any(-1)
