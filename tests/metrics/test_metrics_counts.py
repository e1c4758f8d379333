"""Evenness of one layer: numpy, SQL and the slow reference agree, and the figures behave as they promise."""

import math

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import figures
from sentences import pattern
from strategies import counts

from explorer import metrics
from explorer.store.expressions import FIGURES, PARTS
from explorer.store.expressions import figures as sql_figures

NAMES = tuple(FIGURES)
IMBALANCES = ("max_over_mean", "max_vio", "coefficient_of_variation", "total_variation", "gini")
"""Larger is less even."""
EVENNESSES = ("balance_efficiency", "load_entropy", "normalised_entropy", "effective_experts")
"""Larger is more even."""
many = st.integers(2, 8).flatmap(
    lambda experts: st.lists(
        st.lists(st.integers(0, 1000), min_size=experts, max_size=experts), min_size=1, max_size=4
    )
)


def value(name: str, loads: object) -> float:
    return float(getattr(metrics, name)(loads))


@given(layers=many)
def test_sql_numpy_and_the_reference_agree(layers: list[list[int]]) -> None:
    rows = pl.DataFrame(
        [(layer, e, tokens) for layer, loads in enumerate(layers) for e, tokens in enumerate(loads)],
        schema={"layer": pl.Int32, "expert": pl.Int32, "tokens": pl.Int64},
        orient="row",
    )
    with duckdb.connect() as con:
        con.register("rows", rows)
        figures_by_layer = con.execute(
            f"WITH parts AS (SELECT layer, {PARTS} FROM rows GROUP BY layer) "
            f"SELECT {sql_figures()} FROM parts ORDER BY layer"
        ).pl()
    for name in NAMES:
        fast = np.asarray(getattr(metrics, name)(layers), dtype=float)
        for layer, loads in enumerate(layers):
            sql = figures_by_layer[name][layer]
            if not any(loads) and name != "idle_experts":
                assert sql is None
                assert math.isnan(fast[layer])
            else:
                slow = getattr(figures, name)(loads)
                assert fast[layer] == pytest.approx(slow, abs=1e-9), name
                assert sql == pytest.approx(slow, abs=1e-9), name


@given(values=counts(), top_k=st.integers(1, 8))
def test_every_figure_stays_between_its_value_at_balance_and_at_one_hot(
    values: list[int], top_k: int
) -> None:
    # What top-K routing can give: nobody takes a token twice.
    assume(top_k <= len(values))
    assume(max(values) * top_k <= sum(values))
    experts = len(values)
    for name in NAMES:
        ends = [value(name, [top_k] * experts), value(name, [1] * top_k + [0] * (experts - top_k))]
        assert min(ends) - 1e-9 <= value(name, values) <= max(ends) + 1e-9, name


@given(experts=st.integers(2, 64), per_expert=st.integers(1, 10**9))
def test_perfect_balance_is_exact(experts: int, per_expert: int) -> None:
    level = [per_expert] * experts
    for name in ("max_vio", "coefficient_of_variation", "total_variation", "gini", "idle_experts"):
        assert value(name, level) == 0.0, name
    for name in ("max_over_mean", "balance_efficiency"):
        assert value(name, level) == 1.0, name
    assert value("normalised_entropy", level) == pytest.approx(1)
    assert value("effective_experts", level) == pytest.approx(experts)


@given(experts=st.integers(2, 64), top_k=st.integers(1, 8), tokens=st.integers(1, 10**6))
def test_one_hot_is_the_stated_worst_case(experts: int, top_k: int, tokens: int) -> None:
    assume(top_k < experts)
    loads = [tokens] * top_k + [0] * (experts - top_k)
    worst = {
        "max_over_mean": experts / top_k,
        "max_vio": experts / top_k - 1,
        "balance_efficiency": top_k / experts,
        "coefficient_of_variation": math.sqrt(experts / top_k - 1),
        "total_variation": 1 - top_k / experts,
        "load_entropy": math.log(top_k),
        "normalised_entropy": math.log(top_k) / math.log(experts),
        "effective_experts": top_k,
        "gini": 1 - top_k / experts,
        "idle_experts": experts - top_k,
    }
    assert {name: value(name, loads) for name in NAMES} == pytest.approx(worst)


