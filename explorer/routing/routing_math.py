"""Recompute a router's scores, selection and gate weights from its logits, in numpy.

`explorer/model` does the same with torch; pages may not load that. Tests compare both, and
this module with the selections recorded in the shipped runs. Shape letters: see `explorer.model`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.config.rule_text import MovingQuantile, Rule, bias_form
from explorer.config.run import RunConfig
from explorer.errors import ExplorerError
from explorer.routing.balancing import biased_scores
from explorer.routing.spec import RouteSpec, route_spec

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
LEAST_SUM = np.float32(1e-20)
"""Minimum of a sum of scores used as a divisor: all scores of a token may underflow to 0."""
NEEDED = ("score_func", "normalize_gates", "top_k")
"""Model fields that a configuration must state: our defaults are not another trainer's."""


@dataclass(frozen=True, kw_only=True)
class RouterSettings(RouteSpec):
    """Selection and gate settings of a run's router in evaluation, without randomness."""

    note: str = ""
    """One sentence on what cannot be recomputed from the logits; empty if everything can."""
    chooses: bool = True
    """Whether tokens select by their own scores, so that the selection can be recomputed."""
    best_first: bool = True
    """Whether a token's recorded experts are in order of preference."""


def settings_of(config: Mapping[str, Any], *, top_k: int, step: int) -> RouterSettings:
    """The settings of a run's configuration (`run.json`), with the rule in force at `step`.

    An imported configuration gives settings without a score function.
    """
    try:
        run = RunConfig.from_dict(dict(config)) if set(NEEDED) <= set(config.get("model", ())) else None
    except (ExplorerError, TypeError, ValueError, KeyError, AttributeError):
        run = None
    if run is None:
        note = "The configuration of this run does not say how scores come from the router's logits."
        return RouterSettings(top_k=top_k, score_func=None, chooses=False, note=note)
    rules = run.balancer.rules_at(step)
    note, chooses = _note(run.model.routing, run.model.capacity_factor, rules)
    spec = route_spec(run.model, is_training=False, bias_form=bias_form(rules))
    best_first = run.model.routing == "token_choice"
    return RouterSettings(**vars(spec), note=note, chooses=chooses, best_first=best_first)


_RECORDED = "so what is marked as chosen is what the run recorded."
_OTHERS = {
    "expert_choice": f"Here experts take tokens and no token picks its experts, {_RECORDED}",
    "expert_threshold": "Here an expert takes every token whose score passes the expert's own cut-off, which "
    f"the probe does not keep, {_RECORDED}",
    "hash": f"Here a table of token ids decides and not the scores, {_RECORDED}",
    "random": f"Here chance decides and not the scores, {_RECORDED}",
}


def _note(routing: str, capacity_factor: float | None, rules: tuple[Rule, ...]) -> tuple[str, bool]:
    if routing != "token_choice":
        return _OTHERS.get(routing, "The scores do not decide here."), False
    if any(isinstance(rule, MovingQuantile) and rule.sequence_strength for rule in rules):
        return (
            "This rule also levels the scores along each sequence before it chooses, which the probe does "
            f"not keep, {_RECORDED}"
        ), False
    if capacity_factor is not None:
        return (
            "Experts have a limited capacity here: the gate of a token that found no room is 0, which the "
            "probe does not keep; the gates shown are those before the limit."
        ), True
    return "", True


def scores(logits_TE: Floats, score_func: str | None) -> Floats:
    """Affinities, float32 [T, E], as `explorer.model.gates.scores`."""
    x = np.asarray(logits_TE, dtype=np.float32)
    if score_func == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float32)
    if score_func == "softmax":
        grown = np.exp(x - x.max(-1, keepdims=True))
        return np.asarray(grown / grown.sum(-1, keepdims=True), dtype=np.float32)
    if score_func == "sqrt_softplus":
        soft = np.maximum(np.logaddexp(x, np.float32(0)), np.finfo(np.float32).tiny)
        return np.asarray(np.sqrt(soft), dtype=np.float32)
    raise ValueError(f"score_func = {score_func!r}: must be sigmoid, softmax or sqrt_softplus")


