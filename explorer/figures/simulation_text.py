"""Findings of two simulated rules, computed from their simulations."""

from collections.abc import Mapping, Sequence

import numpy as np

from explorer.charts.captions import number, times
from explorer.routing.outranking import bounded_gap
from explorer.simulate import summary
from explorer.simulate.dynamics import Simulation
from explorer.wording import counted, percent, signed

Pair = Mapping[str, Simulation]


def balance(pair: Pair, labels: Mapping[str, str]) -> str:
    """When MaxVio of each rule first nears the random-routing baseline, and its final value."""
    parts = [_balance(simulation, labels[side]) for side, simulation in pair.items()]
    return " ".join(parts)


def _balance(simulation: Simulation, label: str) -> str:
    reference = summary.random_reference(simulation)[0]
    final = summary.final_max_vio(simulation)
    start = simulation.acts_from
    took = summary.steps_to_balance(simulation, start)
    multiple = f", {times(final / reference)} the baseline" if reference else ""
    ends = f"ends at MaxVio {number(final)}{multiple}"
    if took is None:
        return f"{label} never comes near the random-routing baseline and {ends}."
    if took == 0 and start == 0:
        return f"{label} is at the random-routing baseline from the start and {ends}."
    shift = simulation.scores.shift_step
    if 0 < shift < len(simulation.counts):
        again = summary.steps_to_balance(simulation, shift)
        back = f"{again} after the shift" if again is not None else "not again after the shift"
        return (
            f"{label} is near the random-routing baseline after {counted(took, 'step')}, {back}, and {ends}."
        )
    after = f" of balancing from step {start} on" if start else ""
    return f"{label} is near the random-routing baseline after {counted(took, 'step')}{after} and {ends}."


def bias(simulation: Simulation) -> str:
    """Spread of the final biases, and how many of the last updates are reversals."""
    rule = simulation.rules[-1]
    if rule.rule == "none" and simulation.changes:
        return "There is no balancing at the end, so there is no bias any more."
    if rule.rule == "none":
        return "There is no balancing, so there is no bias."
    if not rule.has_bias:
        learnt = simulation.learnt[-1]
        return (
            "There is no bias: the auxiliary loss has changed the scores themselves, by "
            f"{signed(float(learnt.min()), 2)} to {signed(float(learnt.max()), 2)} logits."
        )
    spread, turning = summary.spread(simulation), summary.turning_share(simulation)
    rest = f"in the last steps {percent(turning)} of the bias updates reverse the previous one"
    if not np.any(np.diff(simulation.bias[-3:], axis=0)):
        rest = "in the end they are constant"
    thumb = ""
    if rule.rule == "sign" and rule.step_decay == "constant":
        thumb = f" (spread / 2u: {number(spread / 2 / rule.rate)} steps)"
    gap = bounded_gap(simulation.scores.score_function, rule.reads_bias)
    wide = ""
    if gap is not None and spread > gap:
        wide = (
            f" No two scores differ by more than {gap:g}, so between the experts at the ends of this span "
            "the bias alone decides."
        )
    return f"The final biases span {number(spread)}{thumb}; {rest}.{wide}"


def numbers(pair: Pair, labels: Mapping[str, str], held_out: int) -> list[dict[str, object]]:
    """One row per rule: steps to balance, final MaxVio beside its baselines, bias spread, reversed updates.

    held_out: number of held-out tokens.
    """
    return [
        {
            "rule": labels[side],
            "steps to balance": summary.steps_to_balance(s, s.acts_from),
            "MaxVio last steps": summary.final_max_vio(s),
            "random routing, step": summary.random_reference(s)[0],
            "MaxVio held-out": s.max_vio_global[len(s.counts)],
            "random routing, held-out": summary.random_reference(s, held_out)[0],
            "bias spread": summary.spread(s),
            "reversed updates": round(summary.turning_share(s), 2),
        }
        for side, s in pair.items()
    ]


def side_by_side(rows: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    """`numbers` as text, one row per metric and one column per rule."""
    metrics = [key for key in rows[0] if key != "rule"]
    return [
        {"metric": metric, **{str(row["rule"]): _written(metric, row[metric]) for row in rows}}
        for metric in metrics
    ]


def _written(metric: str, value: object) -> str:
    if value is None:
        return "never" if metric == "steps to balance" else "–"
    if isinstance(value, int):
        return f"{value:,}"
    return percent(value) if metric == "reversed updates" and isinstance(value, float) else f"{value:.3f}"


def switched(pair: Pair, labels: Mapping[str, str]) -> str:
    """Share of the last step's assignments that the biases change."""
    parts = []
    for side, simulation in pair.items():
        if simulation.rules[-1].has_bias:
            parts.append(f"{percent(simulation.switched_share[-1])} of the assignments with {labels[side]}")
    if not parts:
        return "Neither rule has a bias, so no assignment is changed by one."
    return f"In the last step the bias changes {' and '.join(parts)}."
