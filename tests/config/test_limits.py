"""What may be trained: bounds of every size, limits of a host, and the memory that a run would take."""

from dataclasses import fields

import pytest
from sentences import pattern, sentence

from explorer.config.bounds import LARGEST, MOST
from explorer.config.checks import read_int
from explorer.config.limits import Limits, check_memory, memory_of, num_parameters
from explorer.config.presets import PRESETS, get_preset
from explorer.config.rule_text import RULES
from explorer.config.run import BalancerConfig, CorpusConfig, ModelConfig, RunConfig, TrainingConfig
from explorer.errors import MOST_SHOWN, ConfigError, value_text

SECTIONS = {"corpus": CorpusConfig, "model": ModelConfig, "training": TrainingConfig, **RULES}
UNBOUNDED = 10**30


def whole_fields() -> list[str]:
    return [
        f"{section}.{f.name}"
        for section, kind in SECTIONS.items()
        for f in fields(kind)
        if "int" in str(f.type)
    ]


@pytest.mark.parametrize("path", whole_fields())
def test_no_whole_number_of_a_configuration_is_without_a_bound(path: str) -> None:
    section, name = path.split(".")
    with pytest.raises(ConfigError) as refused:
        SECTIONS[section](**{name: UNBOUNDED})
    assert refused.value.field == path
    assert sentence("errors.at_most") in refused.value.rule


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_lies_within_the_bounds_and_the_limits(preset: str) -> None:
    config = get_preset(preset)
    Limits(memory_gb=1e6).check(config)
    for path, most in MOST.items():
        section, _, name = path.partition(".")
        if section not in RULES:
            assert (getattr(getattr(config, section), name) or 0) <= most


def test_the_largest_seed_is_what_the_index_can_hold() -> None:
    assert RunConfig().with_setting("training.seed", LARGEST).seed == 2**63 - 1
    with pytest.raises(
        ConfigError, match=r"training\.seed = 9223372036854775808: " + pattern("errors.at_most")
    ):
        RunConfig().with_setting("training.seed", LARGEST + 1)


@pytest.mark.parametrize("step", ["²", "٣", "", "1_0", "-1", "4.5", "9" * 5000, "9" * 19])
def test_a_step_in_a_schedule_that_is_none_is_refused(step: str) -> None:
    with pytest.raises(ConfigError) as refused:
        BalancerConfig.parse(f"none/{step}/loss_free")
    assert refused.value.field == "balancer.schedule.step"
    assert len(str(refused.value)) < 500


def test_zeros_in_front_count_for_nothing() -> None:
    assert read_int("training.seed", " 0000000000000000000000007 ", least=0, remedy="write 7") == 7


@pytest.mark.parametrize("value", ["x" * 10_000, 10**5000, [["x" * 5000]]], ids=["text", "number", "list"])
def test_a_sentence_shortens_a_long_value(value: object) -> None:
    assert len(value_text(value)) <= MOST_SHOWN + 3


def test_short_values_are_repeated_as_they_are() -> None:
    assert value_text("a'b") == repr("a'b")


def test_limits_are_read_from_one_text() -> None:
    limits = Limits.parse("model.num_experts=64, memory_gb=1.5,queue=3")
    assert (limits.sizes, limits.memory_gb, limits.queue) == ((("model.num_experts", 64),), 1.5, 3)
    assert limits.runs_per_start == Limits().runs_per_start
    assert Limits.parse("") == Limits()


@pytest.mark.parametrize(
    "text",
    ["experts=3", "queue", "queue=0", "queue=²", "memory_gb=nan", "memory_gb=", "model.num_experts=-1"],
)
def test_a_limit_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Limits.parse(text)


def test_a_host_may_allow_less_and_the_sentence_says_so() -> None:
    limits = Limits.parse("training.num_steps=10")
    with pytest.raises(
        ConfigError, match=r"training\.num_steps = 20: " + pattern("errors.at_most_on_this_host", most=10)
    ):
        limits.check(get_preset("tiny"))


def test_more_threads_than_the_host_has_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    Limits().check(get_preset("tiny").with_setting("training.num_threads", 4))
    with pytest.raises(ConfigError, match=pattern("config.most_on_host", most=4)):
        Limits().check(get_preset("tiny").with_setting("training.num_threads", 5))


def test_a_run_that_takes_too_much_memory_is_refused_with_both_numbers() -> None:
    config = get_preset("standard").with_setting("model.num_experts", 2**14)
    with pytest.raises(
        ConfigError, match=r"memory = '23\.\d GB': .* 2\.0 GB " + pattern("config.most_memory")
    ):
        check_memory(config, 2e9)
    check_memory(config, None)
    check_memory(config.with_setting("training.device", "cuda"), 2e9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_dense_layers": 1, "position": "learned"},
        {"num_shared_experts": 2},
        {"routing": "dense", "num_shared_experts": 1},
        {"noisy_top_k": True},
    ],
)
def test_the_parameters_are_those_of_the_model(settings: dict[str, object]) -> None:
    from explorer.model.transformer import build_model

    config = get_preset("tiny").with_settings({f"model.{name}": value for name, value in settings.items()})
    model = build_model(config.model, config.corpus.vocab_size, config.training.sequence_length, 0)
    assert num_parameters(config) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    "path",
    [
        "model.num_experts",
        "model.num_layers",
        "model.expert_hidden_size",
        "training.micro_batch_size",
        "training.sequence_length",
        "training.gradient_accumulation_steps",
    ],
)
def test_every_size_that_takes_memory_is_in_the_estimate(path: str) -> None:
    config = get_preset("standard")
    section, _, name = path.partition(".")
    value = getattr(getattr(config, section), name)
    larger = config.with_setting(path, value * 200)
    assert memory_of(larger) > memory_of(config) * 1.02


def test_the_distributions_of_a_rule_take_memory_too() -> None:
    few, many = (get_preset("quick").with_setting("balancer", f"mqb:score_bins={n}") for n in (10, 10**6))
    assert memory_of(many) - memory_of(few) == pytest.approx(8.0 * 16 * 16 * (10**6 - 10))
