"""Another bias rule on recorded scores: the experts that it would select, and how its bias would move.

Open loop: the scores stay as they were recorded, so no expert learns from the tokens that it now receives. A
rule's effect on the choices is exact for these tokens; its effect on training is not in here.

Shapes: T tokens, E experts, K slots, U updates.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explorer.config.smebu_rule import Smebu
from explorer.routing import balancing
from explorer.routing.precision import rounded
from explorer.routing.routing_math import choose, compared
from explorer.routing.selection import Selector, column_counts
from explorer.routing.spec import RouteSpec

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
RULES = ("none", *balancing.UPDATE_RULES, "smebu", "quantile")
"""Rules that act on a bias; an auxiliary loss acts on the scores, which are fixed here."""
SHARPNESS, MOMENTUM = Smebu.sharpness, Smebu.momentum
"""κ and β of SMEBU: the defaults of its rule."""
Scope = Literal["batch", "sequence"]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """A rule, and what it acts on."""

    rule: str
    """One of RULES; `none` keeps the bias as it starts."""
    rate: float
    """u in score units; of quantile the share of the way to the exact bias."""
    updates: int
    scope: Scope = "batch"
    """Tokens whose loads one update reads: all, or those of one sequence, a different one in each update."""
    bias_type: str = "float32"
    """Number format that stores the bias: it is rounded at the start and after every update."""
    centred: bool = False


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """What a rule does to a bias and to the loads of the same tokens."""

    biases_UE: Floats
    """[U + 1, E]; row n is the bias after n updates."""
    loads_UE: Ids
    """[U + 1, E] loads of all T tokens under these biases."""
    chosen_TK: Ids
    """[T, K] the experts under the last bias, best first."""


def replay(
    scores_TE: Floats, bias_E: Floats, spec: RouteSpec, what_if: WhatIf, *, sequence_tokens: int
) -> Counterfactual:
    """Apply a rule `updates` times to the loads of tokens with fixed scores.

    bias_E: the bias at the start, in the form of `spec`. sequence_tokens: length of a sequence, for a scope.
    Raises ValueError for a rule that this selection does not allow (`refusal`).
    """
    reason = refusal(spec, what_if.rule)
    if reason:
        raise ValueError(reason)
    tokens, experts = scores_TE.shape
    biases = np.empty((what_if.updates + 1, experts), dtype=np.float32)
    loads = np.empty((what_if.updates + 1, experts), dtype=np.int64)
    biases[0] = rounded(bias_E, what_if.bias_type)
    move = np.zeros(experts)
    select = Selector(tokens, experts, spec.top_k)
    for n in range(what_if.updates):
        taken, loads[n] = select.choose(compared(scores_TE, biases[n], spec))
        rows = _rows(n, tokens, sequence_tokens, what_if.scope)
        move = _move(what_if, column_counts(taken[rows]), scores_TE[rows], biases[n], spec.top_k, move)
        biases[n + 1] = rounded((biases[n] + move).astype(np.float32), what_if.bias_type)
    last = compared(scores_TE, biases[-1], spec)
    loads[-1] = select.choose(last)[1]
    return Counterfactual(biases_UE=biases, loads_UE=loads, chosen_TK=choose(last, scores_TE, spec))


def refusal(spec: RouteSpec, rule: str) -> str:
    """Why a rule cannot act on this selection; "" if it can."""
    if spec.top_p is not None:
        return "With top-p the number of experts per token varies, which no rule here assumes."
    if rule in ("quantile", "smebu") and spec.bias_form != "additive":
        return f"The {rule} rule adds its bias, and this run multiplies by it."
    if rule == "quantile" and spec.num_groups > spec.top_k_groups:
        return "The quantile rule reads each token's (K+1)-th score, and a group limit decides otherwise."
    return ""


def with_selection(spec: RouteSpec, *, top_k: int, num_groups: int, top_k_groups: int) -> RouteSpec:
    """The same router with another K and group limit."""
    return replace(spec, top_k=top_k, num_groups=num_groups, top_k_groups=top_k_groups, top_p=None)


def _rows(update: int, tokens: int, sequence_tokens: int, scope: Scope) -> slice:
    """The tokens whose loads an update reads."""
    if scope == "batch":
        return slice(0, tokens)
    sequences = max(1, tokens // sequence_tokens)
    start = update % sequences * sequence_tokens
    return slice(start, min(start + sequence_tokens, tokens))


def _move(
    what_if: WhatIf, counts_E: Ids, scores_TE: Floats, bias_E: Floats, top_k: int, before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What an update adds to the bias, [E]; before: what the last one added."""
    experts = len(counts_E)
    if what_if.rule == "none" or top_k == experts:
        return np.zeros(experts)
    if what_if.rule == "smebu":
        fresh = what_if.rate * balancing.soft_clamped(balancing.load_error(counts_E), SHARPNESS)
        return np.asarray(balancing.with_momentum(before, fresh, MOMENTUM))
    if what_if.rule == "quantile":
        required = balancing.required_bias(scores_TE, bias_E, top_k)
        rank = min(balancing.balanced_rank(top_k * len(scores_TE), experts), len(scores_TE) - 1)
        target = balancing.quantile_bias(required, rank).astype(np.float64)
        return np.asarray(balancing.blended(bias_E, target, 1.0 - min(what_if.rate, 1.0)) - bias_E)
    return np.asarray(
        balancing.bias_delta(
            counts_E, update_rule=what_if.rule, bias_update_rate=what_if.rate, centred=what_if.centred
        )
    )
