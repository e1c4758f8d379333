"""Dual, linear program, account of every step, preference of moves, regret and curvature."""

import numpy as np
import pytest
from reference import simulation as slow

from explorer.routing.selection import choose, column_counts
from explorer.simulate import RuleSettings, ScoreSettings
from explorer.simulate.assignment import (
    PoolDual,
    balanced_load,
    dual,
    lagrangian,
    lp_optimum,
    minimise_dual,
)
from explorer.simulate.descent import VERDICTS, by_class, descend, move_pairs
from explorer.simulate.online import (
    Pool,
    curvature,
    curvature_rate,
    drawn_steps,
    late_cost,
    make_pool,
    online_regret,
    tie_laplacian,
    tie_width,
)


def draw(tokens: int, experts: int, seed: int = 0, skew: float = 1.2) -> np.ndarray:
    """Sigmoid scores with an offset an expert."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((tokens, experts)) + skew * rng.standard_normal(experts)
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k"), [(4, 2, 1), (6, 3, 1), (6, 2, 1), (3, 3, 2), (4, 4, 2)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_linear_program_finds_what_trying_all_assignments_finds(
    tokens: int, experts: int, top_k: int, seed: int
) -> None:
    scores = draw(tokens, experts, seed)
    best = slow.best_balanced(scores.tolist(), top_k)
    optimum = lp_optimum(scores, top_k)
    assert optimum.value == pytest.approx(best, abs=1e-9)
    assert dual(scores, optimum.prices, top_k) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_dual_is_that_of_the_formula_and_never_below_the_optimum(top_k: int) -> None:
    scores, rng = draw(30, 5), np.random.default_rng(1)
    optimum = lp_optimum(scores, top_k).value
    for _ in range(20):
        prices = rng.standard_normal(5)
        value = dual(scores, prices, top_k)
        assert value == pytest.approx(slow.dual_value(scores.tolist(), prices.tolist(), top_k))
        assert value >= optimum - 1e-9
        assert dual(scores, prices + 3.0, top_k) == pytest.approx(value)


def test_the_lagrangian_of_the_best_choice_is_the_dual_and_of_any_other_below_it() -> None:
    scores, prices = draw(40, 6), np.random.default_rng(2).standard_normal(6) * 0.3
    assert lagrangian(scores, choose(scores + prices, 2), prices, 2) == pytest.approx(dual(scores, prices, 2))
    assert lagrangian(scores, choose(scores, 2), prices, 2) < dual(scores, prices, 2)


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (8, 2), (7, 3)])
def test_the_quick_minimum_is_that_of_the_linear_program(experts: int, top_k: int) -> None:
    scores = draw(300, experts)
    exact = lp_optimum(scores, top_k).value
    assert exact - 1e-6 <= minimise_dual(scores, top_k).value <= exact + 2e-4 * exact


def test_the_gradient_of_the_dual_is_the_excess_load() -> None:
    scores, prices = draw(200, 5), np.array([0.1, -0.2, 0.05, 0.0, 0.3])
    excess = column_counts(choose(scores + prices, 2)) - balanced_load(scores, 2)
    for expert in range(5):
        step = np.zeros(5)
        step[expert] = 1e-9
        slope = (dual(scores, prices + step, 2) - dual(scores, prices - step, 2)) / 2e-9
        assert slope == pytest.approx(excess[expert], abs=1e-2)


@pytest.mark.parametrize("rule", ["sign", "proportional", "rms"])
@pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.3])
@pytest.mark.parametrize("top_k", [1, 3])
def test_every_step_keeps_its_account(rule: str, rate: float, top_k: int) -> None:
    run = descend(draw(128, 8), top_k, RuleSettings(rule=rule, rate=rate), 150)
    change = np.diff(run.dual)
    assert change == pytest.approx(run.benefit - run.promise, abs=1e-9)
    assert (run.benefit >= -1e-9).all()
    assert (run.promise >= 0).all()
    assert (change[run.condition] <= 1e-9).all(), "the sufficient condition was not sufficient"
    assert run.violations == 0
    assert ((run.loads.sum(1)) == top_k * 128).all()
    assert sum(run.count(verdict) for verdict in VERDICTS) == 150


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_quantile_rule_keeps_the_same_account_and_is_near_after_a_few_steps(share: float) -> None:
    scores = draw(512, 8)
    run = descend(scores, 2, RuleSettings(rule="quantile", rate=share), 60)
    assert np.diff(run.dual) == pytest.approx(run.benefit - run.promise, abs=1e-9)
    assert (np.diff(run.dual)[run.condition] <= 1e-9).all()
    assert run.violations == 0
    optimum = lp_optimum(scores, 2).value
    assert run.dual[20] - optimum < 0.02 * (run.dual[0] - optimum)
    assert run.prices.mean(1) == pytest.approx(np.zeros(61), abs=1e-12)


def test_a_quantile_rule_that_has_nothing_to_choose_does_nothing() -> None:
    run = descend(draw(16, 3), 3, RuleSettings(rule="quantile", rate=1.0), 5)
    assert not run.prices.any()
    assert run.loads.tolist() == [[16, 16, 16]] * 6


def test_the_condition_of_the_sign_rule_counts_switched_slots() -> None:
    run = descend(draw(256, 8), 2, RuleSettings(rate=5e-3), 200)
    half = 0.5 * np.abs(run.loads[:-1] - run.load).sum(1)
    has_both = ((run.loads[:-1] > run.load).any(1)) & ((run.loads[:-1] < run.load).any(1))
    assert has_both.any()
    assert (run.condition[has_both] == (run.switched <= half)[has_both]).all()
    assert 0 < run.condition.sum() < 200


def test_the_sign_rule_never_moves_a_token_against_the_order_of_classes() -> None:
    run = descend(draw(256, 8), 2, RuleSettings(rate=1e-2), 400)
    assert run.moves.sum() > 1000
    assert run.against_order == 0
    assert (np.tril(run.moves) == 0).all()


def test_the_proportional_rule_moves_within_classes_but_never_to_a_larger_load() -> None:
    run = descend(draw(256, 8), 2, RuleSettings(rule="proportional", rate=0.05), 100)
    assert run.against_order > 0
    assert run.violations == 0
    # Nobody moves to a busier class either.
    assert (np.tril(run.moves, -1) == 0).all()


def test_moves_equal_the_loops() -> None:
    scores = draw(60, 6)
    before, after = choose(scores, 3), choose(scores + np.array([0.5, -0.5, 0.2, 0, 0, -0.3]), 3)
    loads = np.array([30, 40, 20, 30, 35, 25])
    expected = slow.moves(
        [set(np.flatnonzero(row)) for row in before], [set(np.flatnonzero(row)) for row in after], loads, 30.0
    )
    pairs = move_pairs(before, after)
    assert by_class(pairs, loads, 30.0).tolist() == expected
    assert pairs.sum() > 0
    # Two experts left and two joined are four pairs.
    lost, won = np.array([[True, True, False, False]]), np.array([[False, False, True, True]])
    assert move_pairs(lost, won).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_violation_is_seen_when_there_is_one() -> None:
    """A rule turned round moves tokens to the busy, and D rises."""
    scores = draw(128, 6)

    run = descend(scores, 1, RuleSettings(rate=1e-2), 30)
    lower, upper = run.dual[0], run.dual[-1]
    assert upper < lower
    uphill = dual(scores, -run.prices[-1], 1)
    assert uphill > lower


def test_small_steps_come_to_within_the_band_of_ties_and_large_ones_do_not_rest() -> None:
    scores = draw(512, 8)
    small = descend(scores, 1, RuleSettings(rate=1e-3), 900)
    large = descend(scores, 1, RuleSettings(rate=5e-2), 900)
    assert small.deviation[-200:].max() <= 7 < large.deviation[-200:].max()
    assert small.count("worse") > 0, "a constant sign step ends in a cycle"


def test_a_pool_consists_of_whole_blocks_and_its_optimum_has_no_slope() -> None:
    pool = make_pool(ScoreSettings(num_experts=6, num_tokens=128, drift=1.0), tokens=2000)
    assert len(pool.scores) == 15 * 128
    excess = column_counts(choose(pool.scores + pool.optimum.prices.astype(np.float32), 2))
    assert np.abs(excess - balanced_load(pool.scores, 2)).max() <= 12


def test_regret_is_the_sum_of_the_excess_and_never_negative() -> None:
    pool = make_pool(ScoreSettings(num_experts=4, num_tokens=64), tokens=1024)
    rule, steps = RuleSettings(rule="proportional", rate=0.05), 300
    result = online_regret(pool, rule, steps, seed=3)
    # Step by step once more, with every block chosen and every dual summed up the plain way.
    order = np.random.default_rng([3, 7]).integers(0, 16, steps)
    bias, excess = np.zeros(4), []
    for step in range(steps):
        excess.append((dual(pool.scores, bias.astype(np.float32), 2) - pool.optimum.value) / 1024)
        block = pool.scores[64 * order[step] : 64 * order[step] + 64]
        taken = np.argsort(-(block + bias.astype(np.float32)), axis=1)[:, :2]
        bias = bias + 0.05 * (32 - np.bincount(taken.ravel(), minlength=4)) / 32
    assert result.excess == pytest.approx(np.maximum(excess, 0), abs=1e-6)
    assert result.regret[-1] == pytest.approx(sum(excess), rel=1e-4)
    assert late_cost(result) == pytest.approx(1000 * sum(excess[150:]) / 150, rel=1e-3)


@pytest.mark.parametrize(("experts", "top_k"), [(2, 1), (4, 1), (5, 2), (5, 3), (4, 3), (8, 4), (3, 3)])
def test_the_quick_dual_is_the_dual(experts: int, top_k: int) -> None:
    scores = draw(200, experts).astype(np.float32)
    quick, rng = PoolDual(scores, top_k), np.random.default_rng(4)
    for _ in range(5):
        prices = rng.standard_normal(experts).astype(np.float32)
        assert quick(prices) == pytest.approx(dual(scores, prices, top_k), rel=1e-5)


def test_all_steps_are_drawn_when_there_are_few() -> None:
    assert drawn_steps(10).tolist() == list(range(1, 11))
    assert drawn_steps(5000)[[0, -1]].tolist() == [1, 5000]
    assert len(drawn_steps(5000)) <= 120


def test_a_shrinking_step_stops_paying_and_a_constant_one_does_not() -> None:
    pool = make_pool(ScoreSettings(num_experts=8, num_tokens=128), tokens=4096)
    width = tie_width(pool.scores, pool.optimum.prices, 2)
    modulus = curvature(tie_laplacian(pool.scores, pool.optimum.prices, 2, width))
    rate = curvature_rate(modulus, 8, 2)
    costs = {
        name: late_cost(online_regret(pool, rule, steps=800))
        for name, rule in {
            "sign": RuleSettings(rate=1e-2),
            "proportional": RuleSettings(rule="proportional", rate=3e-2),
            "1/n": RuleSettings(rule="proportional", rate=rate, step_decay="harmonic"),
        }.items()
    }
    assert costs["1/n"] < 0.2 * costs["proportional"]
    assert costs["1/n"] < 0.2 * costs["sign"]


def test_the_tie_laplacian_is_the_slope_of_the_loads() -> None:
    """The Hessian of D is how the loads answer to a price: compared with a difference quotient."""
    scores = draw(60_000, 4, skew=0.5)
    prices = np.array([0.05, -0.05, 0.02, -0.02])
    width = 0.02
    laplacian = tie_laplacian(scores, prices, 2, width)
    assert laplacian.sum(1) == pytest.approx(np.zeros(4), abs=1e-12)
    assert laplacian == pytest.approx(laplacian.T)
    for expert in range(4):
        step = np.zeros(4)
        step[expert] = width
        up = column_counts(choose(scores + prices + step, 2))
        down = column_counts(choose(scores + prices - step, 2))
        slope = (up - down) / (2 * width * len(scores))
        assert laplacian[expert] == pytest.approx(slope, abs=0.08)


def test_experts_that_never_compete_leave_the_dual_flat() -> None:
    """Half of the tokens know only the first two experts, half only the last two."""
    rng = np.random.default_rng(0)
    scores = np.where(
        np.arange(400)[:, None] % 2 == (np.arange(4) // 2)[None, :],
        0.9 + 0.05 * rng.random((400, 4)),
        0.05 * rng.random((400, 4)),
    )
    laplacian = tie_laplacian(scores, np.zeros(4), 1, width=0.04)
    assert curvature(laplacian) == pytest.approx(0.0, abs=1e-12)
    assert laplacian[0, 1] < 0
    assert laplacian[0, 2] == 0


def test_the_two_experts_of_the_simplest_case_by_hand() -> None:
    """Gaps spread evenly over [-1, 1]: density 1/2, Laplacian [[1/2, -1/2], ...], second eigenvalue 1."""
    gaps = (np.arange(2000) + 0.5) / 1000 - 1
    scores = np.stack([gaps, np.zeros(2000)], axis=1)
    laplacian = tie_laplacian(scores, np.zeros(2), 1, width=0.1)
    assert laplacian == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5]]), abs=1e-3)
    assert curvature(laplacian) == pytest.approx(1.0, abs=1e-2)
    assert curvature_rate(1.0, 2, 1) == 0.5
    pool = Pool(scores=scores.astype(np.float32), top_k=1, num_tokens=100, optimum=minimise_dual(scores, 1))
    assert pool.optimum.prices == pytest.approx(np.zeros(2), abs=2e-3)
