"""Selection and gate settings of a layer: one frozen value for both torch and numpy.

Shape letters: see `explorer.model`.
"""

from dataclasses import dataclass

from explorer.config.model import ModelConfig

EXPERTS_TAKE = ("expert_choice", "expert_threshold")
"""Routings in which experts select tokens; a gate is then the score itself."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rule by which tokens select from compared scores."""

    top_k: int
    """K. With top-p, the nominal number of experts per token, from which capacity is computed."""
    num_groups: int = 1
    top_k_groups: int = 1
    top_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class RouteSpec(Selection):
    """Selection, and the functions from logits to scores and gates."""

    score_func: str | None = "sigmoid"
    """None: unknown, as in imported runs, so that there are logits but no scores."""
    gate_func: str | None = None
    """Function of the gates, if not `score_func`."""
    divide_by: str = "chosen"
    """Divisor of the gates, see `divisor`: chosen, all or nothing."""
    route_scale: float = 1.0
    """Factor on every gate."""
    bias_form: str = "additive"
    """How the selection bias acts on scores: additive or multiplicative."""

    @property
    def weighs_by(self) -> str | None:
        """Function of the gates."""
        return self.gate_func or self.score_func


def route_spec(model: ModelConfig, *, is_training: bool, bias_form: str | None = None) -> RouteSpec:
    """The specification of a model's layers; in evaluation `eval_top_k` may replace top_k and top_p.

    The divisor follows from training, regardless of K in evaluation.
    """
    top_k, top_p = model.top_k, model.top_p
    if model.eval_top_k is not None and not is_training:
        top_k, top_p = model.eval_top_k, None
    by_score = divisor(model.normalize_gates, model.top_k, model.top_p)
    return RouteSpec(
        top_k=top_k,
        num_groups=model.num_groups,
        top_k_groups=model.top_k_groups,
        top_p=top_p,
        score_func=model.score_func,
        gate_func=model.gate_func,
        divide_by="nothing" if model.routing in EXPERTS_TAKE else by_score,
        route_scale=model.route_scale,
        bias_form=bias_form or "additive",
    )


def divisor(normalize_gates: bool, top_k: int, top_p: float | None = None) -> str:
    """The divisor of a model's gates: the sum of the selected scores, of all scores, or none.

    chosen   the usual, for two and more experts: the gates of a token sum to one
    nothing  without `normalize_gates`; and always for K = 1, where the gate would be a constant 1, so
             that the router would get no gradient from the language loss
    all      with top-p, where a token may have one expert: the gates are the normalised scores
             themselves, as in arXiv 2403.07652 (there a softmax)
    """
    if not normalize_gates:
        return "nothing"
    if top_p is not None:
        return "all"
    return "chosen" if top_k > 1 else "nothing"
