"""Controls: routings in which the router's scores decide nothing. They show what choosing is worth.

The chosen experts are weighed as everywhere (`explorer/model/gates.py`), by the router's own scores, so that
against token choice only the choosing changes.
"""

import torch
from torch import Tensor

from explorer.config.model import ModelConfig
from explorer.model.gates import scores, weigh
from explorer.model.router import Router, Routing
from explorer.routing.spec import route_spec

HASH_SEED = 20_211_106
"""Of the tables; the same in every run, so that two runs hash alike."""


class HashRouter(Router):
    """The router of hash routing: its scores are the gates, a table of token ids chooses."""

    hash_table_VK: Tensor
    """Experts of every token id, int64; made anew from its seed, so never saved."""

    def __init__(self, hidden_size: int, num_experts: int, init_std: float, table_VK: Tensor) -> None:
        super().__init__(hidden_size, num_experts, init_std)
        self.register_buffer("hash_table_VK", table_VK, persistent=False)


def hash_table(vocab_size: int, num_experts: int, top_k: int, layer: int) -> Tensor:
    """K distinct experts for every token id, int64 [V, K]; another table in every layer.

    Source: Hash Layers, arXiv 2106.04426, section 3.1, random hash. Balanced over ids: the ids are put
    in random order, and of every E ids in a row each expert gets exactly K. So two experts differ by at
    most K in how many ids they have, and how often two experts meet is left to chance. Loads are not
    balanced by that: tokens are not equally frequent.

    Departures: K experts instead of one, all of them in one lookup (the paper's MultiHash splits an
    expert's parameters instead); the paper has no router, here its scores are the gates; its balanced
    hash levels the tokens' frequencies in the training text, this one the ids.
    """
    generator = torch.Generator().manual_seed(HASH_SEED + layer)
    blocks = -(-vocab_size // num_experts)  # X of them, of E ids each
    offsets_X1K = random_subsets(blocks, num_experts, top_k, generator)[:, None]
    places_E1 = torch.arange(num_experts)[:, None]
    rotated_XEK = (places_E1 + offsets_X1K) % num_experts
    names_XE = random_subsets(blocks, num_experts, num_experts, generator)
    table_VK = names_XE.gather(1, rotated_XEK.flatten(1)).view(-1, top_k)[:vocab_size]
    order_V = torch.randperm(vocab_size, generator=generator)
    return torch.empty_like(table_VK).index_copy_(0, order_V, table_VK)


def random_subsets(num_tokens: int, num_experts: int, top_k: int, generator: torch.Generator) -> Tensor:
    """K distinct experts for every token, each set and order as likely as any other, int64 [T, K].

    The random control draws one a token and layer, in evaluation too; there with seeds that depend on the
    batch alone, so that two evaluations agree.
    """
    drawn = torch.rand(num_tokens, num_experts, generator=generator, device=generator.device)
    return drawn.topk(top_k, dim=1).indices


def with_gates(router_logits_TE: Tensor, expert_ids_TK: Tensor, config: ModelConfig) -> Routing:
    """The routing to experts that something else than the router chose, with the router's gate weights."""
    spec = route_spec(config, is_training=True)
    logits = router_logits_TE.float()
    scores_TE = scores(logits, spec.score_func)
    return Routing(logits, scores_TE, expert_ids_TK, weigh(logits, scores_TE, expert_ids_TK, spec))
