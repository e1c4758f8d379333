"""Routings as people name them: text form, labels, families, pairs, and what is refused."""

import json
from dataclasses import replace

import pytest
from sentences import pattern, sentence
from tiny import make_tiny_config

from explorer.cli.settings import arm_names, parse_arms
from explorer.config.model import ROUTINGS, ModelConfig
from explorer.config.presets import arm_config, get_preset
from explorer.config.routings import COMPARED_FIELDS, KINDS, split_arm
from explorer.config.rule_text import RULES, make_rule
from explorer.config.run import RunConfig, differences
from explorer.errors import ConfigError
from explorer.figures.rule_names import short_balancer
from explorer.recording import run_info_from_config

OTHERS = [name for name in ROUTINGS if name != "token_choice"]
# text, its plain form, label, count scope, chip
ARMS = [
    ("expert_choice", "expert_choice",
     sentence("labels.expert_choice_batch"), "micro_batch", "expert choice"),
    ("expert_choice:chunk=128", "expert_choice:chunk=128",
     sentence("labels.expert_choice_chunks", tokens=128), "chunk", "expert choice 128"),
    ("expert_choice:expert_choice_chunk=8", "expert_choice:chunk=8",
     sentence("labels.expert_choice_chunks", tokens=8), "chunk", "expert choice 8"),
    ("expert_threshold", "expert_threshold",
     sentence("labels.expert_thresholds", ema="0.9", scope="global batch"), "global_batch", "thresholds"),
    ("expert_threshold:ema=0.5", "expert_threshold:ema=0.5",
     sentence("labels.expert_thresholds", ema="0.5", scope="global batch"), "global_batch", "thresholds 0.5"),
    ("hash", "hash", "hash routing", "none", "hash"),
    ("random+z_loss:coeff=0.01", "random+z_loss:coeff=0.01",
     sentence("labels.random_z_loss", coeff="0.01"), "none", "random + z-loss 0.01"),
    ("dense", "dense", sentence("labels.dense"), "none", "dense"),
    ("hash/5/z_loss", "hash+none/5/z_loss",
     sentence("labels.hash_then_z_loss", step=5, coeff="0.001"), "none",
     sentence("labels.hash_then_z_loss_short", step=5, coeff="0.001")),
]  # fmt: skip


def test_every_routing_of_the_configuration_has_words() -> None:
    assert set(KINDS) == set(ROUTINGS)


@pytest.mark.parametrize(("text", "plain", "label", "scope", "chip"), ARMS)
def test_an_arm_that_is_a_routing_round_trips_and_says_what_it_is(text, plain, label, scope, chip) -> None:
    base = get_preset("tiny")
    config = arm_config(base, text)
    assert config.arm == plain
    assert arm_config(base, plain) == config
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.label, config.count_scope) == (label, scope)
    assert config.family == config.model.routing
    assert short_balancer(plain) == chip
    info = run_info_from_config(config, run_id="x")
    assert (info.balancer, info.balancer_label) == (plain, label)
    assert (info.balancer_family, info.count_scope) == (config.family, scope)
    assert info.name == f"{label}, seed 0"
    assert sentence("labels.none") not in info.balancer_label or "/5/" in text


@pytest.mark.parametrize(
    "text", ["none", "loss_free:bias_update_rate=0.01", "loss_free+seq_aux", "none/9/aux_loss"]
)
def test_a_balancer_is_an_arm_as_before(text: str) -> None:
    config = arm_config(get_preset("tiny"), text)
    assert config.arm == str(config.balancer)
    assert (config.label, config.family) == (config.balancer.label, config.balancer.family)
    assert config.count_scope == config.balancer.count_scope
    assert split_arm(text) == (None, text)


def test_a_balancer_alone_keeps_the_routing_and_a_routing_resets_the_options_of_another() -> None:
    base = arm_config(get_preset("tiny"), "expert_choice:chunk=8")
    assert arm_config(base, "none").arm == "expert_choice:chunk=8"
    assert arm_config(base, "expert_threshold:ema=0.5").arm == "expert_threshold:ema=0.5"
    assert arm_config(base, "token_choice+loss_free").arm == "loss_free"


@pytest.mark.parametrize("text", [arm[0] for arm in ARMS])
def test_a_routing_is_what_is_compared_and_no_confounder(text: str) -> None:
    base = get_preset("tiny")
    config = arm_config(base, text)
    assert config.pair_key == base.pair_key
    assert config.digest != base.digest
    assert differences(base.to_dict(), config.to_dict()) == []
    other = config.with_setting("model.top_k", 1)
    assert other.pair_key != base.pair_key
    assert differences(base.to_dict(), other.to_dict()) == ["model.top_k"]
    assert set(COMPARED_FIELDS) == {"routing", "expert_choice_chunk", "threshold_ema"}


