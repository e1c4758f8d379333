"""MaxVio over training, and what random routing would show: the same curve and baselines wherever drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from explorer.charts import balance, captions, story
from explorer.charts import spec as specs
from explorer.charts.theme import AXIS
from explorer.figures import events, merge
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.panel import Panel
from explorer.figures.settings import Axis, OverTime
from explorer.figures.store import Store, Trace
from explorer.queries import balance as queries

KINDS = ("uniform", "resampled", "held_out")
SAME_TOKENS = 0.01
"""Arms whose tokens per step differ by a larger share have no baseline in common."""
MAX_VIO = "MaxVio is the busiest expert's load relative to the mean load, minus 1, averaged over layers"
BAND = "The band spans the seeds, or, for a single seed, the steps behind each point"


@dataclass(frozen=True, kw_only=True)
class MaxVioSettings(OverTime):
    """How MaxVio over training is drawn."""

    subject: str = "MaxVio over training"
    independent_only: bool = False
    """Draw the baseline of independent tokens alone, without that of whole sequences."""
    baselines_of: str | None = None
    """Token of the arm that the baselines are taken from; None: the best balanced one."""
    mean100: bool = False
    """Add the mean over the last 100 steps, as the paper draws it."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What chance alone would show, (mean, 95th percentile) each, means over the seeds of one arm."""

    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """`uniform` and `resampled`, over the last 100 steps: as `charts.balance` takes them."""
    held_out: tuple[float, float] | None = None
    """As uniform, for the tokens of the held-out text."""
    curve: pl.DataFrame | None = None
    """Columns of `queries.balance.uniform_series` where the tokens per step change, so that no level line is
    right; averaged over seeds."""
    missing: str = ""
    """Why a line is left out; a sentence."""

    @property
    def has_line(self) -> bool:
        """Whether a chart can show the baseline of independent tokens."""
        return "uniform" in self.levels or self.curve is not None


