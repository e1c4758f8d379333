"""Facts about recorded biases."""

import numpy as np

from explorer import metrics
from explorer.figures import bias_updates
from explorer.figures.facts import steps
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.facts.registry import fact


@fact
def bias_step(recorded: RecordedRuns, arm: str, layer: str, step: str, expert: str, what: str) -> float:
    """One number of one bias update, seed 0: `tokens`, `mean`, `error`, `sign`, `before`, `after`, `moved`
    (in multiples of the rate), `rate` or `expert` of the `busiest` or `idlest` expert."""
    run = recorded.find(arm, 0).first
    update, _ = bias_updates.update_after(recorded.ask, run, int(layer), int(step))
    return bias_updates.number(update, expert, what)


@fact
def updates_equal(recorded: RecordedRuns, arm: str) -> int:
    """Those that are equal to the log: to the last bit, or to rounding where the rule sums fractions."""
    return bias_updates.reproduced_updates(recorded.ask, recorded.find(arm, 0).first)[0]


@fact
def updates(recorded: RecordedRuns, arm: str) -> int:
    """Bias updates of single experts, seed 0, that can be recomputed and compared with the next step."""
    return bias_updates.reproduced_updates(recorded.ask, recorded.find(arm, 0).first)[1]


@fact
def bias_spread(recorded: RecordedRuns, arm: str) -> float:
    """Largest minus smallest bias in the last step of the training, mean over layers, seed 0."""
    run = recorded.find(arm, 0).first
    last = np.array([steps.biases(recorded, run, layer)[-1] for layer in run.layers])
    return float(metrics.bias_spread(last).mean())


@fact
def peak_bias_spread(recorded: RecordedRuns, arm: str, layer: str) -> float:
    """Largest difference between two biases of a layer in any step, seed 0."""
    bias = steps.biases(recorded, recorded.find(arm, 0).first, int(layer))
    return float(np.nanmax(metrics.bias_spread(bias)))


@fact
def peak_bias_step(recorded: RecordedRuns, arm: str, layer: str) -> int:
    """The recorded step at which that difference is largest."""
    run = recorded.find(arm, 0).first
    spread = metrics.bias_spread(steps.biases(recorded, run, int(layer)))
    return int(steps.matrix(recorded, run, int(layer)).steps[np.nanargmax(spread)])


@fact
def turning_share(recorded: RecordedRuns, arm: str) -> float:
    """Share of reversed bias updates: moves against the previous one, over all steps, layers and experts of
    seed 0."""
    run = recorded.find(arm, 0).first
    of_layers = [steps.biases(recorded, run, layer) for layer in run.layers]
    return float(metrics.oscillation(np.concatenate(of_layers, axis=-1)))


@fact
def thumb_steps(recorded: RecordedRuns, arm: str, layer: str) -> float:
    """Peak bias spread of a layer divided by 2u: the steps that the rule would need with fixed scores."""
    rate = bias_updates.plain_rate(recorded.find(arm, 0).first)
    return float(peak_bias_spread(recorded, arm, layer)) / (2 * rate)
