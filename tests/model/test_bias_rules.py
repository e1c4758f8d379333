"""What every rule that moves the bias has to satisfy; a new one is taken up from `RULES` by itself.

Rules whose `alone` is set solve for the bias of the step, the others step towards balance from the counts.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from routes import route

from explorer.config.bias_rule import BiasRule
from explorer.config.rule_text import RULES, LossFree, parse_rules
from explorer.model.balancers import CombinedBalancer, LayerBatch
from explorer.model.router import Router, sequence_counts

# Settings worth a run of their own; a rule that is not named here is tested as it comes.
VARIANTS = {
    "loss_free": (
        "",
        "update_rule=proportional",
        "update_rule=rms",
        "bias_form=multiplicative",
        "centred=true",
        "step_decay=sqrt",
        "step_decay=harmonic,load_ema=0.5",
        "load_ema=0.9,update_rule=proportional",
    ),
    "smebu": ("", "momentum=0,sharpness=100"),
    "quantile": ("", "num_bins=0", "num_bins=0,bias_ema=0.5", "estimator=linear"),
    "bip": ("", "num_bins=0"),
    "mqb": ("", "num_bins=0,sequence_strength=1"),
}
TEXTS = [
    f"{name}:{variant}"
    for name, kind in RULES.items()
    if kind.moves_bias
    for variant in VARIANTS.get(name, ("",))
]
every_rule = pytest.mark.parametrize("text", TEXTS)
few = settings(max_examples=15)
ULP = 2e-6


def rule_of(text: str):
    return parse_rules(text)[0]


def slack(text: str, bias: torch.Tensor) -> float:
    """What a rule may be off, in score units: rounding, and two bins where it reads a histogram."""
    rule = rule_of(text)
    bins, reach = getattr(rule, "num_bins", 0), 1 + getattr(rule, "sequence_strength", 0)
    return ULP + (2 * float(bias.max() - bias.min() + 2 * reach) / bins if bins else 0.0)


def neutral(text: str, num_experts: int) -> torch.Tensor:
    combined = CombinedBalancer(parse_rules(text))
    return torch.full((num_experts,), combined.neutral_bias)


def look(combined: CombinedBalancer, logits: torch.Tensor, bias: torch.Tensor, top_k: int):
    """(counts [E], what was observed) of one micro-batch whose sequences have one token each."""
    adjust = combined.adjust(len(logits), top_k)
    routing = route(logits, top_k=top_k, expert_bias_E=bias, bias_form=combined.bias_form, adjust=adjust)
    counts_BE = sequence_counts(routing.topk_expert_ids_TK, 1, logits.shape[-1])
    return counts_BE.sum(0), combined.observe(LayerBatch(routing, counts_BE, expert_bias_E=bias))


def take_step(combined, micro_batches, bias, top_k: int, step: int = 0) -> torch.Tensor:
    """One optimizer step: look at every micro-batch, then move the bias in place. Counts [E]."""
    looks = [look(combined, logits, bias, top_k) for logits in micro_batches]
    counts = torch.stack([c for c, _ in looks]).sum(0)
    seen = [o for _, o in looks if o is not None]
    combined.update(bias, counts, step, [combined.pool(seen)] if seen else None)
    return counts


@st.composite
def streams(draw, num_steps: int = 4):
    """Logits of a few steps [S, T, E] with hot and cold experts, and K."""
    num_experts = draw(st.integers(3, 6))
    top_k = draw(st.integers(1, num_experts - 1))
    tokens = draw(st.sampled_from([2, 4, 8])) * num_experts
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offsets = draw(st.sampled_from([0.3, 1.0, 2.0])) * rng.standard_normal(num_experts)
    logits = rng.standard_normal((num_steps, tokens, num_experts)) + offsets
    return torch.tensor(logits, dtype=torch.float32), top_k


def test_there_are_rules_and_the_variants_are_known() -> None:
    assert {text.partition(":")[0] for text in TEXTS} >= {"loss_free", "quantile", "bip"}
    assert set(VARIANTS) <= set(RULES)


@every_rule
def test_p09_hand_case(text: str) -> None:
    # Ten tokens prefer expert 0. By the rule itself: it goes down against the other one.
    rule = rule_of(text)
    if isinstance(rule, LossFree):
        rule = replace(rule, bias_update_rate=0.1)
    combined = CombinedBalancer([rule])
    bias = neutral(text, 2)
    logits = torch.tensor([[1.0 + 0.1 * t, 0.0] for t in range(10)])
    assert take_step(combined, [logits], bias, 1).tolist() == [10, 0]
    moved = (bias - combined.neutral_bias).tolist()
    assert moved[0] < 0 <= moved[1]
    if isinstance(rule, LossFree):
        assert moved == pytest.approx([-0.1, 0.1])


def cutoffs_are_worth_something(logits: torch.Tensor, bias: torch.Tensor, top_k: int) -> bool:
    """Whether no token's (K+1)-th biased score is negative."""
    return bool((logits.sigmoid() + bias).topk(top_k + 1, dim=-1).values[:, -1].min() >= 0)


