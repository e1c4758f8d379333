"""Moving quantile balancing: the per-token bias against loops, causality, and what λ does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import quantiles
from routes import route
from runs_in_memory import train_tiny

from explorer.config.rule_text import MovingQuantile
from explorer.model import moving_quantile
from explorer.model.balancers import CombinedBalancer
from explorer.model.moving_quantile import moving_quantiles
from explorer.records.records import LoadRecord


@st.composite
def sequences(draw, most: int = 3):
    """Scores [B, S, E] in (0, 1) and K."""
    num_experts = draw(st.integers(2, 5))
    shape = (draw(st.integers(1, most)), draw(st.integers(1, 12)), num_experts)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = 1 / (1 + np.exp(-2 * rng.standard_normal(shape)))
    return scores.astype(np.float32), draw(st.integers(1, num_experts - 1))


def fast(scores_BSE, top_k: int, decay: float = 0.9, num_bins: int = 20) -> np.ndarray:
    batch, _, experts = scores_BSE.shape
    flat = torch.tensor(scores_BSE).view(-1, experts)
    moving = moving_quantiles(flat, batch, top_k, decay=decay, num_bins=num_bins)
    return moving.view(scores_BSE.shape).numpy()


@given(
    case=sequences(),
    decay=st.sampled_from([0.0, 0.5, 0.97]),
    num_bins=st.sampled_from([7, 100]),
    chunk=st.integers(1, 5),
)
@settings(max_examples=60)
def test_it_equals_the_reference_in_pieces_of_any_length(
    case, decay: float, num_bins: int, chunk: int
) -> None:
    scores, top_k = case
    slow = [quantiles.moving(sequence.tolist(), top_k, decay, num_bins) for sequence in scores]
    before, moving_quantile.CHUNK = moving_quantile.CHUNK, chunk
    try:
        np.testing.assert_allclose(fast(scores, top_k, decay, num_bins), slow, atol=1e-6)
    finally:
        moving_quantile.CHUNK = before
    np.testing.assert_allclose(fast(scores, top_k, decay, num_bins), slow, atol=1e-6)


@given(case=sequences(), cut=st.integers(0, 12))
def test_no_token_is_moved_by_later_ones_or_by_other_sequences(case, cut: int) -> None:
    scores, top_k = case
    other = scores.copy()
    other[0, cut:] = 1 - other[0, cut:]
    other[1:] = other[1:] ** 2
    assert np.array_equal(fast(scores, top_k)[0, :cut], fast(other, top_k)[0, :cut])


def test_hand_case() -> None:
    # One expert's scores 0.15, 0.85, 0.85; K/N = 1/2; hardly any fading: all weigh alike.
    scores = np.array([[[0.15, 0.5], [0.85, 0.5], [0.85, 0.5]]], dtype=np.float32)
    moving = fast(scores, 1, decay=0.999, num_bins=10)
    # The lower median. After two values the newer weighs a hair more, so it is reached second.
    assert moving[0, :, 0].tolist() == pytest.approx([0.15, 0.85, 0.85])
    assert moving[0, :, 1].tolist() == pytest.approx([0.55] * 3)


def levelled(strength: float, scores_BSE: np.ndarray, top_k: int) -> np.ndarray:
    """Loads per sequence [B, E] under ŝ alone."""
    batch, _, experts = scores_BSE.shape
    rule = MovingQuantile(sequence_strength=strength)
    adjust = CombinedBalancer([rule]).adjust(batch, top_k)
    logits = torch.logit(torch.tensor(scores_BSE)).view(-1, experts)
    ids = route(logits, top_k=top_k, expert_bias_E=torch.zeros(experts), adjust=adjust).topk_expert_ids_TK
    return np.stack([np.bincount(part.ravel(), minlength=experts) for part in ids.view(batch, -1).numpy()])


def test_a_stronger_lambda_evens_every_sequence() -> None:
    # Two sequences that like different experts: level together, uneven each by itself.
    rng = np.random.default_rng(0)
    likes = np.array([[1.5, 0.0, 0.0, -1.5], [-1.5, 0.0, 0.0, 1.5]])[:, None]
    scores = (1 / (1 + np.exp(-(rng.standard_normal((2, 400, 4)) + likes)))).astype(np.float32)
    worst = [
        (loads.max(-1) / loads.mean(-1) - 1).max()
        for loads in (levelled(strength, scores, 1) for strength in (0.0, 0.3, 1.0))
    ]
    assert worst[0] > 1.2 * worst[1] > 2 * worst[2]
    assert worst[2] < 0.3


def test_gates_are_weighed_by_the_scores_themselves() -> None:
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    adjust = CombinedBalancer([MovingQuantile(sequence_strength=1.0)]).adjust(3, 2)
    plain = route(logits, top_k=2, normalize_gates=False)
    moved = route(logits, top_k=2, normalize_gates=False, adjust=adjust)
    assert torch.equal(moved.scores_TE, plain.scores_TE)
    assert torch.equal(moved.gate_weights_TK, plain.scores_TE.gather(-1, moved.topk_expert_ids_TK))
    assert not torch.equal(moved.topk_expert_ids_TK, plain.topk_expert_ids_TK)


def test_without_strength_it_is_quantile_balancing_bit_for_bit() -> None:
    first, second = (train_tiny(arm, num_steps=6) for arm in ("quantile", "mqb:sequence_strength=0"))
    for a, b in zip(first.of(LoadRecord), second.of(LoadRecord), strict=True):
        assert a.tokens_LE.tolist() == b.tokens_LE.tolist()
        assert np.array_equal(a.expert_bias_LE, b.expert_bias_LE)
    assert first.weights_equal(second)


def test_it_acts_in_evaluation_as_in_training() -> None:
    # The same batch, with and without gradient: the same experts.
    run = train_tiny("mqb:sequence_strength=1", num_steps=4)
    tokens = torch.randint(65, 80, (3, 16), generator=torch.Generator().manual_seed(2))
    balancer = CombinedBalancer(run.config.balancer.rules)
    trained = run.model(tokens, balancer)
    with torch.no_grad():
        evaluated = run.model(tokens, balancer)
        without = run.model(tokens, CombinedBalancer([]))
    for a, b, c in zip(trained.layers, evaluated.layers, without.layers, strict=True):
        assert torch.equal(a.routing.topk_expert_ids_TK, b.routing.topk_expert_ids_TK)
        assert not torch.equal(b.counts_BE, c.counts_BE)
