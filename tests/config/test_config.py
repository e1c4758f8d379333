"""A run as a value: what is accepted, what is refused and how, and what makes two runs a pair."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentences import pattern, sentence
from tiny import make_tiny_config

from explorer.config.presets import PRESETS, get_preset, preset_balancer
from explorer.config.rule_text import AuxLoss, LossFree
from explorer.config.run import (
    NOT_IN_PAIR_KEY,
    BalancerConfig,
    CorpusConfig,
    ModelConfig,
    RunConfig,
    ScheduledRules,
    TrainingConfig,
    differences,
)
from explorer.errors import ConfigError

BAD = [
    ("model.num_experts", 0, sentence("config.whole_number_least", least=1)),
    ("model.num_experts", 2.0, "whole number"),
    ("model.num_experts", True, "whole number"),
    ("model.num_experts", "many", "whole number"),
    ("model.top_k", 5, sentence("config.at_most_field", field="model.num_experts", value=4)),
    ("model.num_layers", 0, "at least 1"),
    ("model.num_dense_layers", -1, "at least 0"),
    ("model.num_dense_layers", 2, sentence("config.moe_layer_left", layers=2)),
    ("model.hidden_size", 15, sentence("errors.multiple_of") + " model.num_heads (2)"),
    ("model.hidden_size", 6, sentence("config.even_width")),
    ("model.score_func", "tanh", "sigmoid, softmax"),
    ("model.position", "alibi", "rotary, learned"),
    ("model.dispatch", "fast", sentence("config.dispatches")),
    ("model.normalize_gates", "yes", "True, False"),
    ("model.route_scale", 0, "greater than 0"),
    ("model.init_std", float("nan"), "finite number"),
    ("training.num_steps", 0, "at least 1"),
    ("training.sequence_length", -3, "at least 1"),
    ("training.gradient_accumulation_steps", 0, "at least 1"),
    ("training.learning_rate", 0, "greater than 0"),
    ("training.learning_rate", float("inf"), "finite number"),
    ("training.min_learning_rate", 1.0, sentence("config.at_most_learning_rate")),
    ("training.warmup_steps", 13, sentence("config.at_most_field", field="training.num_steps", value=12)),
    ("training.adam_beta2", 1.0, "below 1"),
    ("training.adam_beta1", -0.1, "at least 0"),
    ("training.weight_decay", -1, "at least 0"),
    ("training.max_grad_norm", 0, "greater than 0"),
    ("training.lr_schedule", "step", "cosine, multistep, constant"),
    ("training.device", "tpu", "auto, cpu, cuda"),
    ("training.seed", -1, "at least 0"),
    ("training.seed", None, "whole number"),
    ("training.probe_tokens", 17, sentence("errors.multiple_of") + " training.sequence_length (16)"),
    ("corpus.name", "shakespeare", "austen, python, mix"),
    ("corpus.tokenizer", "words", "bpe, bytes"),
    ("corpus.vocab_size", 100, "at least 256"),
    ("corpus.vocab_size", 300, sentence("config.bytes_vocabulary", size=256)),
]


@pytest.mark.parametrize(("name", "value", "rule"), BAD, ids=[f"{n}={v}" for n, v, _ in BAD])
def test_bad_values_are_refused_by_field_value_rule_and_remedy(name: str, value, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_tiny_config().with_setting(name, value)
    error, message = caught.value, str(caught.value)
    assert error.field == name
    assert message.startswith(f"{name} = ")
    assert repr(error.value) in message
    assert rule in message
    assert error.remedy
    assert message.endswith(f"; {error.remedy}.")


def test_bpe_needs_room_for_merges() -> None:
    with pytest.raises(ConfigError, match="corpus.vocab_size = 260: " + pattern("config.no_merges")):
        CorpusConfig(tokenizer="bpe", vocab_size=260)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"modle": {}}, ("modle", sentence("config.section_names"))),
        ({"model": {"experts": 8}}, ("model.experts = 8", "num_experts")),
        ({"training": {"lr": 0.1}}, ("training.lr = 0.1", "learning_rate")),
        ({"corpus": {"title": "x"}}, ("corpus.title", "tokenizer")),
        ({"balancer": {"rule": []}}, ("balancer.rule", "rules, schedule")),
        ({"model": 3}, ("model = 3", "table of fields")),
        ({"model": None}, ("model = None", "table of fields")),
        ({"balancer": []}, ("balancer = []", "table of fields")),
        ([], ("config = []", "table of fields")),
        ({"balancer": {"rules": [{"name": "magic"}]}}, ("'magic'", "loss_free")),
    ],
)
def test_unknown_names_list_the_known_ones(data, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(data)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "balancer",
    [
        {"rules": None},
        {"rules": 3},
        {"rules": "loss_free"},
        {"schedule": None},
        {"schedule": [3]},
        {"schedule": [{"step": 4}]},
        {"schedule": [{"rules": []}]},
        {"schedule": [{"step": "4", "rules": []}]},
    ],
)
def test_damaged_plain_data_is_refused_with_a_sentence(balancer) -> None:
    with pytest.raises(ConfigError, match=r"balancer\."):
        RunConfig.from_dict({"balancer": balancer})


TEXTS = ["none", "loss_free", "none/4/loss_free:u=0.01", "aux_loss:scope=sequence/3/none/9/loss_free+seq_aux"]


@pytest.mark.parametrize("text", TEXTS)
def test_balancer_text_round_trips(text: str) -> None:
    config = BalancerConfig.parse(text)
    assert BalancerConfig.parse(str(config)) == config


def test_a_schedule_says_which_rules_are_in_force() -> None:
    config = BalancerConfig.parse("none/4/loss_free/8/aux_loss")
    assert [config.rules_at(step) for step in (0, 3, 4, 7, 8, 99)] == [
        (),
        (),
        (LossFree(),),
        (LossFree(),),
        (AuxLoss(),),
        (AuxLoss(),),
    ]
    assert config.family == "scheduled"
    assert config.count_scope == "none/global_batch"
    assert config.label.count("from step") == 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("none/400", ("'none/400'", "none/400/loss_free")),
        ("none/x/loss_free", ("balancer.schedule.step = 'x'", "whole number")),
        ("none/0/loss_free", ("balancer.schedule.step = 0", "at least 1")),
        ("none/5/loss_free/5/none", ("balancer.schedule.step = 5", "after step 5", "in order")),
        ("none/5/loss_free+loss_free", (sentence("errors.names_twice", name="loss_free"),)),
    ],
)
def test_bad_schedules_are_refused(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        BalancerConfig.parse(text)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("text", TEXTS)
def test_plain_form_round_trips_through_json(preset: str, text: str) -> None:
    config = replace(get_preset(preset), balancer=preset_balancer(preset, text))
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.digest == config.digest
    assert again.pair_key == config.pair_key


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        get_preset("huge")
    assert all(name in str(caught.value) for name in PRESETS)


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        make_tiny_config().training.seed = 3


def other_value(value):
    """Another valid value of the same kind, if a number or a switch can have one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value or 16
    return value / 2 or 0.5 if isinstance(value, float) else None


