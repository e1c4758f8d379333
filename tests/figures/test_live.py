"""Charts of runs in training."""

from dataclasses import replace

from arm_runs import run

from explorer import metrics
from explorer.figures import live


def test_the_live_chart_has_the_baseline_of_equal_sizes_only() -> None:
    one = run("a")
    assert live.random_routing([one, one]) == {
        "uniform": metrics.uniform_reference(
            one.num_experts, one.top_k, one.tokens_per_step, one.num_moe_layers
        )
    }
    assert live.random_routing([one, replace(one, tokens_per_step=2 * one.tokens_per_step)]) == {}
    assert live.random_routing([replace(one, tokens_per_step=0)]) == {}
