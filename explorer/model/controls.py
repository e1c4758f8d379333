"""Controls: routings that ignore the router's scores. They show the value of learned selection.

Gate weights are computed as everywhere (`explorer/model/gates.py`), from the router's own scores, so that
only the selection differs from token choice.
"""

import torch
from torch import Tensor

from explorer.config.model import ModelConfig
from explorer.model.gates import scores, weigh
from explorer.model.router import Router, Routing
from explorer.routing.spec import route_spec

HASH_SEED = 20_211_106
"""Seed of the tables; the same in every run, so that two runs hash alike."""


class HashRouter(Router):
    """Router for hash routing: its scores give the gates, a table of token ids the experts."""

    hash_table_VK: Tensor
    """Experts of every token id, int64; rebuilt from its seed, so never saved."""

    def __init__(self, hidden_size: int, num_experts: int, init_std: float, table_VK: Tensor) -> None:
        super().__init__(hidden_size, num_experts, init_std)
        self.register_buffer("hash_table_VK", table_VK, persistent=False)


def hash_table(vocab_size: int, num_experts: int, top_k: int, layer: int) -> Tensor:
    """K distinct experts for every token id, int64 [V, K]; a different table in every layer.

    Source: Hash Layers, arXiv 2106.04426, section 3.1, random hash. Balanced over ids: the ids are put
    in random order, and of every E consecutive ids each expert gets exactly K. So two experts differ by at
    most K in their number of ids, and how often two experts share an id is random. That does not
    balance loads: tokens are not equally frequent.

    Departures: K experts instead of one, all of them in one lookup (the paper's MultiHash splits an
    expert's parameters instead); the paper has no router, here its scores are the gates; its balanced
    hash equalises token frequencies in the training text, this one the number of ids.
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
    """K distinct experts for every token, every ordered set equally likely, int64 [T, K].

    The random control draws one per token and layer, in evaluation too, where seeds depend only on the
    batch so that two evaluations agree.
    """
    draws_TE = torch.rand(num_tokens, num_experts, generator=generator, device=generator.device)
    return draws_TE.topk(top_k, dim=1).indices


def with_gates(router_logits_TE: Tensor, expert_ids_TK: Tensor, config: ModelConfig) -> Routing:
    """A routing to experts not chosen by the router, with the router's gate weights."""
    spec = route_spec(config, is_training=True)
    logits = router_logits_TE.float()
    scores_TE = scores(logits, spec.score_func)
    return Routing(logits, scores_TE, expert_ids_TK, weigh(logits, scores_TE, expert_ids_TK, spec))
