"""What another bias rule would have made of a recorded probe: imbalance, biases, loads, swapped experts.

Open loop: the recorded scores stay fixed. Shapes: T tokens, E experts, K slots, U updates.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer import metrics
from explorer.charts import agreement as agreement_charts
from explorer.charts import counterfactual as charts
from explorer.charts import spec as specs
from explorer.charts.captions import number
from explorer.figures import agreement_text
from explorer.figures.agreement import SWAPS_HOW, busiest_swaps, load_rows, swap_rows
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.layer_fit import percent
from explorer.figures.panel import Missing, Panel
from explorer.figures.probe_batch import probe_document
from explorer.figures.store import Store, Trace
from explorer.queries import probe as queries
from explorer.queries.probe import LayerProbe
from explorer.routing import routing_math
from explorer.routing.agreement import Agreement, agreement
from explorer.routing.balancing import neutral_bias
from explorer.routing.counterfactual import Counterfactual, WhatIf, refusal, replay, with_selection
from explorer.routing.routing_math import RouterSettings
from explorer.wording import counted

OPEN_LOOP = (
    "Open loop: the scores stay as recorded, so no expert learns from the tokens that it now receives: the "
    "effect of further training is not simulated."
)
VIO_HOW = "MaxVio of the probe tokens after each update; dashed: that of the recorded choice."
RECORDED_HOW = "Solid: replayed; dashed: what the run recorded in the same steps. "
BOLD_HOW = "Bold: the experts with the highest and the lowest final bias."
LOADS_HOW = "Loads of the probe tokens. The dashed line at 1 marks the uniform load."
NO_SCORES = (
    "This probe cannot be replayed: the run does not record how scores come from logits, or its tokens do "
    "not choose by their own scores."
)
ROUTES_ONLY = (
    "This trace keeps the experts of its tokens and not the scores that chose them, so no other rule can "
    "choose again."
)
NAMES = ("recorded", "replayed")
MOST_REPLAYS = 24
"""Replays that are remembered: all panels of a probe show the same one."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A probe of a run in one MoE layer, and what to change."""

    step: int
    layer: int
    what_if: WhatIf
    top_k: int | None
    """None: the run's own."""
    num_groups: int = 1
    top_k_groups: int = 1
    start: Literal["recorded", "neutral"] = "recorded"
    """The bias before the first update."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A replay beside the recorded choice."""

    outcome: Counterfactual
    choice: Agreement
    """First: the recorded choice; second: that of the last replayed bias."""


@lru_cache(maxsize=MOST_REPLAYS)
def _replayed(
    probe: LayerProbe, router: RouterSettings, sequence_tokens: int, settings: Replay
) -> Replayed | str:
    """The replay of one probe, or why there is none."""
    if router.score_func is None or not router.chooses:
        return NO_SCORES
    top_k = router.top_k if settings.top_k is None else settings.top_k
    spec = with_selection(
        router, top_k=top_k, num_groups=settings.num_groups, top_k_groups=settings.top_k_groups
    )
    reason = refusal(spec, settings.what_if.rule)
    if reason:
        return reason
    scores = routing_math.scores(probe.logits, router.score_func)
    bias = probe.bias
    if bias is None or settings.start == "neutral":
        bias = np.full(probe.num_experts, neutral_bias(spec.bias_form), dtype=np.float32)
    outcome = replay(scores, bias, spec, settings.what_if, sequence_tokens=sequence_tokens)
    return Replayed(outcome=outcome, choice=agreement(probe.routes, outcome.chosen_TK, probe.num_experts))


def replayed(trace: Trace, run: Run, settings: Replay) -> Replayed | str:
    """The replay of one probe of a run, or the sentence that says why there is none."""
    probe = trace.ask(queries.layer_probe, run, settings.step, settings.layer)
    if probe is None:
        return _unreadable(trace, run, settings)
    length = (probe_document(trace, run) or {}).get("sequence_length")
    tokens = length if isinstance(length, int) and length > 0 else 1 << 30
    router = routing_math.settings_of(json.loads(run.config), top_k=run.top_k, step=settings.step)
    return _replayed(probe, router, tokens, settings)


def _unreadable(trace: Trace, run: Run, settings: Replay) -> str:
    """Why a probe without scores cannot be replayed."""
    experts = run.width(settings.layer)
    if trace.ask(queries.routes, run, settings.step, experts, settings.layer):
        return ROUTES_ONLY
    return f"Layer {settings.layer} has no readable probe after {counted(settings.step, 'update')}."


def _named(subject: str, arms: ArmSet) -> str:
    """The subject with the run's name, where a view shows the same panel of several runs."""
    (arm,) = arms
    return subject if len(arms.labels) == 1 else f"{subject}, {arms.label(arm)}"


def imbalance(store: Store, arms: ArmSet, settings: Replay) -> Panel | Missing:
    """MaxVio of the probe tokens over the updates, in the first run of the only arm."""
    (arm,) = arms
    subject = "Imbalance of the replayed probe"
    trace = Trace(store)
    result = replayed(trace, arm.first, settings)
    if isinstance(result, str):
        return Missing(subject=subject, reason=result)
    values = np.asarray(metrics.max_vio(result.outcome.loads_UE))
    recorded = float(np.asarray(metrics.max_vio(result.choice.loads_E)))
    table = pl.DataFrame({"update": np.arange(len(values)), "max_vio": values})
    return Panel(
        subject=subject,
        finding=imbalance_sentence(values, recorded),
        how=f"{VIO_HOW} {OPEN_LOOP}",
        spec=specs.make(charts.imbalance(table, recorded=recorded)),
        table=table,
        statements=trace.statements,
    )


