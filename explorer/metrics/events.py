"""Definitions of the detected kinds of events in a run, in words, and their thresholds.

Steps are recorded steps, in the order of the log, regardless of their distance. The SQL
that detects events is `explorer/store/episodes.py` (when rows come in) and `explorer/queries/events.py`.
"""

from dataclasses import dataclass

from explorer.metrics.sources import LOSS_FREE, OLMOE, OURS, Source
from explorer.metrics.windows import COLLAPSE_STEPS, DEAD_STEPS

OSCILLATION_STEPS = 64
"""Recorded steps per window, windows side by side, in which reversed bias updates are counted."""
OSCILLATION_SHARE = 0.6
"""Share of reversed bias updates (`oscillation`) from which a window counts as oscillating.

Updates with random signs are reversed half of the time: in a window of 64 steps and 16 experts 0.50 ± 0.02,
with 4 experts ± 0.03. A converged rule makes such updates, so the threshold is clearly above. In the
shipped runs every window of the constant sign rule at u = 0.03 has between 0.62 and 0.79, and no window of
any other run, including other update rates and the quantile rule, more than 0.57.
"""
OSCILLATION_MOVES = 0.5
"""Minimum share of a window's possible updates that must be present: of few updates too many are reversed by
chance, as where a rule is switched off early in the window."""
WIDE_SPREAD = 1.0
"""A bias spread above this outranks any difference of two scores between 0 and 1."""
SETTLED_SHARE = 0.9
"""Share of final choices already present from which choices count as settled."""
SPIKE_STEPS = 50
"""Recorded steps before a step that predict its loss; half of them must have one."""
SPIKE_DEVIATIONS = 6.0
"""Robust deviations (1.4826 times the median absolute deviation) by which a spike exceeds their median.

With normal noise 5 of a million steps do. In the shipped runs, 26,250 steps with 50 before them, the
highest is 4.2, so none of them has a spike.
"""
SPIKE_NATS = 0.1
"""And by at least this many nats per token (10 % more perplexity), or smooth curves cause false alarms."""


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One kind of event."""

    key: str
    title: str
    text: str
    """One or two plain sentences; also the tooltip."""
    note: str = ""
    formula: str = ""
    sources: tuple[Source, ...] = (OURS,)


DETECTED: tuple[EventKind, ...] = (
    EventKind(
        key="death",
        title="Death of an expert",
        text=f"An expert gets no token in {DEAD_STEPS} or more recorded steps in a row. The mark stands at "
        "the first of them.",
        formula=r"c_{s,i} = 0 \quad\text{for}\quad s = s_0, \dots, s_0 + W - 1",
        note=f"W = {DEAD_STEPS}. A shorter pause is an idle expert, not an event.",
    ),
    EventKind(
        key="revival",
        title="Revival of an expert",
        text="The first step with a token after a death.",
    ),
    EventKind(
        key="collapse",
        title="Collapse of a layer",
        text=f"The effective experts of a layer stay at or below half of its experts for {COLLAPSE_STEPS} "
        "or more recorded steps in a row. The mark stands at the first of them.",
        formula=r"N_{\mathrm{eff}} \le N/2",
    ),
    EventKind(
        key="recovery",
        title="Recovery of a layer",
        text="The first step after a collapse with more than half of the experts effective.",
    ),
    EventKind(
        key="oscillation",
        title="Oscillating biases",
        text=f"In a window of {OSCILLATION_STEPS} recorded steps at least {100 * OSCILLATION_SHARE:.0f} % of "
        "a layer's bias updates reverse direction: they are so large that the biases oscillate. The mark "
        "stands at the first such window.",
        note="At least half of the updates that fit into the window must have changed a bias. Updates with "
        "random signs reverse half of the time, so a rule that has converged does not count as oscillating.",
        sources=(LOSS_FREE, OURS),
    ),
    EventKind(
        key="bias_saturation",
        title="Bias saturation",
        text="The largest and the smallest bias of a layer are more than 1 apart for the first time: the "
        "bias alone then decides between those two experts, whatever their scores.",
        formula=r"\max_i b_i - \min_i b_i > 1",
        note="Detected only where the run's configuration guarantees it: an additive bias, sigmoid or "
        "softmax scores, tokens that choose among all experts. With square-root softplus scores, "
        "a multiplicative bias or groups of experts a spread of 1 decides nothing.",
        sources=(LOSS_FREE, OURS),
    ),
    EventKind(
        key="choices_settled",
        title="Choices settled",
        text=f"The first probe in which at least {100 * SETTLED_SHARE:.0f} % of the choices of the last "
        "probe are already made, layer by layer.",
        note="The share is the router saturation. The last probe itself is not an event.",
        sources=(OLMOE, OURS),
    ),
    EventKind(
        key="loss_spike",
        title="Loss spike",
        text=f"The language loss exceeds the median of the {SPIKE_STEPS} recorded steps before by more than "
        f"{SPIKE_DEVIATIONS:g} robust deviations and by at least {SPIKE_NATS:g} nats per token. The mark "
        "stands at the highest of neighbouring steps.",
        note="A loss that is not finite is a separate event, not a spike, and is excluded from the median.",
        formula=r"x_s - m > 6 \cdot 1.4826 \cdot \operatorname{median}_j |x_j - m|, \qquad "
        r"m = \operatorname{median}_j x_j, \qquad s - 50 \le j < s",
    ),
    EventKind(
        key="loss_not_finite",
        title="Loss not finite",
        text="The language loss is NaN or infinite. The mark stands at the first of neighbouring steps.",
    ),
    EventKind(
        key="bias_not_finite",
        title="Bias not finite",
        text="The bias of an expert is NaN or infinite. The mark stands at the first of neighbouring steps.",
    ),
)
"""The detected kinds, in legend order."""

RECORDED: tuple[EventKind, ...] = (
    EventKind(
        key="balancer_changed",
        title="Change of the rule",
        text="The balancing rule changes, by schedule or by hand, from this step on.",
    ),
    EventKind(
        key="switch_refused",
        title="Change refused",
        text="A switch to another balancing rule was requested while the run trained, but refused. Nothing "
        "changed.",
    ),
    EventKind(
        key="recording_gap",
        title="Gap in the recording",
        text="Steps before this one are missing from the log.",
    ),
)
"""Kinds that trainers record themselves; the list is open."""

_NAMES = {"balancer_changed": "rule change"}


def event_name(kind: str) -> str:
    """Display name of an event; defined for any kind."""
    return _NAMES.get(kind, kind.replace("_", " "))
