"""What *this* simulation shows, in sentences."""

from collections.abc import Mapping

import numpy as np

from explorer.charts.captions import number, times
from explorer.routing.outranking import bounded_gap
from explorer.simulate import summary
from explorer.simulate.dynamics import Simulation
from explorer.wording import counted

Pair = Mapping[str, Simulation]


def balance(pair: Pair, labels: Mapping[str, str]) -> str:
    """When each side reaches the level of random routing, and where it ends."""
    parts = [_balance(simulation, labels[side]) for side, simulation in pair.items()]
    return " ".join(parts)


def _balance(simulation: Simulation, label: str) -> str:
    reference = summary.random_reference(simulation)[0]
    final = summary.final_max_vio(simulation)
    start = simulation.acts_from
    took = summary.steps_to_balance(simulation, start)
    multiple = f", {times(final / reference)} the random-routing baseline" if reference else ""
    ends = f"ends at MaxVio {number(final)}{multiple}"
    if took is None:
        return f"{label} never comes near random routing and {ends}."
    if took == 0 and start == 0:
        return f"{label} is as even as random routing from the start and {ends}."
    shift = simulation.scores.shift_step
    if 0 < shift < len(simulation.counts):
        again = summary.steps_to_balance(simulation, shift)
        back = f"{again} after the shift" if again is not None else "not again after the shift"
        return f"{label} is near random routing after {counted(took, 'step')}, {back}, and {ends}."
    after = f" of acting from step {start} on" if start else ""
    return f"{label} is near random routing after {counted(took, 'step')}{after} and {ends}."


def bias(simulation: Simulation) -> str:
    """How far apart the biases are, and whether they rest."""
    rule = simulation.rules[-1]
    if rule.rule == "none" and simulation.changes:
        return "At the end nothing is done: there is no bias any more."
    if rule.rule == "none":
        return "Nothing is done: there is no bias."
    if not rule.has_bias:
        learnt = simulation.learnt[-1]
        return (
            f"There is no bias: the loss has moved the scores themselves, by {float(learnt.min()):+.2f} to "
            f"{float(learnt.max()):+.2f} logits."
        )
    spread, turning = summary.spread(simulation), summary.turning_share(simulation)
    rest = f"in the last steps {turning:.0%} of the moves undo the one before"
    if not np.any(np.diff(simulation.bias[-3:], axis=0)):
        rest = "at the end it does not move any more"
    thumb = ""
    if rule.rule == "sign" and rule.step_decay == "constant":
        thumb = f" (spread / 2u: {number(spread / 2 / rule.rate)} steps)"
    gap = bounded_gap(simulation.scores.score_function, rule.reads_bias)
    wide = ""
    if gap is not None and spread > gap:
        wide = f" More than {gap:g}: the bias alone decides between the two."
    return f"The biases end {number(spread)} apart{thumb}; {rest}.{wide}"


def numbers(pair: Pair, labels: Mapping[str, str]) -> list[dict[str, object]]:
    """One row a side."""
    return [
        {
            "rule": labels[side],
            "steps until near random routing": summary.steps_to_balance(s, s.acts_from),
            "MaxVio last steps": summary.final_max_vio(s),
            "MaxVio held-out": s.max_vio_global[len(s.counts)],
            "random routing": summary.random_reference(s)[0],
            "bias spread": summary.spread(s),
            "moves undone": round(summary.turning_share(s), 2),
        }
        for side, s in pair.items()
    ]


def switched(pair: Pair, labels: Mapping[str, str]) -> str:
    """How much the bias decides at the end."""
    parts = []
    for side, simulation in pair.items():
        if simulation.rules[-1].has_bias:
            parts.append(f"{simulation.switched_share[-1]:.0%} of the assignments with {labels[side]}")
    if not parts:
        return "No rule here uses a bias, so no choice is changed by one."
    return f"In the last step the bias changes {' and '.join(parts)}."