def max_vio(store: Store, arms: ArmSet, settings: OverTime) -> Panel:
    """MaxVio of every training step, one line per arm, with the random-routing baselines.

    settings: `OverTime`, or `MaxVioSettings` for more choices.
    """
    settings = _with_defaults(settings)
    trace = Trace(store)
    frame = curve(trace, arms, settings)
    of = [arm for arm in arms if settings.baselines_of in (None, arm.token)]
    baselines = random_baselines(trace, arms.only(of), x=settings.x, bins=settings.bins)
    drawn = baselines.levels
    if settings.independent_only:
        drawn = {kind: pair for kind, pair in drawn.items() if kind == "uniform"}
    marked, marks = events.over_time(trace, arms, settings)
    chart = balance.max_vio_curves(
        frame,
        labels=arms.labels,
        families=arms.families,
        references=drawn,
        curve=None if baselines.curve is None else merge.up_to(baselines.curve, settings.until),
        x_title=AXIS[settings.x],
        events=marked,
        log_y=settings.log_y,
        mean100=settings.mean100,
        height=settings.height,
    )
    return Panel(
        subject=settings.subject,
        finding=captions.max_vio_curves(
            frame, labels=arms.labels, references=_comparable(baselines, settings)
        ),
        how=_how(arms, baselines, settings) + marks,
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def overview(store: Store, arms: ArmSet, settings: OverTime) -> Panel:
    """The picture of the Overview: MaxVio over training steps in thick lines, with one baseline."""
    trace = Trace(store)
    frame = curve(trace, arms, settings)
    baselines = random_baselines(trace, arms)
    level = baselines.levels.get("uniform")
    marked, marks = events.over_time(trace, arms, settings)
    chart = story.story(
        frame,
        labels=arms.labels,
        families=arms.families,
        reference=level and level[0],
        curve=baselines.curve,
        events=marked,
    )
    line = " The dashed line is the random-routing baseline of independent tokens." * baselines.has_line
    return Panel(
        subject="Imbalance (MaxVio) over training steps",
        finding=captions.max_vio_curves(frame, labels=arms.labels, references=baselines.levels),
        how=f"{MAX_VIO}: 0 is perfectly balanced, 1 is twice the mean.{line} {_sizes(arms)}{marks}",
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def curve(trace: Trace, arms: ArmSet, settings: OverTime) -> pl.DataFrame:
    """MaxVio over training, averaged over the seeds of each arm; columns of `merge.series`."""
    series = trace.ask(queries.max_vio_series, arms.runs, None, settings.bins, settings.x)
    return merge.up_to(merge.series(series, arms.arms, ["max_vio"], merge.ENDS), settings.until)


def _with_defaults(settings: OverTime) -> MaxVioSettings:
    if isinstance(settings, MaxVioSettings):
        return settings
    return MaxVioSettings(**vars(settings))


def _comparable(baselines: Baselines, settings: OverTime) -> Mapping[str, tuple[float, float]]:
    """The baselines that the last drawn step is compared with.

    They are those of the end of training, so an earlier step has none but that of independent tokens, and
    only where the tokens per step stay the same.
    """
    if settings.until is None:
        return baselines.levels
    if baselines.curve is not None:
        return {}
    return {kind: pair for kind, pair in baselines.levels.items() if kind == "uniform"}


def _how(arms: ArmSet, baselines: Baselines, settings: MaxVioSettings) -> str:
    """How to read the chart: the quantity, the band, the baselines, and where the curves end."""
    parts = [f"{MAX_VIO}: 0 is perfectly balanced. {BAND}."]
    if settings.mean100:
        parts.append(
            "Bold lines are means over the last 100 steps (fewer at the start), as the paper draws them; "
            "thin lines are the steps themselves."
        )
    of = "" if settings.baselines_of is None else f" of {arms.labels[settings.baselines_of]}"
    if settings.independent_only:
        if baselines.has_line:
            parts.append(f"The dashed line is the random-routing baseline of independent tokens{of}.")
    else:
        parts.append(baselines.missing or f"Dashed lines are the random-routing baselines{of}.")
    if settings.until is not None:
        parts.append(f"Shown up to step {settings.until}.")
    return " ".join(parts)


def _sizes(arms: ArmSet) -> str:
    """Which runs the picture of the Overview shows."""
    first = arms.arms[0].first
    most = max(len(arm.runs) for arm in arms)
    seeds = f"mean of {most} seeds" if most > 1 else "one seed per line"
    return f"Preset {first.preset or 'custom'}: {first.sizes}; {seeds}."


def random_baselines(trace: Trace, arms: ArmSet, *, x: Axis = "step", bins: int = 300) -> Baselines:
    """The random-routing baselines of the best balanced arm; none where the arms have different sizes.

    The second line resamples whole sequences of a run as if every expert's expected load were equal. A
    collapsed run has too few active experts for that, so it gives no such line. A mean over seeds is
    compared with the mean of the seeds' own baselines.
    """
    candidates = arms.with_loads().arms
    if not candidates:
        return Baselines()
    # The panel is to name the statements of the arm that gives the lines, not those of the search for it.
    search = Trace(trace.store)
    references = {arm.token: _references(search, arm) for arm in candidates}
    if _differ_in_size(candidates, [references[arm.token].get("tokens") for arm in candidates]):
        return Baselines(missing="No random-routing baseline: these runs have different sizes.")
    if any(arm.first.experts_per_layer is not None for arm in candidates):
        return Baselines(missing="No random-routing baseline: layers have different numbers of experts.")
    best = min(candidates, key=lambda arm: _mean_max_vio(search, arm))
    own = _references(trace, best)
    pairs = {kind: (own[f"{kind}_mean"], own[f"{kind}_p95"]) for kind in KINDS if f"{kind}_mean" in own}
    held_out = pairs.pop("held_out", None)
    missing = ""
    if _is_collapsed(search, best):
        pairs.pop("resampled", None)
        missing = (
            "The dashed line is the random-routing baseline of independent tokens; that of whole sequences "
            "is left out, since all of these runs have collapsed."
        )
    return Baselines(
        levels=pairs, held_out=held_out, curve=_baseline_curve(trace, best, x, bins), missing=missing
    )


def _references(trace: Trace, arm: Arm) -> dict[str, float]:
    """`queries.references` averaged over seeds; a value that any seed lacks is left out."""
    rows = [trace.ask(queries.references, run) for run in arm.runs]
    result = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        if len(values) == len(rows):
            result[name] = sum(values) / len(values)
    return result


def _differ_in_size(arms: Sequence[Arm], tokens: Sequence[float | None]) -> bool:
    sizes = {(a.first.num_experts, a.first.top_k, a.first.num_moe_layers) for a in arms}
    counts = [n for n in tokens if n]
    return len(sizes) > 1 or (len(counts) > 1 and max(counts) > (1 + SAME_TOKENS) * min(counts))


def _baseline_curve(trace: Trace, arm: Arm, x: Axis, bins: int) -> pl.DataFrame | None:
    series = pl.concat([trace.ask(queries.uniform_series, run, bins, x) for run in arm.runs])
    if series.is_empty() or series["tokens"].n_unique() == 1:
        return None
    means = pl.col("x", "tokens", "uniform_mean", "uniform_p95").mean()
    return (
        series.group_by("bin").agg(pl.col("first_step").min(), pl.col("last_step").max(), means).sort("bin")
    )


def _is_collapsed(trace: Trace, arm: Arm) -> bool:
    # Not whether it ever was: the sequences are those of its last quarter.
    active = trace.ask(queries.layer_balance, arm.runs)["effective_experts"]
    return bool((active <= arm.first.num_experts / 2).any())


def _mean_max_vio(trace: Trace, arm: Arm) -> float:
    """MaxVio of the last steps of the arm's runs; infinite where it is not recorded."""
    values = trace.ask(queries.layer_balance, arm.runs)["max_vio_batch"].drop_nulls().drop_nans()
    return float(values.mean()) if len(values) else math.inf  # type: ignore[arg-type]
