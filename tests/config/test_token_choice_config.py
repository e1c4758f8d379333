"""Settings of token choice: what is refused, in one sentence, and that old digests stay."""

import pytest
from sentences import pattern

from explorer.config.model import ModelConfig
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError

REFUSED = [
    ({"score_func": "tanh"}, "model.score_func = 'tanh'", "sqrt_softplus"),
    ({"gate_func": "relu"}, "model.gate_func = 'relu'", "softmax"),
    ({"gate_func": "sigmoid"}, "model.gate_func = 'sigmoid'", pattern("config.already_score_func")),
    ({"num_groups": 5}, "model.num_groups = 5", pattern("config.divides_experts", experts=16)),
    (
        {"num_groups": 4, "top_k_groups": 5},
        "model.top_k_groups = 5",
        pattern("config.at_most_field", field="model.num_groups", value=4),
    ),
    ({"num_groups": 8, "top_k": 3}, "model.top_k = 3", pattern("config.at_most_group_experts", experts=2)),
    (
        {"num_groups": 8, "eval_top_k": 3},
        "model.eval_top_k = 3",
        pattern("config.at_most_group_experts", experts=2),
    ),
    ({"eval_top_k": 17}, "model.eval_top_k = 17", "at most the 16"),
    ({"eval_top_k": 0}, "model.eval_top_k = 0", "at least 1"),
    ({"router_noise": -1.0}, "model.router_noise = -1.0", "at least 0"),
    ({"router_noise": float("nan")}, "model.router_noise = nan", "finite"),
    ({"router_noise": 0.5, "noisy_top_k": True}, "model.router_noise = 0.5", "model.noisy_top_k learns"),
    ({"top_p": 0.0}, "model.top_p = 0.0", "greater than 0"),
    ({"top_p": 1.5}, "model.top_p = 1.5", "at most 1"),
    ({"capacity_factor": 0.0}, "model.capacity_factor = 0.0", "greater than 0"),
    ({"drop_policy": "random"}, "model.drop_policy = 'random'", "position"),
    ({"drop_policy": "position"}, "model.drop_policy = 'position'", pattern("config.set_capacity")),
    ({"random_second": True, "top_k": 1}, "model.random_second = True", pattern("config.needs_top_k_2")),
    ({"random_second": True, "top_p": 0.5}, "model.random_second = True", "model.top_p=0.5"),
    *[
        (
            {"routing": "hash", name: value},
            f"model.{name} = ",
            pattern("config.no_meaning_with_routing", routing="hash"),
        )
        for name, value in {
            "router_noise": 0.1,
            "noisy_top_k": True,
            "num_groups": 4,
            "top_p": 0.5,
            "eval_top_k": 1,
            "random_second": True,
        }.items()
    ],
    (
        {"routing": "expert_choice", "capacity_factor": 1.0},
        "model.capacity_factor",
        pattern("config.no_meaning"),
    ),
]


@pytest.mark.parametrize(("settings", "field", "words"), REFUSED)
def test_what_makes_no_sense_is_refused_in_a_sentence(settings, field, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        ModelConfig(**settings)
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 1.0},
        {"top_p": 0.5, "eval_top_k": 16},
        {"num_groups": 16, "top_k_groups": 2},
        {"num_groups": 4, "top_k_groups": 4},
        {"random_second": True, "capacity_factor": 2.0, "drop_policy": "position"},
        {"top_p": 0.5, "capacity_factor": 1.0, "noisy_top_k": True},
        {"score_func": "softmax", "gate_func": "sqrt_softplus"},
    ],
)
def test_what_makes_sense_is_taken_and_read_back(settings) -> None:
    config = RunConfig(model=ModelConfig(**settings))
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.pair_key != RunConfig().pair_key


def test_settings_at_their_defaults_leave_digests_as_they_were() -> None:
    written = RunConfig().to_dict()["model"]
    for name in ("gate_func", "router_noise", "noisy_top_k", "num_groups", "top_p", "eval_top_k"):
        assert name not in written
    for name in ("capacity_factor", "drop_policy", "random_second"):
        assert name not in written


@pytest.mark.parametrize("settings", [{"top_p": 0.5}, {"random_second": True}])
def test_bound_of_a_multiplicative_bias_counts_with_one_expert_where_a_token_may_have_one(settings) -> None:
    # 16 experts, K = 2: an expert can have 8 times the mean load, with one expert a token 16 times.
    rules = "loss_free:bias_form=multiplicative,update_rule=proportional,u=0.1"
    balanced = {"balancer": BalancerConfig.parse(rules)}
    RunConfig(model=ModelConfig(), **balanced)
    with pytest.raises(ConfigError, match=pattern("errors.below") + r" 0\.0667"):
        RunConfig(model=ModelConfig(**settings), **balanced)