@pytest.mark.parametrize("section", ["model", "training"])
def test_only_seed_and_settings_that_move_no_number_leave_the_pair_key(section: str) -> None:
    config = make_tiny_config()
    kind = {"model": ModelConfig, "training": TrainingConfig}[section]
    for field in fields(kind):
        value = other_value(getattr(getattr(config, section), field.name))
        # The last means something with one routing only, see test_routings.py.
        if value is None or field.name in ("num_dense_layers", "num_heads", "top_k_groups", "threshold_ema"):
            continue
        changed = config.with_setting(f"{section}.{field.name}", value)
        neutral = field.name in NOT_IN_PAIR_KEY.get(section, ())
        assert (changed.pair_key == config.pair_key) == neutral, field.name
        assert changed.digest != config.digest, field.name
        expected = [] if neutral else [f"{section}.{field.name}"]
        assert differences(config.to_dict(), changed.to_dict()) == expected


@given(text=st.sampled_from(TEXTS[1:]))
def test_arms_that_differ_in_the_balancer_are_a_pair(text: str) -> None:
    config = make_tiny_config()
    arm = config.with_setting("balancer", text)
    assert arm.pair_key == config.pair_key
    assert arm.digest != config.digest
    assert differences(config.to_dict(), arm.to_dict()) == []


def test_a_section_of_another_form_differs_as_a_whole() -> None:
    ours = RunConfig().to_dict()
    assert differences(ours, {**ours, "model": "theirs-8x7b"}) == ["model"]
    assert differences({"training": 5}, {"training": 5}) == []
    assert differences({"corpus": [1]}, {}) == ["corpus"]


def test_settings_by_name() -> None:
    config = make_tiny_config()
    assert config.with_setting("training.learning_rate", 1).training.learning_rate == 1.0
    assert type(config.with_setting("training.learning_rate", 1).training.learning_rate) is float
    assert config.with_setting("model.num_experts", 8).model.num_experts == 8
    assert config.with_setting("balancer", "loss_free").balancer.rules == (LossFree(),)
    scheduled = config.with_setting("balancer.schedule", "4/loss_free").balancer
    assert scheduled.schedule == (ScheduledRules(step=4, rules=(LossFree(),)),)
    with pytest.raises(
        ConfigError, match=r"model\.experts = 3: " + pattern("errors.unknown_field") + " .*num_experts"
    ):
        config.with_setting("model.experts", 3)
    with pytest.raises(ConfigError, match=pattern("config.sections")):
        config.with_setting("optimizer.lr", 3)


def test_sizes_that_follow() -> None:
    config = make_tiny_config(num_layers=3, num_dense_layers=1)
    assert config.model.num_moe_layers == 2
    assert config.training.tokens_per_step == 16 * 4 * 2
    assert config.seed == config.training.seed


def test_settings_that_only_make_sense_together_are_checked_together() -> None:
    config = make_tiny_config()
    grouped = config.with_settings({"model.num_groups": 4, "model.top_k_groups": 2})
    assert (grouped.model.num_groups, grouped.model.top_k_groups) == (4, 2)
    with pytest.raises(ConfigError, match="model.top_k = 2: " + pattern("errors.at_most_experts", experts=1)):
        config.with_setting("model.num_groups", 4)
    changed = config.with_settings({"balancer": "none", "balancer.schedule": "5/loss_free", "model.top_k": 1})
    assert str(changed.balancer) == "none/5/loss_free"
    with pytest.raises(ConfigError, match=r"balancer.rule "):
        config.with_setting("balancer.rule", "loss_free")