def biases(store: Store, arms: ArmSet, settings: Replay) -> Panel | Missing:
    """Replayed biases beside the recorded ones of the same steps."""
    (arm,) = arms
    subject = _named("Biases of the replayed probe", arms)
    trace = Trace(store)
    result = replayed(trace, arm.first, settings)
    if isinstance(result, str):
        return Missing(subject=subject, reason=result)
    updates = settings.what_if.updates
    recorded = trace.ask(queries.biases_after, arm.first, settings.layer, settings.step, updates)
    path = result.outcome.biases_UE
    table = pl.concat([path_rows(path), _recorded_rows(recorded)])
    order = np.argsort(path[-1], kind="stable")
    return Panel(
        subject=subject,
        finding=bias_sentence(path, recorded, updates),
        how=BOLD_HOW if recorded.is_empty() else RECORDED_HOW + BOLD_HOW,
        spec=specs.make(charts.bias_paths(table, named=[int(order[-1]), int(order[0])])),
        table=table,
        statements=trace.statements,
    )


def loads(store: Store, arms: ArmSet, settings: Replay) -> Panel | Missing:
    """Loads of the probe tokens, recorded and replayed."""
    (arm,) = arms
    subject = _named(f"Loads of the replayed probe, layer {settings.layer}", arms)
    trace = Trace(store)
    result = replayed(trace, arm.first, settings)
    if isinstance(result, str):
        return Missing(subject=subject, reason=result)
    table = load_rows(result.choice, NAMES)
    return Panel(
        subject=subject,
        finding=choice_sentence(result.choice),
        how=LOADS_HOW,
        spec=specs.make(agreement_charts.both_loads(table, names=NAMES)),
        table=table,
        statements=trace.statements,
    )


def swaps(store: Store, arms: ArmSet, settings: Replay) -> Panel | Missing:
    """Which experts the replay swaps for which."""
    (arm,) = arms
    subject = _named(f"Swapped experts of the replayed probe, layer {settings.layer}", arms)
    trace = Trace(store)
    result = replayed(trace, arm.first, settings)
    if isinstance(result, str):
        return Missing(subject=subject, reason=result)
    if not result.choice.swaps_EE.any():
        return Missing(subject=subject, reason="The replay exchanges no expert of any token for another.")
    experts = busiest_swaps(result.choice)
    table = swap_rows(result.choice, experts)
    return Panel(
        subject=subject,
        finding=agreement_text.swaps(result.choice),
        how=SWAPS_HOW.replace("in the second routing", "in the replay"),
        spec=specs.make(agreement_charts.swaps(table, experts=experts)),
        table=table,
        statements=trace.statements,
    )


def path_rows(path_UE: NDArray[np.float32]) -> pl.DataFrame:
    """update, expert, bias, path: the replayed biases, one row per update and expert."""
    updates, experts = path_UE.shape
    return pl.DataFrame(
        {
            "update": np.repeat(np.arange(updates, dtype=np.int64), experts),
            "expert": np.tile(np.arange(experts, dtype=np.int32), updates),
            "bias": path_UE.ravel(),
            "path": [charts.REPLAYED] * path_UE.size,
        }
    )


def _recorded_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col("update").cast(pl.Int64),
        pl.col("expert").cast(pl.Int32),
        pl.col("bias").cast(pl.Float32),
        path=pl.lit(charts.RECORDED),
    )


def imbalance_sentence(values: NDArray[np.float64], recorded: float) -> str:
    """MaxVio before and after the updates, beside the recorded choice."""
    start = f"The recorded choice has MaxVio {number(recorded)} on these tokens"
    if len(values) == 1:
        return f"{start}, the changed router without any update {number(float(values[0]))}."
    return (
        f"{start}; the replay starts at {number(float(values[0]))} and reaches {number(float(values[-1]))} "
        f"after {counted(len(values) - 1, 'update')}."
    )


def bias_sentence(path_UE: NDArray[np.float32], recorded: pl.DataFrame, updates: int) -> str:
    """Spread of the biases after the replay, and in the run after as many steps."""
    first, last = (float(np.ptp(row)) for row in (path_UE[0], path_UE[-1]))
    text = f"The replayed biases span {number(first)} at the start and {number(last)} after "
    text += f"{counted(updates, 'update')}"
    same = recorded.filter(pl.col("update") == updates)["bias"]
    if not updates or same.is_empty():
        nothing = "the run records no bias" + ("" if recorded.is_empty() else " for that step")
        return f"{text}; {nothing}." if updates else f"{text}."
    spread = float(same.max()) - float(same.min())  # type: ignore[arg-type]
    return f"{text}; those of the run span {number(spread)} by then."


def choice_sentence(counts: Agreement) -> str:
    """How many tokens get different experts, and the busiest expert of both."""
    share = percent(counts.differing_share)
    tops = [
        number(float(one.max()) * counts.num_experts / max(int(one.sum()), 1))
        for one in (counts.loads_E, counts.other_loads_E)
    ]
    parts = [
        f"{counts.differing:,} of {counts.tokens:,} tokens ({share}) get different experts from those "
        "recorded",
        f"the busiest expert has {tops[1]}× the uniform load instead of {tops[0]}×",
    ]
    return "; ".join(parts) + "."
