"""Random token choices for the property tests: gates, groups, top-p, biases; scores without near ties."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from reference import routing, token_choice
from routes import route
from strategies import MARGIN, smallest_gap

from explorer.model.router import Routing

SCORE_FUNCS = ("sigmoid", "softmax", "sqrt_softplus")


@dataclass(frozen=True)
class Choice:
    """One layer's logits and bias, and how its tokens choose."""

    logits_TE: np.ndarray
    bias_E: np.ndarray
    bias_form: str
    score_func: str
    gate_func: str | None
    top_k: int
    num_groups: int
    top_k_groups: int
    top_p: float | None
    normalize_gates: bool
    route_scale: float

    @property
    def num_experts(self) -> int:
        return self.logits_TE.shape[1]

    @property
    def scores_TE(self) -> list[list[float]]:
        return token_choice.scores(self.logits_TE, self.score_func)

    @property
    def weighing_TE(self) -> list[list[float]]:
        return token_choice.scores(self.logits_TE, self.gate_func or self.score_func)

    @property
    def divide_by(self) -> str:
        if not self.normalize_gates:
            return "nothing"
        if self.top_p is not None:
            return "all"
        return "chosen" if self.top_k > 1 else "nothing"

    def compared(self, bias: Any) -> list[list[float]]:
        return routing.biased(self.scores_TE, bias, self.bias_form)

    def expert_ids(self, bias: Any) -> list[list[int]]:
        """The choice of the slow reference."""
        groups = (self.num_groups, self.top_k_groups)
        return token_choice.choose(self.scores_TE, bias, self.bias_form, self.top_k, *groups, self.top_p)

    def route(self, bias: Any, logits: Any = None, **others: Any) -> Routing:
        """The choice of the model's code."""
        options = {
            "top_k": self.top_k,
            "score_func": self.score_func,
            "gate_func": self.gate_func,
            "normalize_gates": self.normalize_gates,
            "route_scale": self.route_scale,
            "bias_form": self.bias_form,
            "num_groups": self.num_groups,
            "top_k_groups": self.top_k_groups,
            "top_p": self.top_p,
        }
        bias = None if bias is None else torch.as_tensor(np.asarray(bias), dtype=torch.float32)
        logits = torch.from_numpy(self.logits_TE) if logits is None else logits
        return route(logits, expert_bias_E=bias, **(options | others))


def lists(routing_: Routing) -> list[list[int]]:
    """The experts of every token, without the empty slots, in their order."""
    num_experts = routing_.scores_TE.shape[1]
    return [[e for e in row if e < num_experts] for row in routing_.topk_expert_ids_TK.tolist()]


def weights(routing_: Routing) -> list[list[float]]:
    """The gates of the same slots."""
    num_experts = routing_.scores_TE.shape[1]
    ids, gates = routing_.topk_expert_ids_TK.tolist(), routing_.gate_weights_TK.tolist()
    return [
        [g for e, g in zip(a, b, strict=True) if e < num_experts] for a, b in zip(ids, gates, strict=True)
    ]


def is_clear(choice: Choice, bias: Any) -> bool:
    """Whether the selection is safe from rounding: no two scores near a tie, no cumulative sum near p."""
    rows = choice.compared(bias)
    if smallest_gap(rows) <= MARGIN:
        return False
    size = choice.num_experts // choice.num_groups
    if choice.num_groups > 1:
        worth = [
            [sum(sorted(row[g : g + size])[-2:]) for g in range(0, choice.num_experts, size)] for row in rows
        ]
        if smallest_gap(worth) <= MARGIN:
            return False
    return choice.top_p is None or not _sum_is_close(choice, rows)


def _sum_is_close(choice: Choice, rows: list[list[float]]) -> bool:
    for scores, row in zip(choice.scores_TE, rows, strict=True):
        allowed = token_choice.allowed_experts(row, choice.num_groups, choice.top_k_groups)
        ranked = np.array([scores[e] for e in token_choice.by_rank(row, allowed)])
        if np.abs(np.cumsum(ranked) / ranked.sum() - choice.top_p).min() < MARGIN:
            return True
    return False


@st.composite
def choices(draw: Any, *, groups: bool = True, top_p: bool = True, max_tokens: int = 8) -> Choice:
    """Arbitrary sizes and settings; the values come from a drawn seed."""
    num_groups = draw(st.integers(1, 4)) if groups else 1
    num_experts = num_groups * draw(st.integers(2 if num_groups == 1 else 1, 4))
    top_k_groups = draw(st.integers(1, num_groups))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bias_form = draw(st.sampled_from(["additive", "multiplicative"]))
    bias = draw(st.sampled_from([0.01, 0.3])) * rng.standard_normal(num_experts)
    score_func = draw(st.sampled_from(SCORE_FUNCS))
    others = [None, *(name for name in SCORE_FUNCS if name != score_func)]
    spread = draw(st.sampled_from([0.1, 1.0, 4.0]))
    logits = spread * rng.standard_normal((draw(st.integers(1, max_tokens)), num_experts))
    choice = Choice(
        logits_TE=logits.astype(np.float32),
        bias_E=(bias + (bias_form == "multiplicative")).astype(np.float32),
        bias_form=bias_form,
        score_func=score_func,
        gate_func=draw(st.sampled_from(others)),
        top_k=draw(st.integers(1, num_experts // num_groups * top_k_groups)),
        num_groups=num_groups,
        top_k_groups=top_k_groups,
        top_p=draw(st.sampled_from([None, 0.1, 0.5, 0.9])) if top_p else None,
        normalize_gates=draw(st.booleans()),
        route_scale=draw(st.sampled_from([1.0, 2.5])),
    )
    assume(is_clear(choice, choice.bias_E) and is_clear(choice, None))
    return choice