def compared(scores_TE: Floats, bias_E: Floats | None, spec: RouteSpec) -> Floats:
    """The compared scores, [T, E]: score with bias, -inf outside the token's best groups."""
    values = scores_TE if bias_E is None else biased_scores(scores_TE, bias_E, spec.bias_form)
    groups, best = spec.num_groups, spec.top_k_groups
    if groups == best:
        return np.asarray(values)
    grouped = values.reshape(len(values), groups, -1)
    worth = np.sort(grouped, axis=-1)[..., -min(2, grouped.shape[-1]) :].sum(-1)
    in_best_group = np.zeros(worth.shape, dtype=bool)
    np.put_along_axis(in_best_group, np.argsort(-worth, axis=-1, kind="stable")[:, :best], True, axis=-1)
    return np.where(in_best_group[..., None], grouped, -np.inf).reshape(values.shape).astype(np.float32)


def choose(compared_TE: Floats, scores_TE: Floats, spec: RouteSpec) -> Ids:
    """The selected experts of each token, best first, int64 [T, K]; with top-p [T, E], E in an empty slot."""
    order = np.argsort(-compared_TE, axis=-1, kind="stable")
    if spec.top_p is None:
        return order[:, : spec.top_k]
    usable = np.take_along_axis(compared_TE, order, -1) > -np.inf
    shares = np.take_along_axis(scores_TE, order, -1) * usable
    shares = shares / np.maximum(shares.sum(-1, keepdims=True), LEAST_SUM)
    # Shifted, as in the model: a difference of sums may fall back below p and leave a gap in the selection.
    before = np.pad(np.cumsum(shares, axis=-1)[:, :-1], ((0, 0), (1, 0)))
    return np.where((before < spec.top_p) & usable, order, compared_TE.shape[-1])


def gates(logits_TE: Floats, chosen_TK: Ids, spec: RouteSpec) -> Floats:
    """Gate weights of the selected experts, [T, K], from unbiased scores; 0 in an empty slot."""
    if spec.weighs_by is None:
        raise ValueError("gates need a score function, which this run does not name")
    weighing = scores(logits_TE, spec.weighs_by)
    return values_at(weighing, chosen_TK) / gate_divisor(weighing, chosen_TK, spec) * spec.route_scale


def gate_divisor(weighing_TE: Floats, chosen_TK: Ids, spec: RouteSpec) -> Floats:
    """The divisor of a token's gates, [T, 1]; 1 without normalisation."""
    if spec.divide_by == "all":
        return np.asarray(np.maximum(weighing_TE.sum(-1, keepdims=True), LEAST_SUM))
    if spec.divide_by == "chosen":
        total = values_at(weighing_TE, chosen_TK).sum(-1, keepdims=True)
        return np.asarray(np.maximum(total, LEAST_SUM))
    return np.ones((len(weighing_TE), 1), dtype=np.float32)


def values_at(values_TE: Floats, chosen_TK: Ids) -> Floats:
    """The values of the selected experts, [T, K]; 0 where a slot is empty (id E)."""
    padded = np.concatenate([values_TE, np.zeros((len(values_TE), 1), values_TE.dtype)], axis=-1)
    return np.take_along_axis(padded, chosen_TK, axis=-1)


def ranks(compared_TE: Floats) -> Ids:
    """Rank of every expert for its token, from 1, [T, E]."""
    order = np.argsort(-compared_TE, axis=-1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(1, order.shape[-1] + 1)[None, :], axis=-1)
    return place


def same_sets(first_TK: Ids, second_TK: Ids, num_experts: int) -> NDArray[np.bool_]:
    """Whether two selections of a token are the same set of experts, bool [T]."""
    return np.asarray((members(first_TK, num_experts) == members(second_TK, num_experts)).all(-1))


def members(chosen_TK: Ids, num_experts: int) -> NDArray[np.bool_]:
    """Whether a token has selected an expert, [T, E]."""
    mask = np.zeros((len(chosen_TK), num_experts + 1), dtype=bool)
    np.put_along_axis(mask, np.clip(chosen_TK, 0, num_experts), True, axis=-1)
    return mask[:, :num_experts]