@every_rule
def test_the_strategy_moves_the_bias_that_its_rule_announces(text: str) -> None:
    # Without a form the bias would move and no router would read it.
    rule, combined = rule_of(text), CombinedBalancer(parse_rules(text))
    assert rule.bias_form in ("additive", "multiplicative")
    assert combined.bias_form == rule.bias_form
    if isinstance(rule, BiasRule):
        assert combined.rate(0) == rule.bias_update_rate


@every_rule
@given(stream=streams())
@few
def test_p09_an_overloaded_expert_falls_against_an_underloaded_one(text: str, stream) -> None:
    logits, top_k = stream
    rule = rule_of(text)
    if getattr(rule, "bias_ema", 0):
        return  # what is remembered may rightly outweigh this step
    combined = CombinedBalancer([rule])
    bias = neutral(text, logits.shape[-1])
    for step, batch in enumerate(logits):
        if rule.name == "bip" and not cutoffs_are_worth_something(batch, bias, top_k):
            return  # its problem gives such a token fewer than K experts, the router does not
        if getattr(rule, "load_ema", 0) or getattr(rule, "momentum", 0):
            combined = CombinedBalancer([rule])  # as in the first step
        before = bias.clone()
        counts = take_step(combined, [batch], bias, top_k, step)
        delta, excess = bias - before, counts * len(counts) - counts.sum()
        if (excess > 0).any():
            assert delta[excess > 0].max() <= delta[excess < 0].min() + slack(text, before)


