"""MaxVio over training with the random-routing baselines, the same on every page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
MAX_VIO = "MaxVio is the busiest expert's load relative to the uniform load, minus 1, averaged over layers"
FLOOR = "Tokens of one text are alike, so even a perfectly balanced router averages no lower than the"
BAND = "The band spans the seeds, or, for a single seed, the steps behind each point"


@dataclass(frozen=True, kw_only=True)
class MaxVioSettings(OverTime):
    """How MaxVio over training is drawn."""

    subject: str = "MaxVio over training"
    independent_only: bool = False
    """Draw the baseline of independent tokens alone, without that of whole sequences."""
    baselines_of: str | None = None
    """Token of the arm that the baselines are taken from; None: the best balanced one that has some."""
    mean100: bool = False
    """Add the mean over the last 100 steps, as the paper draws it."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Random-routing baselines, (mean, 95th percentile) each, averaged over the seeds of one arm."""

    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """`uniform` and `resampled`, over the last 100 steps: as `charts.balance` takes them."""
    held_out: tuple[float, float] | None = None
    """As uniform, for the tokens of the held-out text."""
    curve: pl.DataFrame | None = None
    """Columns of `queries.balance.uniform_series` where the tokens per step change, so that no level line is
    right; averaged over seeds."""
    arm: str = ""
    """Token of the arm whose lines these are."""
    is_shared: bool = True
    """Whether every arm has a baseline of independent tokens of its own, which is then this one."""
    missing: str = ""
    """Why a line is left out; a sentence."""

    @property
    def has_line(self) -> bool:
        """Whether there is a baseline of independent tokens to draw."""
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
    if len(of) < len(arms):
        baselines = replace(baselines, is_shared=False)
    levels = baselines.levels
    if settings.independent_only:
        levels = {kind: pair for kind, pair in levels.items() if kind == "uniform"}
    marked, marks = events.over_time(trace, arms, settings, frame)
    chart = balance.max_vio_curves(
        frame,
        labels=arms.names,
        families=arms.families,
        scopes=arms.scopes,
        references=levels,
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
            frame,
            labels=arms.names,
            references=_comparable(baselines, settings),
            baseline_of=baselines.arm,
        ),
        how=_how(arms, baselines, settings) + marks,
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def max_vio_of_batches(store: Store, arms: ArmSet, settings: MaxVioSettings) -> Panel:
    """MaxVio of every training batch for arms of one run each, as the Loss-Free Balancing paper draws it.

    The table has the columns of `queries.balance.max_vio_series`, tokens per step among them.
    """
    panel = max_vio(store, arms, settings)
    series = Trace(store).ask(queries.max_vio_series, arms.runs, None, settings.bins, settings.x)
    return replace(panel, table=series)


