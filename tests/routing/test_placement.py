"""EPLB's placement against its published example, a slow reference and brute force."""

from fractions import Fraction
from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
from eplb_example import EXAMPLE, PUBLISHED
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import ConfigError
from explorer.routing import placement


@st.composite
def sized_loads(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, int]]:
    """Loads [L, E] and sizes that divide, as `plan` wants them."""
    nodes = draw(st.integers(1, 3))
    groups = nodes * draw(st.integers(1, 3))
    per_node = draw(st.integers(1, 3))
    gpus = nodes * per_node
    experts = groups * gpus * draw(st.integers(1, 2)) // np.gcd(groups, gpus)
    slots = experts + gpus * draw(st.integers(0, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    loads = rng.integers(0, draw(st.sampled_from([3, 1000])), (draw(st.integers(1, 3)), experts))
    return loads, {"slots": slots, "gpus": gpus, "nodes": nodes, "groups": groups}


def test_the_published_example() -> None:
    slots = placement.plan(EXAMPLE, slots=16, gpus=8, nodes=2, groups=4, policy="hierarchical")
    assert slots.tolist() == PUBLISHED


@given(case=sized_loads(), policy=st.sampled_from(placement.POLICIES))
def test_a_plan_holds_every_expert_and_follows_the_slow_reference(
    case: tuple[np.ndarray, dict[str, int]], policy: placement.Policy
) -> None:
    loads, sizes = case
    slots = placement.plan(loads, **sizes, policy=policy)
    assert slots.shape == (len(loads), sizes["slots"])
    for layer, row in enumerate(slots.tolist()):
        assert set(row) == set(range(loads.shape[1]))
        expected = slow_plan(loads[layer].tolist(), policy=policy, **sizes)
        assert row == expected


@given(case=sized_loads())
def test_hierarchical_copies_stay_on_the_node_of_their_group(
    case: tuple[np.ndarray, dict[str, int]],
) -> None:
    loads, sizes = case
    slots = placement.plan(loads, **sizes, policy="hierarchical")
    node = np.arange(sizes["slots"]) // (sizes["slots"] // sizes["nodes"])
    group = slots // (loads.shape[1] // sizes["groups"])
    for row in group:
        homes = [set(node[row == one].tolist()) for one in range(sizes["groups"])]
        assert all(len(home) == 1 for home in homes)


def slow_plan(loads: list[int], *, slots: int, gpus: int, nodes: int, groups: int, policy: str) -> list[int]:
    """The plan of one layer with lists and fractions."""
    experts = list(range(len(loads)))
    if policy == "global":
        return slow_fill(experts, loads, slots, gpus)
    size = len(loads) // groups
    members = [experts[g * size : (g + 1) * size] for g in range(groups)]
    weight = [Fraction(sum(loads[e] for e in group)) for group in members]
    row = []
    for node in slow_pack(weight, nodes):
        local = [e for g in node for e in members[g]]
        row += slow_fill(local, loads, slots // nodes, gpus // nodes)
    return row


def slow_fill(experts: list[int], loads: list[int], slots: int, gpus: int) -> list[int]:
    copies = dict.fromkeys(experts, 1)
    items = list(experts)
    while len(items) < slots:
        hottest = max(experts, key=lambda e: (Fraction(loads[e], copies[e]), -experts.index(e)))
        copies[hottest] += 1
        items.append(hottest)
    packs = slow_pack([Fraction(loads[e], copies[e]) for e in items], gpus)
    return [items[i] for pack in packs for i in pack]


def slow_pack(weights: list[Fraction], packs: int) -> list[list[int]]:
    """Items of each pack: heaviest first, into the lightest pack with room."""
    held: list[list[int]] = [[] for _ in range(packs)]
    for item in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        free = [pack for pack in held if len(pack) < len(weights) // packs]
        # Added in the same order and as floats, because equal sums of rounded numbers may differ.
        min(free, key=lambda pack: sum(float(weights[i]) for i in pack)).append(item)
    return held


@given(loads=st.lists(st.integers(0, 50), min_size=2, max_size=5), extra=st.integers(0, 3))
def test_no_other_number_of_copies_lowers_the_largest_load_per_copy(loads: list[int], extra: int) -> None:
    """Greedy replication is optimal: compared with every way to assign the extra copies."""
    _, copies = placement.replicate([loads], len(loads) + extra)
    greedy = max(Fraction(load, int(n)) for load, n in zip(loads, copies[0], strict=True))
    for given_to in combinations_with_replacement(range(len(loads)), extra):
        other = max(Fraction(load, 1 + given_to.count(e)) for e, load in enumerate(loads))
        assert greedy <= other


@given(weights=st.lists(st.integers(0, 50), min_size=6, max_size=6))
def test_packing_stays_within_four_thirds_of_the_best(weights: list[int]) -> None:
    """The bound of the heaviest-first rule, against brute force over every packing of 6 items in 3 packs."""
    pack, _ = placement.balanced_packing([weights], 3)
    ours = max(np.bincount(pack[0], weights, minlength=3))
    best = min(
        max(weights[a] + weights[b], weights[c] + weights[d], weights[e] + weights[f])
        for a, b, c, d, e, f in permutations(range(6))
    )
    assert ours <= best * 4 / 3 + 1e-9


def test_loads_of_gpus_and_time_by_hand() -> None:
    """Expert 0 has a copy on both GPUs; 8 and 4 tokens in two batches."""
    slots = [[0, 1, 0, 2]]
    shares = placement.gpu_shares(slots, 3, 2)
    assert shares.tolist() == [[[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]]
    counts = np.array([[[4, 3, 1]], [[2, 0, 2]]])
    loads = placement.gpu_loads(shares, counts)
    assert loads.tolist() == [[[5.0, 3.0]], [[1.0, 3.0]]]
    assert placement.time_over_balanced(loads).tolist() == [pytest.approx((5 + 3) / (4 + 2))]
    assert np.isnan(placement.time_over_balanced(loads * 0)).all()


def test_a_second_copy_on_one_gpu_is_counted() -> None:
    assert placement.wasted_slots([[0, 0, 0, 1], [0, 1, 0, 1]], 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"slots": 10, "gpus": 4}, "slots = 10: must be at least the number of experts"),
        ({"slots": 14, "gpus": 4}, "slots = 14: must be a multiple of the GPUs"),
        ({"slots": 16, "gpus": 8, "nodes": 3}, "gpus = 8: must be a multiple of the nodes"),
        ({"slots": 16, "gpus": 8, "nodes": 2, "groups": 3, "policy": "hierarchical"}, "groups = 3"),
        ({"slots": 16, "gpus": 8, "policy": "best"}, "placement = 'best'"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(sizes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        placement.plan(EXAMPLE, **sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("experts", "gpus", "slots"),
    [(4, 1, [0, 1, 2, 3]), (4, 2, [0, 1, 2, 3]), (4, 3, [0, 1, 2, 3, 0, 1]), (2, 5, [0, 1, 0, 1, 0])],
)
def test_contiguous_experts_follow_their_indices_and_fill_every_gpu(
    experts: int, gpus: int, slots: list[int]
) -> None:
    assert placement.contiguous(2, experts, gpus).tolist() == [slots, slots]
