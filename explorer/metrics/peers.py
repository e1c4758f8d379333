"""Metrics of other tools for the same counts, and their conversion.

Every function takes counts [R, L, E] (R ranks, L layers, E experts) and K, and returns the number that
the tool would log for the whole model, or None where counts alone do not determine it. That includes how a
tool combines layers (mean, maximum, ratio of sums), which a formula for one layer does not say.
A loss also depends on the mean probabilities P; here P_i is assumed to be the load fraction f_i, so that
E sum f_i P_i = 1 + CV^2. At balance the loss has the stated value for any P. Losses are those of the
usual scope: every rank counts separately and the mean over ranks is logged.

The sources were read, not run. Tests compare every conversion with an independent implementation of the
tool's arithmetic, on uneven counts of several layers and ranks, and with the tools' own code where it can
be installed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.metrics.counts import (
    balance_efficiency,
    checked,
    coefficient_of_variation,
    effective_experts,
    load_fraction,
    max_over_mean,
    max_vio,
    total_variation,
)

Printed = Callable[[ArrayLike, int], float | None]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One metric of another tool."""

    tool: str
    name: str
    """The tool's name for it."""
    formula: str
    """In terms of our metrics, LaTeX."""
    printed: Printed
    at_balance: Callable[[int, int], float]
    """(N, K) -> its value when every expert has the same load."""
    balance_words: str
    """The same, LaTeX."""
    trap: str
    """How it can mislead, or what it omits; one sentence."""
    link: str


def _together(counts: ArrayLike) -> NDArray[np.int64]:
    """[R, L, E] -> [L, E]: the sum over ranks."""
    return np.asarray(checked(counts).sum(0))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def _switch_loss(counts: ArrayLike) -> NDArray[np.float64]:
    """E sum f_i P_i with P = f, [..., E] -> [...]."""
    fraction = load_fraction(counts)
    return np.asarray((fraction**2).sum(-1) * fraction.shape[-1])


def switch_loss(counts: ArrayLike, top_k: int) -> float:
    """Layer by layer: Megatron-LM, OLMo-core and MegaBlocks at coefficient 1."""
    return _mean(_switch_loss(counts))


def huggingface_loss(counts: ArrayLike, top_k: int) -> float:
    """K times the loss of all layers' tokens pooled."""
    return top_k * _mean(_switch_loss(checked(counts).sum(1)))


def nano_moe_loss(counts: ArrayLike, top_k: int) -> float:
    """K times the loss, layer by layer (their sum is added to the objective; here the mean)."""
    return top_k * switch_loss(counts, top_k)


def first_choice_loss(counts: ArrayLike, top_k: int) -> float | None:
    """GShard and st-moe count first choices only, which total counts do not determine unless K = 1."""
    return switch_loss(counts, top_k) if top_k == 1 else None


def olmo_load_imbalance(counts: ArrayLike, top_k: int) -> float:
    """max/mean of each rank's own counts, reduced over ranks by the maximum."""
    return _mean(max_over_mean(counts).max(0))


def prime_rl_max_vio(counts: ArrayLike, top_k: int) -> float | None:
    """MaxVio without the K busiest experts, rank by rank; the mean is logged.

    NaN, as there, if no expert remains.
    """
    array = checked(counts)
    if array.shape[-1] <= top_k:
        return None
    return _mean(max_vio(np.sort(array, axis=-1)[..., : array.shape[-1] - top_k]))


def automodel_utilisation(counts: ArrayLike, top_k: int) -> float:
    """`expert_utilization_max`: the largest load ratio c_i / mean(c) of all layers and experts."""
    return float(max_over_mean(_together(counts)).max())


def automodel_cv(counts: ArrayLike, top_k: int) -> float | None:
    """`cv_mean`: the coefficient of variation with N - 1 under the root, as torch's `std` divides.

    None for a single expert, for which that is 0 / 0.
    """
    array = _together(counts)
    experts = array.shape[-1]
    if experts < 2:
        return None
    return _mean(coefficient_of_variation(array)) * math.sqrt(experts / (experts - 1))


