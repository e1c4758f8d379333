"""A balanced placement of experts on GPUs with replicas of the busy ones, from loads.

The published global policy of EPLB (deepseek-ai/EPLB), written from its description: the expert with the
highest load per replica gets the next replica; then replicas go, from the heaviest to the lightest, to the
GPU with the least load that has a free slot. Among those, a GPU that lacks the expert is preferred, since a
second replica on one GPU relieves nobody. Shapes: L layers, E experts, P physical slots.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def place(tokens_LE: Counts, num_slots: int, num_gpus: int) -> Counts:
    """The expert in every slot [L, P]; the slots of a GPU are neighbours.

    num_slots: P, a multiple of `num_gpus` and at least E.
    """
    return np.stack([_place_layer(tokens_E, num_slots, num_gpus) for tokens_E in tokens_LE])


def _place_layer(tokens_E: Counts, num_slots: int, num_gpus: int) -> Counts:
    replicas_E = np.ones(len(tokens_E), dtype=np.int64)
    for _ in range(num_slots - len(tokens_E)):
        replicas_E[np.argmax(tokens_E / replicas_E)] += 1
    load_E = tokens_E / replicas_E
    expert_P = np.repeat(np.arange(len(tokens_E)), replicas_E)
    order = expert_P[np.argsort(-load_E[expert_P], kind="stable")]
    load_G = np.zeros(num_gpus)
    on_gpu: list[list[int]] = [[] for _ in range(num_gpus)]
    for expert in order.tolist():
        free = [gpu for gpu in range(num_gpus) if len(on_gpu[gpu]) < num_slots // num_gpus]
        gpu = min(free, key=lambda one: (expert in on_gpu[one], load_G[one], one))
        on_gpu[gpu].append(expert)
        load_G[gpu] += load_E[expert]
    return np.asarray(on_gpu, dtype=np.int64).reshape(-1)
