"""Random routers for the property tests: scores without near ties.

Where two compared scores are closer than rounding, a fast float32 router and a slow float64 one
may rightly choose differently; such inputs are drawn again.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from reference import routing

MARGIN = 2e-5


@dataclass(frozen=True)
class Case:
    """One layer's input: router logits of B sequences of S tokens, and a bias."""

    num_sequences: int
    num_experts: int
    top_k: int
    score_func: str
    bias_form: str
    logits_TE: np.ndarray
    bias_E: np.ndarray

    @property
    def scores_TE(self) -> list[list[float]]:
        return routing.scores(self.logits_TE, self.score_func)

    @property
    def sequence_length(self) -> int:
        return len(self.logits_TE) // self.num_sequences


def smallest_gap(rows: list[list[float]]) -> float:
    """The smallest distance between two values of one row."""
    return min(float(np.diff(np.sort(row)).min()) for row in rows) if len(rows[0]) > 1 else 1.0


@st.composite
def cases(draw, max_experts: int = 6, max_tokens: int = 6, min_experts: int = 2) -> Case:
    """Arbitrary sizes, gate functions, logits and biases; the values come from a drawn seed."""
    num_experts = draw(st.integers(min_experts, max_experts))
    num_sequences = draw(st.integers(1, 3))
    length = draw(st.integers(1, max_tokens))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bias_form = draw(st.sampled_from(["additive", "multiplicative"]))
    spread = draw(st.sampled_from([0.1, 1.0, 4.0]))
    logits = (spread * rng.standard_normal((num_sequences * length, num_experts))).astype(np.float32)
    bias = draw(st.sampled_from([0.01, 0.3])) * rng.standard_normal(num_experts)
    case = Case(
        num_sequences=num_sequences,
        num_experts=num_experts,
        top_k=draw(st.integers(1, num_experts)),
        score_func=draw(st.sampled_from(["sigmoid", "softmax"])),
        bias_form=bias_form,
        logits_TE=logits,
        bias_E=(bias + (1.0 if bias_form == "multiplicative" else 0.0)).astype(np.float32),
    )
    scores = case.scores_TE
    assume(smallest_gap(scores) > MARGIN)
    assume(smallest_gap(routing.biased(scores, case.bias_E, bias_form)) > MARGIN)
    return case


@st.composite
def counts(draw, max_experts: int = 8, largest: int = 1000) -> list[int]:
    """Assignments of one layer with at least one token."""
    values = draw(st.lists(st.integers(0, largest), min_size=2, max_size=max_experts))
    assume(sum(values) > 0)
    return values