def automodel_diversity(counts: ArrayLike, top_k: int) -> float:
    """`expert_diversity_mean`: exp(H) / E."""
    array = _together(counts)
    return _mean(effective_experts(array) / array.shape[-1])


def shinka_imbalance(counts: ArrayLike, top_k: int) -> float:
    """L_imb."""
    return _mean(total_variation(_together(counts)))


def sglang_balancedness(counts: ArrayLike, top_k: int) -> float:
    """mean/max over GPUs, layer by layer and then averaged, if each GPU held one expert."""
    return _mean(balance_efficiency(_together(counts)))


def vllm_balancedness(counts: ArrayLike, top_k: int) -> float:
    """The sum over layers of the mean load over the sum over layers of the largest, one expert per rank.

    0, as there, if nothing was routed.
    """
    array = _together(counts)
    most = int(array.max(-1).sum())
    return float(array.mean(-1).sum()) / most if most else 0.0


def tensorrt_imbalance(counts: ArrayLike, top_k: int) -> float:
    """max/mean - 1 of each layer's experts (`--per_expert`), in the row `average`."""
    return _mean(max_vio(_together(counts)))


def plumb_imbalance(counts: ArrayLike, top_k: int) -> float:
    """max/mean over the experts with tokens."""
    ratios = [float(max_over_mean(row[row > 0])) for row in _together(counts) if row.any()]
    return sum(ratios) / len(ratios) if ratios else math.nan


def _one(n: int, k: int) -> float:
    return 1.0


def _zero(n: int, k: int) -> float:
    return 0.0


def _top_k(n: int, k: int) -> float:
    return float(k)