def overview(store: Store, arms: ArmSet, settings: OverTime) -> Panel:
    """The picture of the Overview: MaxVio over training steps in thick lines, with one baseline."""
    trace = Trace(store)
    frame = curve(trace, arms, settings)
    baselines = random_baselines(trace, arms, of_sequences=False)
    level = baselines.levels.get("uniform")
    chart = story.story(
        frame,
        labels=arms.names,
        families=arms.families,
        scopes=arms.scopes,
        reference=level and level[0],
        curve=baselines.curve,
    )
    finding = captions.final_imbalance(frame, arms.names, level and level[0])
    line = line_note(baselines, arms.names)
    return Panel(
        subject="Imbalance (MaxVio) over training steps",
        finding=finding,
        how=f"{MAX_VIO}: 0 is perfectly balanced, 1 is twice the uniform load. {line} {_sizes(arms)}",
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def floor_of_sequences(store: Store, arms: ArmSet) -> str:
    """A sentence on the whole-sequence baseline, for a page whose chart draws that of independent tokens.

    Empty without one. The baseline is simulated, so a page states it after its first chart, which must not
    wait for it.
    """
    baselines = random_baselines(Trace(store), arms)
    level = baselines.levels.get("resampled")
    if level is None:
        return ""
    return (
        f"{FLOOR} random-routing baseline of whole sequences: {captions.number(level[0])} for "
        f"“{arms.names[baselines.arm]}”, averaged over layers and seeds."
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
            "thin lines are single steps."
        )
    note = line_note if settings.independent_only else lines_note
    parts.append(note(baselines, arms.names))
    if settings.until is not None:
        parts.append(f"Shown up to step {settings.until}.")
    return " ".join(parts)


def _sizes(arms: ArmSet) -> str:
    """The preset and seeds of the runs in the Overview's chart."""
    first = arms.arms[0].first
    most = max(len(arm.runs) for arm in arms)
    seeds = f"mean of {most} seeds" if most > 1 else "one seed per line"
    return f"Preset {first.preset or 'custom'}: {first.sizes}; {seeds}."


def random_baselines(
    trace: Trace, arms: ArmSet, *, x: Axis = "step", bins: int = 300, of_sequences: bool = True
) -> Baselines:
    """The baselines of the best balanced arm that has some; none where the arms have different sizes.

    Expert choice is balanced by construction, so its lines are drawn only where no other arm has any. The
    second line resamples whole sequences of a run as if every expert's expected load were equal. A collapsed
    run has too few active experts for that, so it gives no such line. A mean over seeds is compared with the
    mean of the seeds' own baselines. of_sequences: False leaves out the second line, whose simulation takes
    most of the time.
    """
    candidates = arms.with_loads().arms
    if not candidates:
        return Baselines(missing="No random-routing baseline: none of these runs has experts.")
    # The panel is to name the statements of the arm that gives the lines, not those of the search for it.
    search = Trace(trace.store)
    options = {} if of_sequences and len(candidates) == 1 else {"resampled": False}
    references = {arm.token: _references(search, arm, **options) for arm in candidates}
    reason = _why_none(candidates, references)
    if reason:
        return Baselines(missing=f"No random-routing baseline: {reason}.")
    with_line = [arm for arm in candidates if "uniform_mean" in references[arm.token]]
    by_tokens = [arm for arm in with_line if arm.family != "expert_choice"]
    best = min(by_tokens or with_line or candidates, key=lambda arm: _mean_max_vio(search, arm))
    # The plain question is the one that the server has asked before the visit: `ui.warm_up`.
    own = _references(trace, best, **({} if of_sequences else {"resampled": False}))
    pairs = {kind: (own[f"{kind}_mean"], own[f"{kind}_p95"]) for kind in KINDS if f"{kind}_mean" in own}
    held_out = pairs.pop("held_out", None)
    missing = "" if with_line else "No random-routing baseline: no tokens were counted in the last steps."
    if of_sequences and with_line and _is_collapsed(search, best):
        pairs.pop("resampled", None)
        missing = "The baseline of whole sequences is left out, since the run has collapsed."
    return Baselines(
        levels=pairs,
        held_out=held_out,
        curve=_baseline_curve(trace, best, x, bins),
        arm=best.token,
        is_shared=len(with_line) == len(candidates),
        missing=missing,
    )


def line_note(baselines: Baselines, labels: Mapping[str, str]) -> str:
    """What the dashed line of a chart is that draws independent tokens alone, or why there is none."""
    if not baselines.has_line:
        return baselines.missing
    whose = "" if baselines.is_shared else f" for “{labels[baselines.arm]}”"
    return f"The dashed line is the random-routing baseline of independent tokens{whose}."


def lines_note(baselines: Baselines, labels: Mapping[str, str]) -> str:
    """What the dashed lines are in a chart of both baselines, and whose: sequences are an arm's own."""
    if "resampled" in baselines.levels:
        whose = f" for “{labels[baselines.arm]}”" if len(labels) > 1 else ""
        baselines_of = "independent tokens and of whole sequences"
        return (
            f"The dashed lines are the random-routing baselines of {baselines_of}{whose}. {FLOOR} line of "
            "whole sequences."
        )
    note = line_note(baselines, labels)
    return f"{note} {baselines.missing}" if baselines.has_line and baselines.missing else note


def _references(trace: Trace, arm: Arm, **settings: bool) -> dict[str, float]:
    """`queries.references` averaged over seeds; a value that any seed lacks is left out."""
    rows = [trace.ask(queries.references, run, **settings) for run in arm.runs]
    result = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        if len(values) == len(rows):
            result[name] = sum(values) / len(values)
    return result


def _why_none(arms: Sequence[Arm], references: Mapping[str, Mapping[str, float]]) -> str:
    """Why these arms have no baseline in common; empty where they have one."""
    sizes = {(a.first.num_experts, a.first.top_k, a.first.num_moe_layers) for a in arms}
    if len(sizes) > 1:
        return "these runs have different numbers of MoE layers, experts or experts per token"
    if any(arm.first.experts_per_layer is not None for arm in arms):
        return "layers have different numbers of experts"
    if not any(references.values()):
        if not all(next(iter(sizes))):
            return "the numbers of experts and of experts per token are not recorded"
        return "the number of experts varies between tokens"
    counted = [tokens for arm in arms if (tokens := references[arm.token].get("tokens"))]
    if not counted or max(counted) <= (1 + SAME_TOKENS) * min(counted):
        return ""
    steps = {arm.first.tokens_per_step for arm in arms}
    dropped = ", since dropped slots are not counted" if len(steps) == 1 and any(steps) else ""
    return (
        f"these runs count different numbers of tokens per step ({min(counted):,.0f} to "
        f"{max(counted):,.0f}{dropped})"
    )


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
