"""Routings in which experts choose tokens: expert choice, and expert thresholds, its causal counterpart.

Both let a token have any number of experts, including none; such a token passes only the shared experts
and the residual path. The routing therefore has K = E slots: slot e holds e where expert e
selects the token, and E where it does not.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from explorer.config.model import ModelConfig
from explorer.model.gates import scores as scores_of
from explorer.model.gates import weigh
from explorer.model.router import Router, Routing
from explorer.routing.spec import route_spec


def expert_choice(router_logits_TE: Tensor, config: ModelConfig) -> Routing:
    """Every expert selects the C = ceil(n · K / E) of n tokens with its highest scores.

    Source: Zhou et al., arXiv 2202.09368, section 3.2: S = softmax(x W), experts take the TopK of the tokens
    of a group, and the gate is the score itself, not normalised over a token's experts:
    `normalize_gates` has no effect. K plays the paper's capacity factor (experts per token on average).
    `expert_choice_chunk` consecutive tokens form a group, by default the whole micro-batch; the remaining
    tokens at the end of a micro-batch form a smaller group with its own C.
    Where E does not divide n · K, all experts together take slightly more than n · K tokens.

    Departures: scores by `score_func` (the paper has softmax), and C is rounded up. Whether a token is
    taken depends on the other tokens of its group, later ones too: that leaks the future into training
    (arXiv 2408.15664, section 5.2), see `explorer/model/leak.py`.
    """
    logits = router_logits_TE.float()
    scores_TE = scores_of(logits, config.score_func)
    taken_TE = expert_choice_mask(scores_TE.detach(), config.top_k, config.expert_choice_chunk)
    return _taken_routing(logits, scores_TE, taken_TE, config)


def expert_choice_mask(scores_TE: Tensor, top_k: int, chunk: int | None) -> Tensor:
    """True where the expert selects the token, bool [T, E]."""
    num_tokens = len(scores_TE)
    size = min(chunk or num_tokens, num_tokens)
    num_whole = num_tokens // size * size
    groups_GTE = scores_TE[:num_whole].view(-1, size, scores_TE.shape[1])
    selected = [_best_of_group(groups_GTE, top_k).flatten(0, 1)]
    if num_whole < num_tokens:
        selected.append(_best_of_group(scores_TE[None, num_whole:], top_k)[0])
    return torch.cat(selected)


def _best_of_group(scores_GTE: Tensor, top_k: int) -> Tensor:
    """True for every expert's C best of the T tokens of a group, bool [G, T, E]."""
    _, size, num_experts = scores_GTE.shape
    capacity = -(-size * top_k // num_experts)
    best_GXE = scores_GTE.topk(capacity, dim=1).indices
    return torch.zeros_like(scores_GTE, dtype=torch.bool).scatter_(1, best_GXE, True)


class ThresholdRouter(Router):
    """A router with one cut-off per expert, which moves once per optimizer step."""

    threshold_E: Tensor
    """float32, saved with the model."""

    def __init__(self, hidden_size: int, num_experts: int, init_std: float, threshold: float) -> None:
        super().__init__(hidden_size, num_experts, init_std)
        self.register_buffer("threshold_E", torch.full((num_experts,), threshold))


def expert_threshold(router_logits_TE: Tensor, threshold_E: Tensor, config: ModelConfig) -> Routing:
    """Token t goes to every expert j with s_{j,t} > θ_j, independently of other tokens.

    Source: Expert Threshold Routing, arXiv 2603.11535, eq. 6 and algorithm 1: each score is compared with
    the cut-off of earlier batches, the gate is the score itself (not normalised), and a token below all
    cut-offs gets no routed expert. Departures: scores by `score_func` (the paper has sigmoid); no
    bounds on how many tokens an expert takes in training (the paper drops beyond 1.5 times its share
    and fills up below half of it); no warm-up by expert choice, see `initial_threshold`.
    """
    logits = router_logits_TE.float()
    scores_TE = scores_of(logits, config.score_func)
    return _taken_routing(logits, scores_TE, scores_TE.detach() > threshold_E, config)


def initial_threshold(config: ModelConfig) -> float:
    """The cut-off at which about K of E experts select a token with a freshly initialised router.

    The paper warms up by expert choice, which depends on later tokens. A fresh router needs none: its input
    has length √D and its weights are normal with `init_std`, so its logits are normal with σ = √D · init_std,
    and their 1 - K/E quantile is known. The first update replaces it by the measured one.
    """
    if config.top_k == config.num_experts:
        return BELOW_EVERY_SCORE
    sigma = config.init_std * math.sqrt(config.hidden_size)
    logit = torch.tensor(sigma * NormalDist().inv_cdf(1 - config.top_k / config.num_experts))
    if config.score_func == "softmax":
        # Σ exp over E normal logits is about E exp(σ²/2).
        return float((logit - sigma**2 / 2).exp() / config.num_experts)
    return float(scores_of(logit, config.score_func))


BELOW_EVERY_SCORE = -1.0
"""The cut-off that every token passes."""


def cut_off(scores_LTE: Tensor, top_k: int) -> Tensor:
    """The 1 - K/E quantile over tokens of every expert's scores, linearly interpolated, [L, E].

    Exact, by order statistics of all tokens of the step (keeps T · E numbers per layer).
    """
    _, num_tokens, num_experts = scores_LTE.shape
    if top_k == num_experts:
        return scores_LTE.new_full((len(scores_LTE), num_experts), BELOW_EVERY_SCORE)
    place = (num_tokens - 1) * (num_experts - top_k) / num_experts
    below = math.floor(place)
    low_LE = scores_LTE.kthvalue(below + 1, dim=1).values
    high_LE = scores_LTE.kthvalue(min(below + 2, num_tokens), dim=1).values
    return low_LE + (place - below) * (high_LE - low_LE)


@torch.no_grad()
def update_thresholds(
    routers: Sequence[ThresholdRouter], scores_LTE: Tensor, config: ModelConfig, *, is_first: bool
) -> None:
    """θ ← m · θ + (1 - m) · cut-off, once after an optimizer step, from all its tokens; m = `threshold_ema`.

    scores_LTE: unbiased scores of every micro-batch and rank. The first update uses the cut-off itself: a
    running mean started from a guess would be biased by it for many steps.
    """
    memory = 0.0 if is_first else config.threshold_ema
    for router, cut_E in zip(routers, cut_off(scores_LTE.float(), config.top_k), strict=True):
        router.threshold_E.mul_(memory).add_(cut_E, alpha=1 - memory)


def _taken_routing(logits_TE: Tensor, scores_TE: Tensor, taken_TE: Tensor, config: ModelConfig) -> Routing:
    num_experts = scores_TE.shape[1]
    experts_E = torch.arange(num_experts, device=scores_TE.device)
    ids_TE = experts_E.expand_as(taken_TE).where(taken_TE, num_experts)
    gates_TE = weigh(logits_TE, scores_TE, ids_TE, route_spec(config, is_training=True))
    return Routing(logits_TE, scores_TE, ids_TE, gates_TE, taken_TE)
