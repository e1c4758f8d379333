"""Loss-free steps that decay, and loads that are averaged over steps, against loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import biases, quantiles

from explorer.config.rule_text import LossFree
from explorer.model.balancers import CombinedBalancer

HISTORIES = st.integers(2, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 50), min_size=n, max_size=n).filter(any), min_size=1, max_size=8
    )
)


@given(
    history=HISTORIES,
    decay=st.sampled_from(["constant", "sqrt", "harmonic"]),
    memory=st.sampled_from([0.0, 0.5, 0.9]),
    update_rule=st.sampled_from(["proportional", "rms"]),
    since=st.sampled_from([0, 7]),
)
def test_steps_and_means_equal_the_reference(history, decay, memory, update_rule, since) -> None:
    rule = LossFree(bias_update_rate=0.01, step_decay=decay, load_ema=memory, update_rule=update_rule)
    combined = CombinedBalancer([rule], since=since)
    bias = torch.zeros(len(history[0]))
    slow = bias.tolist()
    for n, counts in enumerate(history, start=1):
        u = quantiles.step_size(0.01, decay, n)
        assert combined.rate(since + n - 1) == pytest.approx(u)
        mean = quantiles.mean_counts(history[:n], memory) if memory else counts
        slow = biases.updated(slow, mean, u, update_rule)
        combined.update(bias, torch.tensor(counts), since + n - 1)
    assert bias.tolist() == pytest.approx(slow, abs=1e-6)


def test_the_mean_of_level_loads_is_level_to_the_last_bit() -> None:
    # 0.9 has no finite binary form: what its powers leave over must not be given a sign.
    combined = CombinedBalancer([LossFree(bias_update_rate=1.0, load_ema=0.9)])
    bias = torch.zeros(2, 13)
    for step in range(50):
        combined.update(bias, torch.tensor([[100_000 + step] * 13, [7] * 13]), step)
    assert torch.equal(bias, torch.zeros(2, 13))
    assert combined.memory()["loss_free"]["mean_counts"].dtype == torch.float64


def test_a_mean_waits_until_most_steps_agree() -> None:
    # One step in which expert 1 is the busy one does not turn a mean over ten.
    bias, calm = torch.zeros(2), torch.zeros(2)
    quick, slow = (CombinedBalancer([LossFree(bias_update_rate=1.0, load_ema=m)]) for m in (0.0, 0.9))
    for step, counts in enumerate([[6, 4]] * 5 + [[4, 6]]):
        quick.update(bias, torch.tensor(counts), step)
        slow.update(calm, torch.tensor(counts), step)
    assert bias.tolist() == [-4.0, 4.0]
    assert calm.tolist() == [-6.0, 6.0]