@given(values=counts(), seed=st.integers(0, 99), factor=st.integers(1, 9))
def test_p33_the_order_of_experts_and_a_common_factor_change_nothing(
    values: list[int], seed: int, factor: int
) -> None:
    shuffled = factor * np.random.default_rng(seed).permutation(values)
    for name in NAMES:
        assert value(name, shuffled) == pytest.approx(value(name, values), abs=1e-12), name


@given(values=counts(), places=st.tuples(st.integers(0, 7), st.integers(0, 7)))
def test_a_token_that_moves_to_a_busier_expert_never_looks_like_balance(
    values: list[int], places: tuple[int, int]
) -> None:
    poor, rich = (place % len(values) for place in places)
    assume(poor != rich)
    assume(0 < values[poor] <= values[rich])
    moved = list(values)
    moved[poor] -= 1
    moved[rich] += 1
    for name in (*IMBALANCES, "idle_experts"):
        assert value(name, moved) >= value(name, values) - 1e-12, name
    for name in EVENNESSES:
        assert value(name, moved) <= value(name, values) + 1e-12, name
    # These two see every such move; MaxVio sees only the busiest expert.
    for name in ("coefficient_of_variation", "gini"):
        assert value(name, moved) > value(name, values)


def test_max_vio_does_not_see_a_move_below_the_top() -> None:
    assert value("max_vio", [10, 5, 3]) == value("max_vio", [10, 6, 2])
    assert value("total_variation", [10, 5, 3]) == value("total_variation", [10, 4, 4])
    assert value("gini", [10, 5, 3]) < value("gini", [10, 6, 2])


@given(values=counts(), dead=st.integers(1, 5))
def test_p29_dead_experts_never_lower_an_imbalance(values: list[int], dead: int) -> None:
    padded = values + [0] * dead
    for name in IMBALANCES:
        assert value(name, padded) > value(name, values) - 1e-12, name
    for name in ("balance_efficiency", "normalised_entropy"):
        assert value(name, padded) < value(name, values) + 1e-12, name
    assert value("effective_experts", padded) == pytest.approx(value("effective_experts", values))
    assert value("idle_experts", padded) == value("idle_experts", values) + dead


def test_p29_an_imbalance_that_ignores_unseen_experts_would_call_half_dead_even() -> None:
    half_dead = np.array([5, 5, 0, 0])
    assert value("max_over_mean", half_dead) == 2.0
    assert value("max_over_mean", half_dead[half_dead > 0]) == 1.0


@given(values=counts())
def test_figures_that_say_the_same_in_other_words(values: list[int]) -> None:
    efficiency, ratio = value("balance_efficiency", values), value("max_over_mean", values)
    assert efficiency == pytest.approx(1 / (1 + value("max_vio", values)))
    assert ratio == pytest.approx(value("max_vio", values) + 1)
    shares = metrics.load_fraction(values)
    assert value("coefficient_of_variation", values) ** 2 == pytest.approx(
        len(values) * (shares**2).sum() - 1, abs=1e-9
    )
    assert value("effective_experts", values) == pytest.approx(math.exp(value("load_entropy", values)))


@given(layers=many.filter(lambda rows: all(any(row) for row in rows)))
def test_p21_leading_axes_are_measured_one_by_one(layers: list[list[int]]) -> None:
    for name in NAMES:
        one_by_one = [value(name, row) for row in layers]
        assert np.asarray(getattr(metrics, name)(layers)).tolist() == pytest.approx(one_by_one)


@pytest.mark.parametrize("name", NAMES)
def test_p21_pooled_layers_would_hide_a_collapse(name: str) -> None:
    layers = np.array([[8, 0], [0, 8]])
    balanced, collapsed = value(name, [4, 4]), value(name, [8, 0])
    assert np.asarray(getattr(metrics, name)(layers)).mean() == pytest.approx(collapsed)
    assert value(name, layers.sum(0)) == pytest.approx(balanced)
    assert collapsed != balanced


@pytest.mark.parametrize("name", NAMES)
def test_p13_ratios_are_refused_where_counts_are_meant(name: str) -> None:
    with pytest.raises(TypeError, match=pattern("glossary.integers", kind="float64")):
        getattr(metrics, name)([0.5, 0.5])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "idle_experts"])
def test_nothing_routed_is_undefined(name: str) -> None:
    assert math.isnan(value(name, [0, 0, 0]))


def test_a_single_expert_is_always_even() -> None:
    assert value("normalised_entropy", [7]) == 1.0
    assert value("max_vio", [7]) == value("gini", [7]) == 0.0
