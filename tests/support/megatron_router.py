"""A stand-in with the signature of Megatron-Core's TopKRouter."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class TopKRouter(nn.Module):
    """(input, padding_mask) -> weights and a map of truth values, both [T, E]; D features."""

    def __init__(self, num_experts: int, top_k: int, features: int) -> None:
        super().__init__()
        self.config: Any = SimpleNamespace(num_moe_experts=num_experts, moe_router_topk=top_k)
        self.topk = top_k
        self.weight = nn.Parameter(torch.randn(num_experts, features))
        self.register_buffer("expert_bias", torch.randn(num_experts))

    def forward(self, input: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scores_TE = (input.reshape(-1, input.shape[-1]) @ self.weight.T).sigmoid()
        chosen_TK = (scores_TE + self.expert_bias).topk(self.topk, dim=-1).indices
        map_TE = torch.zeros_like(scores_TE, dtype=torch.bool).scatter(1, chosen_TK, True)
        return scores_TE * map_TE, map_TE