CONVERSIONS: tuple[Conversion, ...] = (
    Conversion(
        tool="Megatron-LM, OLMo-core, MegaBlocks",
        name="load balancing loss over its coefficient",
        formula=r"1 + \mathrm{CV}^2",
        printed=switch_loss,
        at_balance=_one,
        balance_words="1",
        trap="Of each rank and micro-batch. Also falls when the probabilities flatten and the loads do not.",
        link="https://github.com/NVIDIA/Megatron-LM",
    ),
    Conversion(
        tool="transformers (Hugging Face)",
        name="load_balancing_loss_func",
        formula=r"K\,(1 + \mathrm{CV}^2_{\text{pooled}})",
        printed=huggingface_loss,
        at_balance=_top_k,
        balance_words="K",
        trap="Pools all layers: layers that collapse onto different experts look even. Not divided by K.",
        link="https://github.com/huggingface/transformers",
    ),
    Conversion(
        tool="nanoMoE",
        name="auxiliary loss of a layer",
        formula=r"K\,(1 + \mathrm{CV}^2)",
        printed=nano_moe_loss,
        at_balance=_top_k,
        balance_words="K",
        trap="Probabilities after the top-K mask; also part of its logged validation loss.",
        link="https://github.com/wolfecameron/nanoMoE",
    ),
    Conversion(
        tool="GShard, st-moe-pytorch, tutel",
        name="balance loss",
        formula=r"1 + \mathrm{CV}^2_{\text{first choice}}",
        printed=first_choice_loss,
        at_balance=_one,
        balance_words="1",
        trap="Counts first choices only, so for K > 1 it cannot be derived from the total counts.",
        link="https://github.com/lucidrains/st-moe-pytorch",
    ),
    Conversion(
        tool="OLMo-core",
        name="load imbalance",
        formula=r"\max_r \mathrm{MaxVio}_r + 1",
        printed=olmo_load_imbalance,
        at_balance=_one,
        balance_words="1",
        trap="Computed per rank r: ranks that overload different experts look imbalanced although the whole "
        "is even.",
        link="https://github.com/allenai/OLMo-core",
    ),
    Conversion(
        tool="prime-rl",
        name="max_vio/mean",
        formula=r"\mathrm{MaxVio}_{N-K}",
        printed=prime_rl_max_vio,
        at_balance=_zero,
        balance_words="0",
        trap="The K busiest experts are dropped first, rank by rank: a collapse onto K experts disappears.",
        link="https://github.com/PrimeIntellect-ai/prime-rl",
    ),
    Conversion(
        tool="NeMo Automodel",
        name="expert_utilization_max",
        formula=r"\max_\ell \mathrm{MaxVio}_\ell + 1",
        printed=automodel_utilisation,
        at_balance=_one,
        balance_words="1",
        trap="The maximum over all layers, so it grows with their number. Of the last micro-batch of the "
        "step only.",
        link="https://github.com/NVIDIA-NeMo/Automodel",
    ),
    Conversion(
        tool="NeMo Automodel",
        name="cv_mean",
        formula=r"\mathrm{CV}\,\sqrt{N/(N-1)}",
        printed=automodel_cv,
        at_balance=_zero,
        balance_words="0",
        trap="Divides by N − 1 where ours divides by N: 3 % more for 16 experts, 15 % for 4. Of the last "
        "micro-batch of the step only.",
        link="https://github.com/NVIDIA-NeMo/Automodel",
    ),
    Conversion(
        tool="NeMo Automodel",
        name="expert_diversity_mean",
        formula=r"N_{\mathrm{eff}}/N",
        printed=automodel_diversity,
        at_balance=_one,
        balance_words="1",
        trap="Of the last micro-batch of the step only.",
        link="https://github.com/NVIDIA-NeMo/Automodel",
    ),
    Conversion(
        tool="ShinkaEvolve",
        name="L_imb",
        formula=r"\tfrac12\textstyle\sum_i|f_i - 1/N|",
        printed=shinka_imbalance,
        at_balance=_zero,
        balance_words="0",
        trap="The same as our misplaced share.",
        link="https://arxiv.org/abs/2509.19349",
    ),
    Conversion(
        tool="SGLang",
        name="balancedness",
        formula=r"\frac1L\sum_\ell \frac{1}{1 + \mathrm{MaxVio}_\ell}",
        printed=sglang_balancedness,
        at_balance=_one,
        balance_words="1",
        trap="Over GPUs: here each GPU holds one expert. Several experts per GPU look more even.",
        link="https://github.com/sgl-project/sglang",
    ),
    Conversion(
        tool="vLLM",
        name="balancedness",
        formula=r"\frac{\sum_\ell \bar c_\ell}{\sum_\ell \max_i c_{\ell,i}} = "
        r"\frac{1}{1 + \mathrm{MaxVio}}",
        printed=vllm_balancedness,
        at_balance=_one,
        balance_words="1",
        trap="A ratio of sums over layers, not SGLang's mean of ratios. Over ranks: here each rank holds one "
        "expert. Releases before August 2026 take mean and maximum over layers instead of ranks.",
        link="https://github.com/vllm-project/vllm",
    ),
    Conversion(
        tool="TensorRT-LLM",
        name="imbalance ratio of its report",
        formula=r"\mathrm{MaxVio}",
        printed=tensorrt_imbalance,
        at_balance=_zero,
        balance_words="0",
        trap="Of experts with `--per_expert` only; without it the report is of expert-parallel ranks, which "
        "look more even. One row per layer and their average; sums over ranks are inflated when ranks saw "
        "the same tokens.",
        link="https://github.com/NVIDIA/TensorRT-LLM",
    ),
    Conversion(
        tool="plumb-moe",
        name="imbalance_ratio",
        formula=r"\mathrm{MaxVio}_{\text{seen}} + 1",
        printed=plumb_imbalance,
        at_balance=_one,
        balance_words="1",
        trap="Excludes experts without tokens from the mean: dead experts lower it.",
        link="https://pypi.org/project/plumb-moe",
    ),
)
"""Every metric with a conversion, most used first."""
