"""The simulator against a slow reference, and its corners."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import simulation as slow

from explorer.config.rules import STEP_DECAYS
from explorer.errors import ConfigError
from explorer.simulate import (
    RULES,
    RuleSettings,
    Scores,
    ScoreSettings,
    simulate,
    summary,
)
from explorer.simulate.auxiliary import loss_gradient
from explorer.simulate.dynamics import FEEDBACK_LIMIT

pytestmark = pytest.mark.usefixtures("small_pool")

ROOT = Path(__file__).parents[2]
STEPS = 12


def in_loops(scores: ScoreSettings, rule: RuleSettings, steps: int = STEPS):
    """The reference on the same draws: the windows of the pool and the offsets are its inputs."""
    source = Scores(scores)
    starts = source.windows(steps)
    weights = np.stack([source.weights[s : s + scores.num_tokens] for s in starts])
    offsets = np.stack([source.offset(step) for step in range(steps)])
    return slow.simulate(
        weights,
        offsets,
        top_k=scores.top_k,
        score_function=scores.score_function,
        rule=rule.rule,
        u=rule.rate,
        step_decay=rule.step_decay,
        bias_form=rule.bias_form,
        start_step=rule.start_step,
        sharpness=rule.sharpness,
        momentum=rule.momentum,
    )


SETTINGS = (
    {},
    {"source": "frozen", "skew": 2.0},
    {"score_function": "softmax"},
    {"drift": 20.0},
    {"shift_step": 5, "top_k": 1},
    {"domains": 3, "domain_skew": 1.0, "sequence_tokens": 4, "top_k": 3},
    {"top_k": 5, "num_experts": 5},
)
BIAS_RULES = ("none", "sign", "proportional", "rms", "smebu", "quantile")
# Every two of the three meet: settings and rule in each of their pairs, the decay in turn.
DECAYS = tuple(STEP_DECAYS)
PAIRWISE = [
    pytest.param(settings, rule, DECAYS[(i + j) % len(DECAYS)], id=f"{'-'.join(settings) or 'plain'}-{rule}")
    for i, settings in enumerate(SETTINGS)
    for j, rule in enumerate(BIAS_RULES)
]


@pytest.mark.parametrize(("settings", "rule", "step_decay"), PAIRWISE)
def test_counts_biases_and_switches_equal_the_loops(
    settings: dict[str, object], rule: str, step_decay: str
) -> None:
    scores = ScoreSettings(**{"num_experts": 6, "num_tokens": 30, "seed": 3, **settings})  # type: ignore[arg-type]
    rules = RuleSettings(rule=rule, rate=0.03, step_decay=step_decay, start_step=2)
    result = simulate(scores, rules, steps=STEPS)
    counts, used, switched = in_loops(scores, rules)
    assert result.counts.tolist() == counts
    assert result.switched.tolist() == switched
    assert result.bias == pytest.approx(np.array(used), abs=1e-7)


@pytest.mark.parametrize(("sharpness", "momentum"), [(0.2, 0.9), (50.0, 0.0)])
def test_smebu_equals_the_loops_with_other_constants(sharpness: float, momentum: float) -> None:
    scores = ScoreSettings(num_experts=6, num_tokens=30, skew=2.0)
    rules = RuleSettings(rule="smebu", rate=0.05, sharpness=sharpness, momentum=momentum)
    result = simulate(scores, rules, steps=STEPS)
    counts, used, switched = in_loops(scores, rules)
    assert result.counts.tolist() == counts
    assert result.switched.tolist() == switched
    assert result.bias == pytest.approx(np.array(used), abs=1e-7)


def test_a_multiplicative_bias_equals_the_loops() -> None:
    scores = ScoreSettings(num_experts=6, num_tokens=30)
    rules = RuleSettings(rate=0.05, bias_form="multiplicative")
    result = simulate(scores, rules, steps=STEPS)
    counts, used, switched = in_loops(scores, rules)
    assert result.counts.tolist() == counts
    assert result.switched.tolist() == switched
    assert result.bias[0].tolist() == [1.0] * 6
    assert result.bias == pytest.approx(np.array(used), abs=1e-6)


def test_types_and_shapes() -> None:
    result = simulate(
        ScoreSettings(num_experts=5, num_tokens=7), RuleSettings(), steps=3, held_out_steps=[0, 3]
    )
    assert result.counts.shape == (3, 5)
    assert result.counts.dtype == np.int64
    assert result.bias.dtype == np.float32
    assert result.final_bias.shape == (5,)
    assert set(result.held_out) == {0, 3}
    assert all(int(counts.sum()) == 2 * 32_768 for counts in result.held_out.values())


def test_the_same_settings_give_the_same_integers_and_another_seed_gives_others() -> None:
    scores, rule = ScoreSettings(num_tokens=64), RuleSettings()
    first, again = simulate(scores, rule, steps=20), simulate(scores, rule, steps=20)
    other = simulate(ScoreSettings(num_tokens=64, seed=1), rule, steps=20)
    assert (first.counts == again.counts).all()
    assert (first.counts != other.counts).any()


def test_a_shorter_simulation_is_the_beginning_of_a_longer_one() -> None:
    scores, rule = ScoreSettings(num_tokens=64, drift=1.0), RuleSettings(rate=0.01)
    short, long = simulate(scores, rule, steps=10), simulate(scores, rule, steps=30)
    assert (long.counts[:10] == short.counts).all()


def test_held_out_tokens_are_counted_with_the_bias_of_that_moment() -> None:
    scores = ScoreSettings(num_experts=4, num_tokens=128, skew=1.0)
    result = simulate(scores, RuleSettings(rate=0.01), steps=40, held_out_steps=[0, 40], held_out_tokens=1000)
    source = Scores(scores)
    held = source.of(source.held_out(1000), source.offset(0))
    for step, bias in ((0, np.zeros(4, np.float32)), (40, result.final_bias)):
        experts_of_tokens = [slow.top_experts(list(row), 2) for row in held + bias]
        assert result.held_out[step].tolist() == [sum(e in c for c in experts_of_tokens) for e in range(4)]
    assert result.max_vio_global[40] < result.max_vio_global[0]


def test_drift_turns_from_one_draw_to_the_next_and_keeps_its_size() -> None:
    """One turn in 1,000 steps: a quarter of it is the other draw, half of it the first one reversed."""
    still = Scores(ScoreSettings(num_experts=200, top_k=1, num_tokens=1)).offset(0)
    turning = Scores(ScoreSettings(num_experts=200, top_k=1, num_tokens=1, drift=1.0))
    quarter, eighth = turning.offset(250), turning.offset(125)
    assert turning.offset(0) == pytest.approx(still)
    assert turning.offset(500) == pytest.approx(-still)
    assert turning.offset(1000) == pytest.approx(still)
    assert eighth == pytest.approx((still + quarter) / 2**0.5)
    assert quarter.std() == pytest.approx(still.std(), rel=0.25)
    assert abs(np.corrcoef(still, quarter)[0, 1]) < 0.25


def test_a_shift_begins_in_its_own_step_and_stays() -> None:
    source = Scores(ScoreSettings(shift_step=5))
    before, after = source.offset(4), source.offset(5)
    assert (source.offset(0) == before).all()
    assert (source.offset(99) == after).all()
    assert (before != after).all()
    assert (Scores(ScoreSettings()).offset(99) == before).all()


def test_skew_and_noise_scale_the_logits() -> None:
    assert Scores(ScoreSettings(skew=3.0)).offset(0) == pytest.approx(3 * Scores(ScoreSettings()).offset(0))
    weights = Scores(ScoreSettings(noise=0.5)).weights
    assert float(np.log(weights).std()) == pytest.approx(0.5, rel=0.02)


def test_a_sequence_has_one_domain_and_domains_differ() -> None:
    source = Scores(ScoreSettings(noise=0.0, domains=4, domain_skew=1.0, sequence_tokens=8))
    rows = source.weights[: 8 * 50].reshape(50, 8, -1)
    assert (rows == rows[:, :1]).all()
    assert len(np.unique(rows[:, 0], axis=0)) == 4
    # Held-out tokens like the same experts.
    assert len(np.unique(np.concatenate([rows[:, 0], source.held_out(800)]), axis=0)) == 4


def balance_loss(scores: np.ndarray, counts: np.ndarray) -> float:
    """E times the sum of f_i P_i. scores [T, E], each row with sum 1; counts [E]."""
    return float(scores.shape[1] * (counts / counts.sum()) @ scores.mean(0))


@pytest.mark.parametrize("function", ["sigmoid", "softmax"])
def test_the_gradient_of_the_auxiliary_loss_is_that_of_a_difference_quotient(function: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((50, 6))
    counts = np.array([3, 40, 7, 20, 10, 20])

    def loss(offset):
        shifted = logits + offset
        scores = np.exp(shifted) if function == "softmax" else 1 / (1 + np.exp(-shifted))
        return balance_loss(scores / scores.sum(1, keepdims=True), counts)

    raw = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scores = raw if function == "softmax" else 1 / (1 + np.exp(-logits))
    step = 1e-6 * np.eye(6)
    quotient = [(loss(step[i]) - loss(-step[i])) / 2e-6 for i in range(6)]
    assert loss_gradient(scores, counts, function) == pytest.approx(np.array(quotient), abs=1e-8)


def test_the_auxiliary_loss_is_one_at_equal_loads_and_balances() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(4), 9)
    assert balance_loss(scores, np.array([5, 5, 5, 5])) == pytest.approx(1.0)
    result = simulate(ScoreSettings(), RuleSettings(rule="aux_loss", rate=0.5), steps=400)
    assert not result.bias.any()
    assert not result.switched.any()
    assert result.max_vio[-50:].mean() < 0.3 < 3 < result.max_vio[0]


def test_feedback_makes_the_rich_richer_up_to_its_limit() -> None:
    scores = ScoreSettings(feedback=0.02, skew=0.2)
    alone = simulate(scores, RuleSettings(rule="none"), steps=500)
    assert alone.max_vio[-1] == pytest.approx(16 / 2 - 1, abs=0.3)
    assert np.abs(alone.learnt).max() == pytest.approx(FEEDBACK_LIMIT)
    held = simulate(scores, RuleSettings(rate=5e-3), steps=500)
    assert held.max_vio[-50:].mean() < 0.5


def test_a_rule_waits_for_its_start() -> None:
    result = simulate(ScoreSettings(), RuleSettings(rate=0.01, start_step=30), steps=60)
    assert not result.bias[:31].any()
    assert result.bias[31].any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_experts", 1),
        ("num_experts", 10_000),
        ("top_k", 17),
        ("top_k", 0),
        ("num_tokens", 0),
        ("skew", -1.0),
        ("skew", float("nan")),
        ("drift", -0.1),
        ("score_function", "relu"),
        ("source", "stale"),
        ("seed", -1),
    ],
)
def test_wrong_scores_are_refused_with_a_sentence(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        ScoreSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("rule", "magic"), ("step_decay", "cosine"), ("rate", -1.0), ("start_step", -1)]
)
def test_wrong_rules_are_refused_with_a_sentence(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        RuleSettings(**{field: value})  # type: ignore[arg-type]


def test_steps_and_initial_biases_are_checked() -> None:
    with pytest.raises(ConfigError, match="steps"):
        simulate(ScoreSettings(), RuleSettings(), steps=0)
    with pytest.raises(ConfigError, match="held_out_steps"):
        simulate(ScoreSettings(), RuleSettings(), steps=5, held_out_steps=[6])
    with pytest.raises(ConfigError, match="initial_bias"):
        simulate(ScoreSettings(), RuleSettings(), steps=5, initial_bias=[0.0, 1.0])


def test_every_rule_has_a_place() -> None:
    for rule in RULES:
        result = simulate(ScoreSettings(num_tokens=32), RuleSettings(rule=rule), steps=2)
        assert (result.counts.sum(1) == 64).all()


def test_bins_keep_the_extremes_and_the_mean() -> None:
    values = np.arange(10.0)
    values[4] = 100.0
    piece = summary.bins(values, most=4)
    assert piece.first.tolist() == [0, 3, 6, 9]
    assert piece.last.tolist() == [2, 5, 8, 9]
    assert piece.high.tolist() == [2, 100, 8, 9]
    assert piece.low.tolist() == [0, 3, 6, 9]
    assert piece.mean == pytest.approx([1, 36, 7, 9])


def test_a_zigzag_turns_at_every_move_and_a_walk_at_none() -> None:
    frozen = ScoreSettings(num_experts=8, top_k=1, source="frozen")
    zigzag = simulate(frozen, RuleSettings(rate=1e-2), steps=200)
    assert summary.turning_share(zigzag) == 1.0
    walk = simulate(frozen, RuleSettings(rate=1e-6), steps=200)
    assert summary.turning_share(walk) == 0.0
    assert summary.steps_to_balance(walk) is None
    assert summary.steps_to_balance(zigzag) is not None


def test_the_simulator_needs_neither_torch_nor_an_interface() -> None:
    """Asked of a fresh interpreter."""
    heavy = ("torch", "streamlit", "polars", "altair", "duckdb", "plotly")
    modules = ("assignment", "descent", "dynamics", "online", "summary", "update")
    code = (
        f"import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module('explorer.simulate.' + name)\n"
        f"sys.exit(sum(name in sys.modules for name in {heavy!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
