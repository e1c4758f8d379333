"""Where the bias alone decides between two experts, and where nothing of the kind is said."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentences import sentence

from explorer.config.run import BalancerConfig, RunConfig
from explorer.routing.outranking import bounded_gap, outranking_gap, outranking_spans
from explorer.routing.routing_math import choose, compared, scores, settings_of


def config(balancer: str = "loss_free", **model: Any) -> dict[str, Any]:
    """A complete configuration as `run.json` has it."""
    plain = RunConfig(balancer=BalancerConfig.parse(balancer)).to_dict()
    return {**plain, "model": {**plain["model"], **model}}


OUTRANKING = {
    "sigmoid": config(),
    "softmax": config(score_func="softmax"),
    "quantile": config("quantile"),
    "top-p": config(top_p=0.5),
    "noise": config(router_noise=0.5),
    "with a loss": config("loss_free+seq_aux"),
    "all groups": config(num_groups=4, top_k_groups=4),
}
SILENT = {
    "unbounded scores": config(score_func="sqrt_softplus"),
    sentence("outranking.multiplied"): config("loss_free:bias_form=multiplicative"),
    "groups": config(num_groups=4, top_k_groups=2),
    sentence("outranking.scores_changed"): config("mqb:sequence_strength=0.5"),
    sentence("outranking.no_bias_rule"): config("aux_loss"),
    "experts choose": config("none", routing="expert_choice"),
    "nothing known": {},
    "no rules named": {name: part for name, part in config().items() if name != "balancer"},
    sentence("outranking.no_score_function"): {**config(), "model": {"top_k": 2}},
    "another trainer's": {"model": {"score_func": "sigmoid", "arch": "x"}, "balancer": "bias"},
    "nonsense": {"model": 5, "balancer": None},
}


@pytest.mark.parametrize("name", OUTRANKING)
def test_added_biases_on_bounded_scores_outrank_from_one_on(name: str) -> None:
    assert outranking_gap(OUTRANKING[name], 7) == 1.0
    assert outranking_spans(OUTRANKING[name]) == ((0, None),)


@pytest.mark.parametrize("name", SILENT)
def test_nothing_is_said_where_it_is_false_or_unknown(name: str) -> None:
    assert outranking_gap(SILENT[name], 7) is None
    assert outranking_spans(SILENT[name]) == ()


def test_the_rule_in_force_decides() -> None:
    changing = config("none/10/loss_free/20/loss_free:bias_form=multiplicative/30/quantile")
    assert outranking_spans(changing) == ((10, 20), (30, None))
    assert [outranking_gap(changing, step) for step in (9, 10, 19, 20, 30)] == [None, 1.0, 1.0, None, 1.0]


def test_without_a_bias_there_is_no_gap() -> None:
    assert bounded_gap("sigmoid", None) is None


def taken(settings: Mapping[str, Any], logits_TE: np.ndarray, bias_E: np.ndarray) -> np.ndarray:
    """Which experts each token takes, [T, E]."""
    how = settings_of(settings, top_k=2, step=0)
    scores_TE = scores(logits_TE, how.score_func or "")
    ids_TK = choose(compared(scores_TE, bias_E, how), scores_TE, how)
    return np.stack([(ids_TK == expert).any(-1) for expert in range(logits_TE.shape[1])], axis=-1)


@pytest.mark.parametrize("name", OUTRANKING)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.1, 3.0, 50.0]))
def test_what_is_outranked_is_never_taken_alone(name: str, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    settings = {**OUTRANKING[name], "model": {**OUTRANKING[name]["model"], "num_experts": 8}}
    gap = outranking_gap(settings, 0)
    assert gap is not None
    logits = (size * rng.normal(size=(64, 8))).astype(np.float32)
    bias = rng.uniform(-1, 1, 8).astype(np.float32)
    high, low = int(bias.argmax()), int(bias.argmin())
    bias[low] = bias[high] - np.float32(gap + 0.01)
    member = taken(settings, logits, bias)
    assert not (member[:, low] & ~member[:, high]).any()


@pytest.mark.parametrize(
    ("name", "logits", "bias"),
    [
        ("unbounded scores", [-4, -4, -4, 9], [0.6, 0, 0, -0.6]),
        (sentence("outranking.multiplied"), [-4, -4, -4, 4], [1.4, 1, 1, 0.2]),
        ("groups", [-4, -4, 4, 4], [0.6, 0, 0, -0.6]),
    ],
)
def test_elsewhere_a_wide_spread_decides_nothing(name: str, logits: list[float], bias: list[float]) -> None:
    """The last expert's bias is 1.2 below the first one's, and it is taken without the other."""
    sizes = {"num_experts": 4, "top_k": 2 if name == "groups" else 1}
    groups = {"num_groups": 2, "top_k_groups": 1} if name == "groups" else {}
    settings = {**SILENT[name], "model": {**SILENT[name]["model"], **sizes, **groups}}
    member = taken(settings, np.array([logits], dtype=np.float32), np.array(bias, dtype=np.float32))
    assert member[0, 3]
    assert not member[0, 0]
