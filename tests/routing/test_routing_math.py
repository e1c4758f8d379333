"""The numpy router of the Microscope against the model's own and against the slow reference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from choice_strategies import Choice, choices
from hypothesis import given
from hypothesis import strategies as st
from reference import token_choice
from sentences import pattern, sentence
from tiny import make_tiny_config

from explorer.model.balancers import CombinedBalancer
from explorer.model.choose import choose, make_router
from explorer.model.router import LayerContext
from explorer.recording import RunFolder
from explorer.routing import routing_math
from explorer.routing.routing_math import RouterSettings, settings_of

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
PROBED = sorted(path.parent for path in RUNS.glob("*/probe.json"))


def settings(choice: Choice) -> RouterSettings:
    return RouterSettings(
        top_k=choice.top_k,
        score_func=choice.score_func,
        gate_func=choice.gate_func,
        divide_by=choice.divide_by,
        route_scale=choice.route_scale,
        bias_form=choice.bias_form,
        num_groups=choice.num_groups,
        top_k_groups=choice.top_k_groups,
        top_p=choice.top_p,
    )


@given(choice=choices(), with_bias=st.booleans())
def test_scores_choice_and_gates_are_the_models(choice: Choice, with_bias: bool) -> None:
    how, bias = settings(choice), choice.bias_E if with_bias else None
    model = choice.route(bias)
    scores = routing_math.scores(choice.logits_TE, choice.score_func)
    np.testing.assert_allclose(scores, model.scores_TE.numpy(), rtol=1e-5, atol=1e-7)
    compared = routing_math.compared(scores, bias, how)
    np.testing.assert_allclose(compared, model.compared_TE.numpy(), rtol=1e-5, atol=1e-6)
    expert_ids = routing_math.choose(compared, scores, how)
    assert expert_ids.tolist() == model.topk_expert_ids_TK.tolist()
    gates = routing_math.gates(choice.logits_TE, expert_ids, how)
    np.testing.assert_allclose(gates, model.gate_weights_TK.detach().numpy(), rtol=1e-4, atol=1e-7)


@given(choice=choices())
def test_gates_follow_the_equation(choice: Choice) -> None:
    expert_ids = choice.expert_ids(choice.bias_E)
    width = max(map(len, expert_ids))
    slots = np.array([[*row, *[choice.num_experts] * (width - len(row))] for row in expert_ids])
    slow = token_choice.gates(choice.weighing_TE, expert_ids, choice.divide_by, choice.route_scale)
    for mine, theirs in zip(routing_math.gates(choice.logits_TE, slots, settings(choice)), slow, strict=True):
        assert list(mine[: len(theirs)]) == pytest.approx(theirs, rel=1e-4, abs=1e-7)
        assert not mine[len(theirs) :].any()


@given(choice=choices(groups=False, top_p=False))
def test_ranks_say_who_is_chosen(choice: Choice) -> None:
    scores = routing_math.scores(choice.logits_TE, choice.score_func)
    compared = routing_math.compared(scores, choice.bias_E, settings(choice))
    expert_ids = routing_math.choose(compared, scores, settings(choice))
    inside = routing_math.ranks(compared) <= choice.top_k
    assert (inside == routing_math.members(expert_ids, choice.num_experts)).all()
    assert routing_math.same_sets(expert_ids, expert_ids[:, ::-1], choice.num_experts).all()


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("loss_free:u=0.1", {}),
    ("loss_free:u=0.1,bias_form=multiplicative", {}),
    ("quantile", {}),
    ("none", {"normalize_gates": False, "route_scale": 2.5}),
    ("none", {"top_k": 1}),
    ("loss_free", {"score_func": "sqrt_softplus", "gate_func": "softmax"}),
    ("loss_free", {"num_groups": 2, "top_k_groups": 1}),
    ("loss_free", {"top_p": 0.7}),
    ("loss_free", {"top_p": 0.7, "eval_top_k": 1}),
    ("none", {"eval_top_k": 3}),
    ("none", {"router_noise": 1.0}),
    ("none", {"noisy_top_k": True}),
    ("none", {"random_second": True}),
]


@pytest.mark.parametrize(("balancer", "changes"), VARIANTS, ids=str)
def test_a_configuration_is_read_as_the_model_reads_it(balancer: str, changes: dict[str, Any]) -> None:
    config = make_tiny_config(balancer, **changes)
    model, bias_form = config.model, CombinedBalancer(config.balancer.rules).bias_form
    torch.manual_seed(0)
    router = make_router(replace(model, init_std=1.0), vocab_size=256, layer=0)
    router.expert_bias_E += torch.tensor([0.3, -0.2, 0.1, -0.4]) + (bias_form == "multiplicative")
    tokens = torch.randn(200, model.hidden_size, generator=torch.Generator().manual_seed(3))
    context = LayerContext(layer=0, tokens_T=torch.arange(200), is_training=False)
    with torch.no_grad():
        routing = choose(router, tokens, model, bias_form, context)
    how = settings_of(config.to_dict(), top_k=model.top_k, step=0)
    logits = routing.router_logits_TE.numpy()
    scores = routing_math.scores(logits, str(how.score_func))
    bias = router.expert_bias_E.numpy() if bias_form else None
    expert_ids = routing_math.choose(routing_math.compared(scores, bias, how), scores, how)
    assert how.chooses
    assert not how.note
    assert expert_ids.tolist() == routing.topk_expert_ids_TK.tolist()
    np.testing.assert_allclose(
        routing_math.gates(logits, expert_ids, how), routing.gate_weights_TK.numpy(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("routing", ["expert_choice", "expert_threshold", "hash", "random"])
def test_where_no_token_chooses_the_gates_are_right_and_it_is_said(routing: str) -> None:
    config = make_tiny_config("none", routing=routing)
    torch.manual_seed(0)
    router = make_router(replace(config.model, init_std=1.0), vocab_size=256, layer=0)
    tokens = torch.randn(64, config.model.hidden_size, generator=torch.Generator().manual_seed(4))
    context = LayerContext(layer=0, tokens_T=torch.arange(64), seed=1)
    with torch.no_grad():
        result = choose(router, tokens, config.model, None, context)
    how = settings_of(config.to_dict(), top_k=config.model.top_k, step=0)
    assert not how.chooses
    assert not how.best_first
    assert how.note.endswith(sentence("bias_step.recorded"))
    mine = routing_math.gates(result.router_logits_TE.numpy(), result.topk_expert_ids_TK.numpy(), how)
    np.testing.assert_allclose(mine, result.gate_weights_TK.numpy(), rtol=1e-5, atol=1e-7)


def test_what_cannot_be_worked_out_is_named() -> None:
    limited = settings_of(make_tiny_config("none", capacity_factor=1.0).to_dict(), top_k=2, step=0)
    assert limited.chooses
    assert "limited capacity" in limited.note
    levelled = settings_of(make_tiny_config("mqb").to_dict(), top_k=2, step=0)
    assert not levelled.chooses
    assert levelled.best_first
    assert "along each sequence" in levelled.note
    foreign = settings_of({"model": {"num_experts": 4}, "trainer": "other"}, top_k=2, step=0)
    assert foreign.score_func is None
    assert "does not say" in foreign.note
    with pytest.raises(ValueError, match=pattern("model.score_function")):
        routing_math.gates(np.zeros((1, 4), np.float32), np.zeros((1, 2), np.int64), foreign)


def test_the_rule_in_force_decides_how_the_bias_acts() -> None:
    config = make_tiny_config("none/5/loss_free:bias_form=multiplicative").to_dict()
    forms = [settings_of(config, top_k=2, step=step).bias_form for step in (0, 4, 5)]
    assert forms == ["additive", "additive", "multiplicative"]


@pytest.mark.parametrize("path", PROBED, ids=lambda path: path.name)
def test_every_recorded_choice_of_the_shipped_runs_is_worked_out_again(path: Path) -> None:
    folder = RunFolder(path)
    rows = folder.read("probe_scores").sort("step", "layer", "token")
    assert rows.height == 5 * 4 * 1024
    for (step, _), part in rows.group_by("step", "layer", maintain_order=True):
        how = settings_of(folder.info.config, top_k=folder.info.top_k, step=int(str(step)))
        assert how == replace(how, chooses=True, note="")
        logits = np.stack(part["router_logits"].to_numpy())
        bias = None if part["expert_bias"][0] is None else part["expert_bias"][0].to_numpy()
        scores = routing_math.scores(logits, str(how.score_func))
        expert_ids = routing_math.choose(routing_math.compared(scores, bias, how), scores, how)
        # The order too: which expert a token calls first is what the page colours by.
        assert expert_ids.tolist() == np.stack(part["selected_experts"].to_numpy()).tolist()


def test_top_p_stops_where_the_sum_is_reached_whatever_follows() -> None:
    """Half is reached by the first expert; the share of the next is lost in rounding and changes nothing."""
    scores = np.array([[1, 5e-8, 1, 5e-8]], dtype=np.float32)
    compared = scores - np.arange(4, dtype=np.float32) * 2
    how = RouterSettings(top_k=1, score_func="sigmoid", top_p=0.5)
    assert routing_math.choose(compared, scores, how).tolist() == [[0, 4, 4, 4]]
