"""Placement of experts on GPUs: contiguous, or planned from loads with replicas as EPLB does.

Shapes: L layers, E experts, P slots (an expert copy on a GPU), G GPUs. Slot p lies on GPU p // (P / G), and
GPU g on node g // (G / nodes). The algorithm is that of DeepSeek's expert parallel load balancer
(github.com/deepseek-ai/EPLB), written anew from its description: copy the expert with the most load per copy
until every slot is filled, then pack the heaviest copy first onto the least loaded GPU that has room.
Hierarchical: groups of experts are packed onto nodes first, and copies stay on the node of their group.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.errors import ConfigError, one_of

Slots = NDArray[np.int64]
Loads = NDArray[np.float64]
Policy = Literal["hierarchical", "global"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def contiguous(num_layers: int, num_experts: int, gpus: int = 1) -> Slots:
    """Every expert once, in the order of their indices: [L, E].

    Where the GPUs do not divide the experts, the first experts follow again until every GPU is full, as
    servers place them before any load is known.
    """
    slots = -(-num_experts // gpus) * gpus
    return np.tile(np.arange(slots) % num_experts, (num_layers, 1))


def plan(
    loads_LE: ArrayLike, *, slots: int, gpus: int, nodes: int = 1, groups: int = 1, policy: Policy = "global"
) -> Slots:
    """The expert in each slot, [L, P]: the placement that EPLB computes from these loads.

    `groups` of consecutive experts and `nodes` matter to the hierarchical policy only. Raises ConfigError
    for sizes that do not divide.
    """
    loads = np.asarray(loads_LE, dtype=np.float64)
    experts = loads.shape[1]
    _check(experts, slots, gpus, nodes, groups, policy)
    if policy == "global":
        return _fill(loads, slots, gpus)
    order_LE = _experts_by_node(loads, groups, nodes)
    per_node = order_LE.reshape(len(loads) * nodes, experts // nodes)
    node_loads = np.take_along_axis(loads, order_LE, 1).reshape(per_node.shape)
    local = _fill(node_loads, slots // nodes, gpus // nodes)
    return np.take_along_axis(per_node, local, 1).reshape(len(loads), slots)


def _check(experts: int, slots: int, gpus: int, nodes: int, groups: int, policy: str) -> None:
    one_of("placement", policy, POLICIES)
    if slots < experts:
        raise ConfigError("slots", slots, f"must be at least the number of experts ({experts})", "raise it")
    if slots % gpus:
        raise ConfigError("slots", slots, f"must be a multiple of the GPUs ({gpus})", "round it up")
    if gpus % nodes:
        raise ConfigError("gpus", gpus, f"must be a multiple of the nodes ({nodes})", "change either")
    if policy == "hierarchical" and (experts % groups or groups % nodes):
        rule = f"must divide the experts ({experts}) and be a multiple of the nodes ({nodes})"
        raise ConfigError("groups", groups, rule, 'change it, or choose placement "global"')


def _experts_by_node(loads_LE: Loads, groups: int, nodes: int) -> Slots:
    """The experts of node 0, then of node 1 …, [L, E], with groups of experts packed onto nodes."""
    layers, experts = loads_LE.shape
    size = experts // groups
    pack, rank = balanced_packing(loads_LE.reshape(layers, groups, size).sum(-1), nodes)
    place = pack * (groups // nodes) + rank
    group_at = np.argsort(place, axis=1)
    return np.asarray((group_at[..., None] * size + np.arange(size)).reshape(layers, experts))


def _fill(loads_XE: Loads, slots: int, gpus: int) -> Slots:
    """Replicate and pack on the GPUs of one node, independently in each of X rows: [X, slots]."""
    expert, copies = replicate(loads_XE, slots)
    share = np.take_along_axis(loads_XE / copies, expert, 1)
    pack, rank = balanced_packing(share, gpus)
    place = pack * (slots // gpus) + rank
    return np.take_along_axis(expert, np.argsort(place, axis=1), 1)


def replicate(loads_XE: ArrayLike, slots: int) -> tuple[Slots, Slots]:
    """The expert of every copy, [X, slots], and the copies of every expert, [X, E].

    The first E copies are the experts themselves. Each further one goes to the expert with the most load per
    copy, of equal ones to the lower index.
    """
    loads = np.asarray(loads_XE, dtype=np.float64)
    rows, experts = loads.shape
    expert = np.tile(np.arange(slots) % experts, (rows, 1))
    copies = np.ones((rows, experts), dtype=np.int64)
    every = np.arange(rows)
    for slot in range(experts, slots):
        hottest = (loads / copies).argmax(1)
        expert[:, slot] = hottest
        copies[every, hottest] += 1
    return expert, copies


def balanced_packing(weights_XN: ArrayLike, packs: int) -> tuple[Slots, Slots]:
    """The pack of every item, and its place among the items of that pack, both [X, N].

    Heaviest item first, each into the lightest pack that has room for one more; packs hold N / packs items.
    """
    weights = np.asarray(weights_XN, dtype=np.float64)
    rows, items = weights.shape
    room = items // packs
    pack, rank = np.empty((2, rows, items), dtype=np.int64)
    load = np.zeros((rows, packs))
    held = np.zeros((rows, packs), dtype=np.int64)
    every = np.arange(rows)
    for item in np.argsort(-weights, axis=1, kind="stable").T:
        lightest = np.where(held < room, load, np.inf).argmin(1)
        pack[every, item], rank[every, item] = lightest, held[every, lightest]
        load[every, lightest] += weights[every, item]
        held[every, lightest] += 1
    return pack, rank


def gpu_shares(slots_LP: ArrayLike, num_experts: int, gpus: int) -> Loads:
    """The share of an expert's tokens that a GPU serves, [L, G, E]: copies share evenly."""
    slots = np.asarray(slots_LP)
    layers, number = slots.shape
    held = np.zeros((layers, gpus, num_experts))
    gpu = np.arange(number) // (number // gpus)
    np.add.at(held, (np.arange(layers)[:, None], gpu[None, :], slots), 1.0)
    return np.asarray(held / held.sum(1, keepdims=True))


def gpu_loads(shares_LGE: Loads, counts_RLE: ArrayLike) -> Loads:
    """Tokens that every GPU serves, [R, L, G], for the loads of R batches."""
    counts = np.asarray(counts_RLE, dtype=np.float64)
    return np.asarray(np.matmul(shares_LGE, counts.transpose(1, 2, 0)).transpose(2, 0, 1))


def time_over_balanced(loads_RLG: Loads) -> Loads:
    """Modelled time of each layer over that of balanced GPUs, [L]; 1 is balanced, NaN without tokens.

    In every batch a layer takes as long as its busiest GPU; batches are added. Hence the sum over batches of
    the largest load, over the sum of the mean loads.
    """
    longest, mean = loads_RLG.max(-1).sum(0), loads_RLG.mean(-1).sum(0)
    return np.where(mean > 0, longest / np.where(mean > 0, mean, 1.0), np.nan)


def wasted_slots(slots_LP: ArrayLike, gpus: int) -> NDArray[np.int64]:
    """Slots that hold a further copy of an expert that their GPU already has, [L]."""
    slots = np.asarray(slots_LP)
    by_gpu = np.sort(slots.reshape(len(slots), gpus, -1), axis=-1)
    return np.asarray((by_gpu[..., 1:] == by_gpu[..., :-1]).sum((1, 2)))
