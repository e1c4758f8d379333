"""Events on the time axes of arms, as a sentence, and with a key to their symbols."""

from collections.abc import Iterable

import polars as pl

from explorer.charts import event_marks
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.settings import OverTime
from explorer.figures.store import Trace
from explorer.metrics import COLLAPSE_STEPS, DEAD_STEPS
from explorer.metrics.events import DETECTED, RECORDED, event_name
from explorer.queries import events as event_queries

NO_COLLAPSE = f"no layer stayed collapsed for {COLLAPSE_STEPS} steps"
NO_DEATH = f"no expert went {DEAD_STEPS} steps without a token"
RULES = (
    f"Death: an expert receives no token for {DEAD_STEPS} steps in a row. Collapse: for {COLLAPSE_STEPS} "
    "steps in a row, at most half of a layer's experts are effectively in use. Shorter spells do not count."
)
"""What counts as an event, for pages that list events."""
_KNOWN = [kind.key for kind in (*DETECTED, *RECORDED)]


def of_arms(trace: Trace, arms: ArmSet) -> pl.DataFrame:
    """The events of all runs of some arms, with the arm's token as `run_id`, as `merge.series` does."""
    runs = [(run, arm) for arm in arms for run in arm.runs]
    if runs and len(runs) == len(arms):  # the questions of the charts of their layers
        events = pl.concat(
            trace.ask(event_queries.events, run).select(pl.lit(run.run_id).alias("run_id"), pl.all())
            for run in arms.runs
        )
    else:
        events = trace.ask(event_queries.events_of_runs, arms.runs)
    rows = [(run.run_id, arm.token, f", seed {run.seed}" if arm.is_group else "") for run, arm in runs]
    names = pl.DataFrame(rows, schema=dict.fromkeys(("run_id", "arm", "seed"), pl.String), orient="row")
    joined = events.join(names, on="run_id", how="inner", maintain_order="left")
    detail = pl.col("detail").fill_null("") + pl.col("seed")
    return joined.with_columns(run_id="arm", detail=detail).drop("arm", "seed")


def over_time(
    trace: Trace, arms: ArmSet, settings: OverTime, lines: pl.DataFrame
) -> tuple[pl.DataFrame | None, str]:
    """The events marked above a chart over training, and what its marks mean; None and "" for no marks.

    lines: as `of_lines` takes them.
    """
    if not settings.marks or settings.x != "step":
        return None, ""
    return of_lines(of_arms(trace, arms), lines)


def legend(kinds: Iterable[str]) -> str:
    """Key to the symbols, e.g. `▼ collapse · ★ loss spike`; empty without events."""
    present = set(kinds)
    order = [kind for kind in _KNOWN if kind in present] + sorted(present - set(_KNOWN))
    return " · ".join(f"{event_marks.glyph(kind).letter} {event_name(kind)}" for kind in order)


def marks_note(events: pl.DataFrame, *, several: bool = False, since: int | None = None) -> str:
    """Sentence that explains the marks of a chart; empty without marks.

    several: the figure shows several runs, and so their important events only. since: its first step.
    """
    marks = events if since is None else events.filter(pl.col("step") >= since)
    if several:
        marks = marks.filter(pl.col("kind").is_in(event_marks.IMPORTANT))
    if marks.is_empty():
        return ""
    note = f" Marks at the top: {legend(marks['kind'])}"
    steps = marks["step"].to_list()
    length = float(max(steps) - min(steps))
    parts = marks.partition_by("run_id") if "run_id" in marks.columns else [marks]
    groups = [group for part in parts for group in event_marks.grouped(part, length)]
    if any(group["kind"].n_unique() > 1 for group in groups):
        note += f" · {event_marks.MIXED.letter} of several kinds"
    if any(group.height > 1 for group in groups):
        note += "; a number counts events close together"
    return f"{note}."


def of_lines(events: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The events that a line chart marks, and the sentence that explains the marks.

    events: of `of_arms`. lines: the rows that are drawn, with run_id, first_step and last_step. A run without
    a line has no marks either.
    """
    runs = lines["run_id"].unique().to_list()
    steps = (lines["first_step"].min(), lines["last_step"].max())
    marks = events.filter(pl.col("run_id").is_in(runs), pl.col("step").is_between(*steps))
    return marks, marks_note(marks, several=len(runs) > 1)


def of_layer(trace: Trace, run: Run, layer: int) -> pl.DataFrame:
    """The events of one layer of a run and those that concern no layer."""
    return event_marks.of_layer(trace.ask(event_queries.events, run), layer)


def arm_sentence(arm: Arm, counts: pl.DataFrame) -> str:
    """What happened in an arm: `collapse in layers 1, 2 (of 4), first at step 61; one death of an expert, …`.

    counts: columns of `queries.event_counts`.
    """
    mine = counts.filter(pl.col("run_id").is_in(arm.run_ids))
    kinds = mine["kind"].unique().to_list()
    order = mine.group_by("kind").agg(pl.col("first_step").min()).sort("first_step", "kind")["kind"]
    kinds_with_sentence = [kind for kind in order if kind in _KNOWN]
    parts = [_kind_sentence(arm, kind, mine.filter(pl.col("kind") == kind)) for kind in kinds_with_sentence]
    if arm.first.has_loads:
        missing = (("collapse", NO_COLLAPSE), ("death", NO_DEATH))
        parts += [words for kind, words in missing if kind not in kinds]
    others = int(mine.filter(~pl.col("kind").is_in(_KNOWN))["events"].sum())
    if others:
        parts.append(f"{others} other recorded event{'s' * (others > 1)}")
    return "; ".join(parts) if parts else "no events"


_OF_LAYERS = ("collapse", "oscillation", "bias_saturation", "choices_settled")
_OF_EXPERTS = ("death", "revival")
_STATES = ("loss_not_finite", "bias_not_finite")


def _kind_sentence(arm: Arm, kind: str, rows: pl.DataFrame) -> str:
    """One kind in all runs of an arm."""
    number, step = int(rows["events"].sum()), int(rows["first_step"].min())  # type: ignore[arg-type]
    name = event_name(kind)
    if arm.is_group:
        return f"{name} in {rows.height} of {len(arm.runs)} seeds, first at step {step}"
    if kind in _STATES:
        times = "" if number == 1 else f" {number} times"
        return f"{name}{times}, first at step {step}"
    if kind in _OF_LAYERS:
        layers = [int(layer) for layer in rows["layers"][0]]
        which = f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, sorted(layers)))}"
        text = f"{name} in {which} ({arm.first.of_layers})"
    elif number == 1:
        return f"one {name}{' of an expert' * (kind in _OF_EXPERTS)}, at step {step}"
    else:
        plural = "recoveries" if kind == "recovery" else f"{name}s"
        text = f"{number} {plural}{' of experts' * (kind in _OF_EXPERTS)}"
    return f"{text}, first at step {step}"