def test_the_arms_of_a_comparison_mix_balancers_and_routings() -> None:
    text = "loss_free:u=0.01,expert_choice:chunk=8,expert_threshold:ema=0.5,hash,dense"
    arms = parse_arms(get_preset("tiny"), text, "tiny")
    assert [arm_names(arm.arm) for arm in arms] == [
        "loss_free", "expert_choice", "expert_threshold", "hash", "dense",
    ]  # fmt: skip
    assert arm_names("random+z_loss") == "random+z_loss"
    assert arm_names("somebody's own rule") == "somebody's own rule"
    with pytest.raises(ConfigError, match=pattern("config.named_twice")):
        parse_arms(get_preset("tiny"), "hash,hash", "tiny")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("expert_choice:top=3",
         ("expert_choice.top = '3'", sentence("config.setting_of_this"),
          sentence("errors.choose_one_of") + " chunk")),
        ("hash:chunk=3", ("hash.chunk = '3'", sentence("config.setting_of_routing"), "leave it out")),
        ("expert_choice:chunk", ("expert_choice:chunk", "has no '='", "setting=value")),
        ("expert_choice:chunk=0", ("model.expert_choice_chunk = 0", "at least 1")),
        ("expert_threshold:ema=1", ("model.threshold_ema = 1", "below 1")),
        ("dense+loss_free", ("loss_free", sentence("config.no_experts"), sentence("config.or_routing"))),
        ("coin", ("coin", sentence("errors.unknown_balancer"))),
    ],
)  # fmt: skip
def test_arms_that_cannot_be_are_refused(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        arm_config(get_preset("tiny"), text)
    for part in parts:
        assert part in str(error.value)


WHY = {
    "expert_choice": sentence("config.same_number_of_tokens"),
    "expert_threshold": sentence("config.thresholds_decide"),
    "hash": sentence("config.token_id_decides"),
    "random": "chance decides",
    "dense": sentence("config.no_experts"),
}


@pytest.mark.parametrize("routing", OTHERS)
@pytest.mark.parametrize("rule", [name for name, kind in RULES.items() if kind.family])
def test_a_rule_with_nothing_to_balance_is_refused_with_the_reason(routing: str, rule: str) -> None:
    config = make_tiny_config("none", routing=routing)
    with pytest.raises(ConfigError) as error:
        config.with_setting("balancer", rule)
    message = str(error.value)
    for part in (
        rule,
        f"model.routing={routing}",
        WHY[routing],
        sentence("config.use_no_balancer"),
    ):
        assert part in message
    with pytest.raises(ConfigError, match=pattern("config.nothing_to_balance")):
        config.with_setting("balancer", f"none/5/{rule}")


@pytest.mark.parametrize("routing", [name for name in OTHERS if name != "dense"])
def test_a_z_loss_goes_with_every_routing_that_has_a_router(routing: str) -> None:
    config = make_tiny_config("none", routing=routing).with_setting("balancer", "z_loss")
    assert config.balancer.rules == (make_rule("z_loss", {}),)


def test_a_dense_model_has_no_router_for_a_z_loss() -> None:
    with pytest.raises(ConfigError, match=r"z_loss.*model\.routing=dense: " + pattern("config.no_experts")):
        make_tiny_config("z_loss", routing="dense")


@pytest.mark.parametrize("routing", OTHERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("router_noise", 0.1), ("noisy_top_k", True), ("num_groups", 2), ("top_p", 0.5), ("eval_top_k", 1),
     ("random_second", True)],
)  # fmt: skip
def test_what_only_token_choice_can_do_is_refused(routing: str, name: str, value) -> None:
    with pytest.raises(ConfigError) as error:
        replace(ModelConfig(routing=routing), **{name: value})
    for part in (
        f"model.{name}",
        f"routing={routing}",
        sentence("config.no_score_choice"),
        "routing=token_choice",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("routing", ["expert_choice", "expert_threshold", "dense"])
def test_a_capacity_is_refused_where_experts_take_or_there_are_none(routing: str) -> None:
    with pytest.raises(
        ConfigError, match="capacity_factor.*" + pattern("config.no_meaning_with_routing", routing=routing)
    ):
        ModelConfig(routing=routing, capacity_factor=1.0)
    assert ModelConfig(routing="hash", capacity_factor=1.0).capacity_factor == 1.0


@pytest.mark.parametrize(
    ("name", "value", "home"),
    [("expert_choice_chunk", 8, "expert_choice"), ("threshold_ema", 0.5, "expert_threshold")],
)
def test_options_of_a_routing_are_refused_with_another(name: str, value, home: str) -> None:
    assert getattr(ModelConfig(routing=home, **{name: value}), name) == value
    for routing in ROUTINGS:
        if routing != home:
            with pytest.raises(
                ConfigError,
                match=f"{name}.*"
                + pattern("config.no_meaning")
                + ".*"
                + pattern("config.leave_out_or_routing", routing=home),
            ):
                ModelConfig(routing=routing, **{name: value})


def test_older_runs_keep_their_digests() -> None:
    # The fields came after runs were recorded: at their defaults they are not part of the plain form.
    assert not set(COMPARED_FIELDS) & get_preset("standard").to_dict()["model"].keys()
