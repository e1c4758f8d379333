"""How the tokens of a layer choose experts and weigh them: one frozen value that torch and numpy read alike.

Shape letters: see `explorer.model`.
"""

from dataclasses import dataclass

from explorer.config.model import ModelConfig

EXPERTS_TAKE = ("expert_choice", "expert_threshold")
"""Routings in which experts take tokens; a gate is then the score itself."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rule by which tokens choose from compared scores."""

    top_k: int
    """K. With top-p the number of experts that a token is planned to have, which capacity is counted from."""
    num_groups: int = 1
    top_k_groups: int = 1
    top_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class RouteSpec(Selection):
    """Selection, and how logits become scores and gates."""

    score_func: str | None = "sigmoid"
    """None: a run of another trainer does not say, so there are logits and no scores."""
    gate_func: str | None = None
    """Function of the gates where it is not `score_func`."""
    divide_by: str = "chosen"
    """By which sum the gates are divided, see `divisor`: chosen, all or nothing."""
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

    How gates are divided follows from how the model trains, whatever the K of the evaluation.
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
    """By which sum a model divides its gates: that of the scores chosen, of all scores, or by nothing.

    chosen   the usual, for two and more experts: the gates of a token sum to one
    nothing  as asked; and always for K = 1, where the gate would be 1 whatever the router says, so that
             the language loss could not reach the router
    all      with top-p, where a token may have one expert: the gates are the normalised scores
             themselves, as in arXiv 2403.07652 (there a softmax)
    """
    if not normalize_gates:
        return "nothing"
    if top_p is not None:
        return "all"
    return "chosen" if top_k > 1 else "nothing"
