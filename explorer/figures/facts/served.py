"""Facts about service: loads of one window of a run, and what a placement planned on another would save."""

import numpy as np

from explorer import metrics
from explorer.errors import ConfigError, one_of
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.facts.registry import fact
from explorer.figures.serving import published
from explorer.figures.serving.windows import Window, windows
from explorer.figures.store import Trace
from explorer.figures.views.serving_choices import default_gpus
from explorer.routing import placement

QUARTERS = 4
"""Windows that the training steps are cut into: the last quarter is window 4."""


def _window(recorded: RecordedRuns, arm: str, key: str) -> Window:
    run = recorded.find(arm, 0).first
    quarters = windows(Trace(recorded.store), run, QUARTERS)
    one_of("window", key, tuple(quarters))
    return quarters[key]


@fact
def served_max_vio(recorded: RecordedRuns, arm: str, window: str) -> float:
    """MaxVio of one window, mean over layers, seed 0: a quarter of the steps (`1` to `4`), `held-out`, or
    `held-out` and a domain."""
    return float(metrics.max_vio(_window(recorded, arm, window).counts).mean())


@fact
def served_time(recorded: RecordedRuns, arm: str, plan: str, judge: str, which: str) -> float:
    """Busiest over mean GPU in window `judge`, mean over layers, seed 0: `before` with contiguous experts,
    `after` with EPLB's placement planned on window `plan`, one extra copy per GPU, or the share `saved`."""
    counts, batches = _window(recorded, arm, plan).counts, _window(recorded, arm, judge).tokens
    layers, experts = counts.shape
    gpus = default_gpus(experts)
    before, after = (
        float(
            placement.time_over_balanced(
                placement.gpu_loads(placement.gpu_shares(slots, experts, gpus), batches)
            ).mean()
        )
        for slots in (
            placement.contiguous(layers, experts),
            placement.plan(counts, slots=experts + gpus, gpus=gpus),
        )
    )
    values = {"before": before, "after": after, "saved": 1 - after / before}
    one_of("which", which, tuple(values))
    return values[which]


@fact
def published_max_vio(_recorded: RecordedRuns, input_tokens: str) -> float:
    """Mean MaxVio of DeepSeek-R1's MoE layers when serving this many input tokens, from SGLang's files."""
    means = {str(length): value for length, value in published.MEANS.items()}
    if input_tokens not in means:
        raise ConfigError("input_tokens", input_tokens, "is not published", f"choose of {', '.join(means)}")
    return float(np.float64(means[input_tokens]))