@every_rule
@given(stream=streams(num_steps=1), factor=st.integers(1, 5))
@few
def test_p09_exactly_average_loads_move_nothing(text: str, stream, factor: int) -> None:
    # Every expert is chosen equally often and equally often the runner-up: rotated copies of each token.
    logits, top_k = stream
    num_experts = logits.shape[-1]
    turned = torch.cat([logits[0].roll(shift, 1) for shift in range(num_experts)] * factor)
    combined, bias = CombinedBalancer(parse_rules(text)), neutral(text, num_experts)
    counts = take_step(combined, [turned], bias, top_k)
    assert counts.unique().tolist() == [len(turned) * top_k // num_experts]
    tolerance = slack(text, bias) if rule_of(text).alone else 0.0
    assert float((bias - combined.neutral_bias).abs().max()) <= tolerance


@every_rule
@given(stream=streams(), seed=st.integers(0, 1000))
@few
def test_p33_permuting_experts_permutes_the_update(text: str, stream, seed: int) -> None:
    logits, top_k = stream
    order = torch.randperm(logits.shape[-1], generator=torch.Generator().manual_seed(seed))
    one, other = (CombinedBalancer(parse_rules(text)) for _ in range(2))
    bias = neutral(text, logits.shape[-1])
    turned = bias[order]
    for step, batch in enumerate(logits):
        counts = take_step(one, [batch], bias, top_k, step)
        # Rounding in a mean must not grow from step to step.
        after = take_step(other, [batch[:, order]], turned, top_k, step)
        assert after.tolist() == counts[order].tolist()
        torch.testing.assert_close(turned, bias[order], rtol=0, atol=slack(text, bias))
        turned = bias[order].clone()


@every_rule
@given(stream=streams(), shift=st.sampled_from([-0.25, 0.5]))
@few
def test_p10_a_constant_added_to_all_biases_changes_no_choice_and_no_move(text: str, stream, shift) -> None:
    rule = rule_of(text)
    if rule.bias_form != "additive" or rule.name == "bip":
        return  # a factor has no neutral shift; BIP's multipliers end at zero, which has a meaning
    logits, top_k = stream
    one, other = (CombinedBalancer([rule]) for _ in range(2))
    bias = neutral(text, logits.shape[-1])
    for step, batch in enumerate(logits):
        shifted = bias + shift
        counts = take_step(one, [batch], bias, top_k, step)
        assert take_step(other, [batch], shifted, top_k, step).tolist() == counts.tolist()
        gap = shifted - bias
        torch.testing.assert_close(gap, gap.mean().expand_as(gap), rtol=0, atol=slack(text, bias))


@given(stream=streams(num_steps=12), u=st.sampled_from([0.003, 0.1]))
@few
def test_p10_centred_and_plain_steps_choose_alike(stream, u: float) -> None:
    logits, top_k = stream
    plain, centred = (
        CombinedBalancer([LossFree(bias_update_rate=u, centred=c, update_rule="sign")]) for c in (False, True)
    )
    bias, zero_sum = torch.zeros(logits.shape[-1]), torch.zeros(logits.shape[-1])
    for step, batch in enumerate(logits):
        counts = take_step(plain, [batch], bias, top_k, step)
        assert take_step(centred, [batch], zero_sum, top_k, step).tolist() == counts.tolist()
        torch.testing.assert_close(bias - bias.mean(), zero_sum, rtol=0, atol=1e-5)
    assert float(zero_sum.mean().abs()) < 1e-5


@every_rule
@given(stream=streams())
@few
def test_p11_p12_micro_batches_and_ranks_are_pooled_before_the_update(text: str, stream) -> None:
    logits, top_k = stream
    one, four = (CombinedBalancer(parse_rules(text)) for _ in range(2))
    bias = neutral(text, logits.shape[-1])
    parted = bias.clone()
    # Four micro-batches on two ranks: pooled on each, then together.
    looks = [look(four, part, parted, top_k) for part in logits]
    counts = torch.stack([c for c, _ in looks]).sum(0)
    seen = [o for _, o in looks]
    pooled = None
    if seen[0] is not None:
        pooled = [four.pool([four.pool(seen[:2]), four.pool(seen[2:])])]
        together = look(one, torch.cat(list(logits)), bias, top_k)[1]
        if together.dtype == torch.int64:
            assert torch.equal(pooled[0], together)
    four.update(parted, counts, 0, pooled)
    whole = take_step(one, [torch.cat(list(logits))], bias, top_k)
    assert counts.tolist() == whole.tolist()
    torch.testing.assert_close(parted, bias, rtol=0, atol=ULP)


@every_rule
@given(streams(num_steps=3))
@few
def test_layers_are_updated_one_by_one(text: str, stream) -> None:
    logits, top_k = stream
    apart = []
    for batch in logits:
        bias = neutral(text, logits.shape[-1])
        take_step(CombinedBalancer(parse_rules(text)), [batch], bias, top_k)
        apart.append(bias)
    combined = CombinedBalancer(parse_rules(text))
    together = neutral(text, logits.shape[-1]).repeat(3, 1)
    looks = [look(combined, batch, together[0], top_k) for batch in logits]
    seen = None if looks[0][1] is None else [combined.pool([o]) for _, o in looks]
    combined.update(together, torch.stack([c for c, _ in looks]), 0, seen)
    torch.testing.assert_close(together, torch.stack(apart), rtol=0, atol=ULP)


def in_bf16(parts: list[int]) -> float:
    """What a counter in bf16 shows after these have been added to it."""
    total = torch.zeros((), dtype=torch.bfloat16)
    for part in parts:
        total += torch.tensor(part, dtype=torch.bfloat16)
    return float(total)


def test_p13_whole_numbers_keep_the_sign_that_bf16_flips() -> None:
    # Eight micro-batches. 40,840 reads as 40,960 in bf16, and the busier expert as less busy.
    first, second = [5105] * 8, [5000] * 4 + [5221] * 4
    assert (sum(first), sum(second)) == (40_840, 40_884)
    assert float(torch.tensor(40_840, dtype=torch.bfloat16)) == 40_960
    assert in_bf16(first) == 40_960 > in_bf16(second)
    combined = CombinedBalancer([LossFree(bias_update_rate=1.0)])
    bias = torch.zeros(2)
    counts = torch.tensor([first, second]).sum(-1)
    assert counts.dtype == torch.int64
    combined.update(bias, counts, 0)
    assert bias.tolist() == [1.0, -1.0]


@every_rule
def test_p13_what_is_counted_is_int64(text: str) -> None:
    combined = CombinedBalancer(parse_rules(text))
    counts, seen = look(combined, torch.randn(8, 4), neutral(text, 4), 2)
    assert counts.dtype == torch.int64
    if seen is not None and getattr(rule_of(text), "num_bins", 0):
        assert seen.dtype == torch.int64
        assert seen.sum(-1).tolist() == [8] * 4


@every_rule
def test_p02_p14_a_bf16_model_keeps_and_moves_a_float32_bias(text: str) -> None:
    combined = CombinedBalancer(parse_rules(text))
    router = Router(6, 4, init_std=0.5)
    router.expert_bias_E.fill_(combined.neutral_bias)
    router.to(torch.bfloat16)
    assert router.weight_ED.dtype == torch.bfloat16
    for step in range(5):
        logits = router(torch.randn(32, 6, generator=torch.Generator().manual_seed(step)))
        take_step(combined, [logits], router.expert_bias_E, 2, step)
        router.to(torch.bfloat16)
    bias = router.expert_bias_E
    assert bias.dtype == torch.float32
    assert not bias.requires_grad
    assert dict(router.named_parameters()).keys() == {"weight_ED"}
    if rule_of(text).name != "bip":
        # It holds what bf16 cannot: casting it would have moved it.
        assert not torch.equal(bias, bias.bfloat16().float())


@every_rule
@given(streams(num_steps=5))
@few
def test_p19_a_frozen_bias_stays(text: str, stream) -> None:
    rule = rule_of(text)
    if not hasattr(rule, "freeze_after_step"):
        pytest.skip("this rule cannot be frozen")
    logits, top_k = stream
    free, frozen = CombinedBalancer([rule]), CombinedBalancer([replace(rule, freeze_after_step=2)])
    mine, theirs = neutral(text, logits.shape[-1]), neutral(text, logits.shape[-1])
    for step, batch in enumerate(logits):
        kept = theirs.clone()
        take_step(free, [batch], mine, top_k, step)
        take_step(frozen, [batch], theirs, top_k, step)
        assert torch.equal(theirs, mine if step < 2 else kept)
    assert frozen.rate(2) in (None, 0.0)


@every_rule
@given(streams(num_steps=3))
@few
def test_p11_a_skipped_step_is_skipped_by_the_bias_too(text: str, stream) -> None:
    # The loop calls no update for a step that the optimizer did not make: nothing is kept of it.
    logits, top_k = stream
    combined, fresh = CombinedBalancer(parse_rules(text)), CombinedBalancer(parse_rules(text))
    bias, other = neutral(text, logits.shape[-1]), neutral(text, logits.shape[-1])
    take_step(combined, [logits[0]], bias, top_k, 0)
    take_step(fresh, [logits[0]], other, top_k, 0)
    look(combined, logits[1], bias, top_k)
    assert torch.equal(bias, other)
    take_step(combined, [logits[2]], bias, top_k, 2)
    take_step(fresh, [logits[2]], other, top_k, 2)
    assert torch.equal(bias, other)


@every_rule
@given(streams(num_steps=6), st.integers(1, 5))
@few
def test_p15_memory_that_is_saved_and_recalled_goes_on_bit_for_bit(text: str, stream, cut: int) -> None:
    logits, top_k = stream
    unbroken = CombinedBalancer(parse_rules(text), since=10)
    bias = neutral(text, logits.shape[-1])
    saved: dict = {}
    for step, batch in enumerate(logits):
        if step == cut:
            saved = {
                "bias": bias.clone(),
                "memory": {n: {k: v.clone() for k, v in m.items()} for n, m in unbroken.memory().items()},
            }
        take_step(unbroken, [batch], bias, top_k, 10 + step)
    resumed = CombinedBalancer(parse_rules(text), since=10)
    resumed.recall(saved["memory"])
    again = saved["bias"]
    for step in range(cut, len(logits)):
        take_step(resumed, [logits[step]], again, top_k, 10 + step)
    assert torch.equal(again, bias)
