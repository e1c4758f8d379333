"""Whether the rules of a run can act on its model."""

from explorer.config.model import ModelConfig
from explorer.config.rule_text import LossFree, Rule, SimBal
from explorer.errors import ConfigError


def check_fit(rules: tuple[Rule, ...], model: ModelConfig) -> None:
    """Reject rules that have nothing to act on in this model."""
    for rule in rules:
        if model.routing == "dense" or (rule.family and model.routing != "token_choice"):
            raise ConfigError(
                "balancer",
                rule.name,
                f"has nothing to balance with model.routing={model.routing}: {WHY_NOT[model.routing]}",
                "use balancer none, or routing=token_choice",
            )
        if isinstance(rule, SimBal) and model.num_experts > model.hidden_size:
            raise ConfigError(
                "balancer",
                rule.name,
                f"cannot make {model.num_experts} expert vectors orthonormal in model.hidden_size "
                f"{model.hidden_size}",
                f"raise model.hidden_size to {model.num_experts} or more, or use another rule",
            )
        if isinstance(rule, LossFree) and rule.bias_form == "multiplicative":
            _check_multiplicative(rule, model)
        rule.check_model(model)


WHY_NOT = {
    "expert_choice": "every expert takes the same number of tokens, regardless of bias or auxiliary loss",
    "expert_threshold": "the thresholds alone decide how many tokens an expert takes",
    "hash": "the token's id decides",
    "random": "chance decides",
    "dense": "there are no experts",
}


def _check_multiplicative(rule: LossFree, model: ModelConfig) -> None:
    """The most loaded expert has a relative violation of at least 1 - N/K, so one step takes u (N/K - 1).

    K is the minimum number of experts per token: one with top-p and with a random second expert.
    """
    fewest = 1 if model.top_p is not None or model.random_second else model.top_k
    reach = rule.bias_update_rate * (model.num_experts / fewest - 1)
    if rule.update_rule == "proportional" and reach >= 1:
        bound = 1 / (model.num_experts / fewest - 1)
        raise ConfigError(
            "loss_free.bias_update_rate",
            rule.bias_update_rate,
            f"must be below {bound:.3g} for a multiplicative bias with proportional steps: one step could "
            "make the bias negative, and the expert with the highest score would come last",
            "lower it, or use update_rule=sign or bias_form=additive",
        )
