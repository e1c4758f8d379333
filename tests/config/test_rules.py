"""The balancing rules as text: what a person types, what a legend says, and what is refused."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentences import pattern, sentence

from explorer.config.bias_rule import BiasRule
from explorer.config.rule_text import (
    RULES,
    AuxLoss,
    Bip,
    GShardLoss,
    LossFree,
    MovingQuantile,
    Quantile,
    SequenceAuxLoss,
    SimBal,
    Smebu,
    SwitchLoss,
    ZLoss,
    count_scope,
    family,
    format_rules,
    label_rules,
    make_rule,
    parse_rules,
    parse_value,
    rule_from_dict,
    rule_to_dict,
)
from explorer.config.rules import BIAS_SCOPES, SCOPE_WORDS, SCOPES
from explorer.errors import ConfigError

rates = st.floats(0, 1e6, allow_nan=False)
shares = st.floats(0, 1, exclude_max=True)
any_rule = {
    "aux_loss": st.builds(
        AuxLoss,
        coeff=rates,
        scope=st.sampled_from(SCOPES),
        score_norm=st.sampled_from(["l1", "raw"]),
    ),
    "seq_aux": st.builds(SequenceAuxLoss, coeff=rates),
    "loss_free": st.builds(
        LossFree,
        bias_update_rate=rates,
        update_rule=st.sampled_from(["sign", "proportional", "rms"]),
        bias_form=st.sampled_from(["additive", "multiplicative"]),
        centred=st.booleans(),
        freeze_after_step=st.none() | st.integers(0, 10**9),
        step_decay=st.sampled_from(["constant", "sqrt", "harmonic"]),
        load_ema=shares,
    )
    | st.builds(LossFree, bias_update_rate=rates, scope=st.sampled_from(BIAS_SCOPES)),
    **{
        name: st.builds(
            kind,
            num_bins=st.integers(0, 10**6),
            bias_ema=shares,
            freeze_after_step=st.none() | st.integers(0, 10**9),
        )
        for name, kind in {"quantile": Quantile, "bip": Bip}.items()
    },
    "mqb": st.builds(
        MovingQuantile,
        sequence_strength=st.floats(0, 1),
        decay=shares,
        score_bins=st.integers(2, 10**6),
        num_bins=st.integers(0, 10**6),
    ),
    "z_loss": st.builds(ZLoss, coeff=rates),
    "switch_loss": st.builds(SwitchLoss, coeff=rates),
    "gshard_loss": st.builds(
        GShardLoss,
        coeff=rates,
        scope=st.sampled_from(["sequence", "micro_batch"]),
        normalisation=st.sampled_from(["unit", "paper"]),
    ),
    "simbal": st.builds(SimBal, coeff=rates),
    "smebu": st.builds(
        Smebu,
        bias_update_rate=rates,
        sharpness=rates,
        momentum=shares,
        freeze_after_step=st.none() | st.integers(0, 10**9),
    ),
}
STEPPERS = {name for name, kind in RULES.items() if issubclass(kind, BiasRule)}
SOLVERS = ("quantile", "bip", "mqb")


def that_go_together(names: list[str]) -> list[str]:
    """At most one rule moves the bias, and one that solves for it stands beside the z-loss only."""
    solvers = [name for name in names if name in SOLVERS]
    if solvers:
        return [name for name in names if name in (solvers[0], "z_loss")]
    movers = [name for name in names if RULES[name].moves_bias]
    return [name for name in names if name not in movers[1:]]


some_rules = st.lists(st.sampled_from(sorted(RULES)), unique=True).flatmap(
    lambda names: st.tuples(*(any_rule[name] for name in that_go_together(names)))
)


def test_every_rule_is_generated_here() -> None:
    assert set(any_rule) == set(RULES)


@given(rules=some_rules)
def test_text_form_round_trips(rules) -> None:
    assert parse_rules(format_rules(rules)) == rules


@given(rules=some_rules)
def test_plain_form_round_trips(rules) -> None:
    assert tuple(rule_from_dict(rule_to_dict(rule)) for rule in rules) == rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", ()),
        ("", ()),
        ("loss_free", (LossFree(),)),
        ("loss_free:u=0.001", (LossFree(bias_update_rate=0.001),)),
        ("loss_free:u=1", (LossFree(bias_update_rate=1.0),)),
        (" aux_loss : alpha=1e-3 , count_scope=sequence ", (AuxLoss(coeff=1e-3, scope="sequence"),)),
        ("loss_free:centred=true+seq_aux", (LossFree(centred=True), SequenceAuxLoss())),
        ("loss_free:freeze_after_step=none", (LossFree(),)),
        ("z_loss:coeff=1e+3+seq_aux", (ZLoss(coeff=1000.0), SequenceAuxLoss())),
    ],
)
def test_what_a_person_types(text: str, expected) -> None:
    assert parse_rules(text) == expected


def test_defaults_are_left_out_of_the_text() -> None:
    assert format_rules(()) == "none"
    assert format_rules([LossFree(), AuxLoss(scope="sequence")]) == "loss_free+aux_loss:scope=sequence"


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_rules(text)
    return caught.value


def test_an_unknown_rule_lists_the_known_ones() -> None:
    message = str(refused("lossfree"))
    assert "'lossfree'" in message
    for name in ("none", *RULES):
        assert name in message


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_unknown_setting_lists_the_known_ones(name: str) -> None:
    error = refused(f"{name}:speed=3")
    assert error.field == f"{name}.speed"
    assert error.value == 3
    for field in fields(RULES[name]):
        assert field.name in error.remedy


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("loss_free:u=-1", ("loss_free.bias_update_rate = -1", "at least 0", "raise it")),
        ("loss_free:u=nan", ("loss_free.bias_update_rate = nan", "finite number", "write it as")),
        ("loss_free:u=inf", ("loss_free.bias_update_rate = inf", "finite number")),
        ("loss_free:u=fast", ("loss_free.bias_update_rate = 'fast'", "finite number")),
        ("loss_free:u=true", ("loss_free.bias_update_rate = True", "finite number")),
        ("loss_free:u=none", ("loss_free.bias_update_rate = None", "finite number")),
        (
            "loss_free:update_rule=adam",
            ("loss_free.update_rule = 'adam'", sentence("model.bias_update_rules")),
        ),
        ("loss_free:bias_form=log", ("loss_free.bias_form = 'log'", "additive, multiplicative")),
        ("loss_free:centred=maybe", ("loss_free.centred = 'maybe'", "True, False")),
        ("loss_free:freeze_after_step=-1", ("loss_free.freeze_after_step = -1", "at least 0")),
        ("loss_free:freeze_after_step=1.5", ("loss_free.freeze_after_step = 1.5", "whole number")),
        ("aux_loss:coeff=-0.1", ("aux_loss.coeff = -0.1", "at least 0")),
        ("aux_loss:scope=batch", ("aux_loss.scope = 'batch'", sentence("config.scopes"))),
        ("aux_loss:score_norm=l2", ("aux_loss.score_norm = 'l2'", "l1, raw")),
        ("seq_aux:coeff=x", ("seq_aux.coeff = 'x'", "finite number")),
        ("z_loss:coeff=-1", ("z_loss.coeff = -1", "at least 0")),
        ("switch_loss:coeff=-1", ("switch_loss.coeff = -1", "at least 0")),
        ("gshard_loss:scope=global_batch", ("gshard_loss.scope = 'global_batch'", "sequence, micro_batch")),
        ("gshard_loss:normalisation=l1", ("gshard_loss.normalisation = 'l1'", "unit, paper")),
        ("simbal:coeff=nan", ("simbal.coeff = nan", "finite number")),
        ("simbal:scope=sequence", ("simbal.scope = 'sequence'", sentence("errors.choose_one_of") + " coeff")),
        ("loss_free:step_decay=cosine", ("loss_free.step_decay = 'cosine'", "constant, sqrt, harmonic")),
        ("loss_free:load_ema=1", ("loss_free.load_ema = 1", "below 1")),
        ("quantile:num_bins=0.5", ("quantile.num_bins = 0.5", "whole number")),
        ("quantile:bias_ema=-0.1", ("quantile.bias_ema = -0.1", "at least 0")),
        ("bip:bias_ema=1", ("bip.bias_ema = 1", "below 1")),
        ("bip:freeze_after_step=-1", ("bip.freeze_after_step = -1", "at least 0")),
        (
            "quantile:scope=sequence",
            ("quantile.scope = 'sequence'", sentence("config.updated_once_per_step")),
        ),
        ("mqb:sequence_strength=1.5", ("mqb.sequence_strength = 1.5", "at most 1")),
        ("mqb:decay=1", ("mqb.decay = 1", "below 1")),
        ("mqb:score_bins=1", ("mqb.score_bins = 1", "at least 2")),
        ("mqb+seq_aux", (sentence("config.puts_beside", rule="seq_aux", other="mqb"), "keep one")),
        ("quantile+seq_aux", (sentence("config.puts_beside", rule="seq_aux", other="quantile"), "keep one")),
        ("aux_loss+bip", (sentence("config.puts_beside", rule="aux_loss", other="bip"), "keep one")),
        (
            "quantile+loss_free",
            (sentence("config.two_bias_rules", rule="quantile", other="loss_free"), "keep one"),
        ),
        ("loss_free:u", ("'u' has no '='", "setting=value")),
        ("loss_free:u=1,bias_update_rate=2", ("is given twice", "keep one")),
        ("loss_free+loss_free", (sentence("errors.names_twice", name="loss_free"), "keep one")),
    ],
)
def test_a_refusal_names_field_value_rule_and_remedy(text: str, parts: tuple[str, ...]) -> None:
    message = str(refused(text))
    for part in parts:
        assert part in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("data", [None, [], {}, {"coeff": 1}, {"name": 3}, "loss_free"])
def test_plain_data_that_is_no_rule_is_refused(data) -> None:
    with pytest.raises(ConfigError, match=pattern("config.not_a_rule")):
        rule_from_dict(data)


def test_defaults_of_a_preset_fill_what_is_left_open() -> None:
    defaults = {"aux_loss": {"coeff": 0.5, "scope": "sequence"}}
    assert make_rule("aux_loss", {"coeff": 0.1}, defaults) == AuxLoss(coeff=0.1, scope="sequence")
    assert make_rule("aux_loss", {"count_scope": "micro_batch"}, defaults) == AuxLoss(
        coeff=0.5, scope="micro_batch"
    )
    assert make_rule("loss_free", {}, defaults) == LossFree()


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("3.0", 3.0), ("1e-3", 1e-3), ("True", True), ("null", None), (" word ", "word")],
)
def test_values_are_read_as_people_mean_them(text: str, value) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(rules=some_rules)
def test_family_and_scope_follow_the_rules(rules) -> None:
    names = {rule.name for rule in rules}
    losses = bool(names & {"aux_loss", "seq_aux", "switch_loss", "gshard_loss", "simbal"})
    expected = "none"
    if names & STEPPERS:
        expected = "combined" if losses else "loss_free"
    elif losses:
        expected = "aux_loss"
    elif names & set(SOLVERS):
        expected = "quantile"
    assert family(rules) == expected
    assert (count_scope(rules) == "none") == (names <= {"z_loss", "simbal"})
    if "seq_aux" in names:
        assert "sequence" in count_scope(rules)
    if names & (STEPPERS - {"loss_free"} | set(SOLVERS)):
        assert "global_batch" in count_scope(rules)
    for rule in rules:
        if isinstance(rule, LossFree):
            assert rule.scope in count_scope(rules)


@given(rules=some_rules)
def test_labels_differ_whenever_the_scope_does(rules) -> None:
    label = label_rules(rules)
    for rule in rules:
        if isinstance(rule, AuxLoss | LossFree):
            assert f"({SCOPE_WORDS[rule.scope]} scope" in label
    assert len(set(SCOPE_WORDS.values())) == len(SCOPE_WORDS)
    assert label


def test_quantile_rules_say_what_they_are() -> None:
    def words(text: str) -> tuple[str, str]:
        (rule,) = parse_rules(text)
        return rule.label, rule.short

    assert words("quantile") == (sentence("labels.quantile", scope="global batch"), "quantile")
    assert words("quantile:num_bins=0") == (
        sentence("labels.quantile_exact", scope="global batch"),
        "quantile exact",
    )
    assert words("bip:bias_ema=0.9,num_bins=50,freeze_after_step=7") == (
        sentence("labels.bip", scope="global batch", bins=50, ema="0.9", step=7),
        sentence("labels.bip_short", bins=50, ema="0.9", step=7),
    )
    assert words("mqb:decay=0.9,bias_ema=0.5") == (
        sentence(
            "labels.moving_quantile", rate="0.3", scope="global batch and sequence", decay="0.9", ema="0.5"
        ),
        "MQB 0.3 γ=0.9 EMA 0.5",
    )
    assert words("loss_free:step_decay=harmonic,load_ema=0.9") == (
        sentence("labels.loss_free_decay_ema", rate="0.003", scope="global batch", ema="0.9"),
        sentence("labels.loss_free_decay_ema_short", rate="0.003", ema="0.9"),
    )
