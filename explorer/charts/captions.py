"""Findings: sentences computed from the frame that a chart shows.

They serve as captions, as `alt` text and on slides. Plain text, no markup.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from explorer.charts.balance import reference_pairs
from explorer.wording import and_list, counted, domain_name, signed

BASELINES = {"uniform": "independent tokens", "resampled": "whole sequences"}
"""What is drawn at random in each baseline."""

NOTHING = "Nothing has been recorded for this view yet."


def number(value: float) -> str:
    """Three significant digits at most, without an exponent where people read one badly; or `not finite`."""
    if not math.isfinite(value):
        return "not finite"
    size = float(f"{abs(value):.3g}")
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.2f}"
    if size >= 1e-6:
        return _decimal(float(f"{value:.2g}"))
    digits, _, power = f"{value:.2g}".partition("e")
    return f"{digits}·10{str(int(power)).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _decimal(value: float) -> str:
    """All digits of a small number: `0.00008`, where Python writes 8e-05."""
    return f"{value:.10f}".rstrip("0")


def times(ratio: float) -> str:
    """A multiple of a simulated baseline: two significant digits, as many as the simulation supports."""
    size = float(f"{ratio:.2g}")
    return f"{size:,.0f}×" if size >= 10 else f"{size:.1f}×" if size >= 1 else f"{size:.2g}×"


def load_heatmap(frame: pl.DataFrame, playhead: float | None = None) -> str:
    """The busiest expert and the number of idle ones in the bin of the playhead (or the last one)."""
    if frame.is_empty():
        return NOTHING
    inside = frame.filter(pl.col("first_step") <= (playhead if playhead is not None else float("inf")))
    part = (frame if inside.is_empty() else inside).filter(pl.col("first_step") == pl.col("first_step").max())
    return _loads(part, int(part["first_step"][0]), int(part["last_step"][0]))


def load_bars(frame: pl.DataFrame) -> str:
    """The busiest expert and the number of idle ones at one step."""
    if frame.is_empty():
        return NOTHING
    step = int(frame["step"][0]) if "step" in frame.columns else None
    return _loads(frame, step, step)


def _when(first: int | None, last: int | None) -> str:
    return "Here" if first is None else f"At step {first}" if first == last else f"In steps {first} to {last}"


def _loads(part: pl.DataFrame, first: int | None, last: int | None) -> str:
    when = _when(first, last)
    live = part.filter(pl.col("tokens") > 0)
    if live.is_empty():
        return f"{when}, this layer has no tokens: none were routed, or none recorded."
    top = live.sort("load_ratio", descending=True).row(0, named=True)
    dead = part.height - live.height
    tail = f"idle experts: {dead} of {part.height}" if dead else "no expert is idle"
    return f"{when}, expert {top['expert']} receives {number(top['load_ratio'])}× the uniform load; {tail}."


def compare_heatmaps(frames: Mapping[str, pl.DataFrame]) -> str:
    """The busiest expert of every run in its last bin, whose steps are named."""
    parts: list[str] = []
    spans: set[tuple[int, int]] = set()
    for label, frame in frames.items():
        if frame.is_empty():
            continue
        last = frame.filter(pl.col("first_step") == pl.col("first_step").max())
        top = last["load_ratio"].fill_nan(None).max()
        spans.add((int(last["first_step"][0]), int(last["last_step"][0])))
        dead = int((last["tokens"] <= 0).sum())
        idle = f" ({dead} of {last.height} experts idle in these steps)" if dead else ""
        unit = "×" if parts else "× the uniform load"
        parts.append(f"{number(float(top))}{unit} with {label}{idle}")  # type: ignore[arg-type]
    if not parts:
        return NOTHING
    first, final = min(spans)
    when = "At the end" if len(spans) > 1 else _when(first, final)
    return f"{when}, the busiest expert receives {and_list(parts)}."


def bias_trajectories(frame: pl.DataFrame, *, gap: float | None = None, is_rule_known: bool = True) -> str:
    """Range of the final biases, and the experts whose biases are not finite.

    gap: bias difference beyond which scores cannot decide; None if there is none: `routing.outranking`.
    is_rule_known: an imported run without biases may still have a bias rule.
    """
    column = "bias_last" if "bias_last" in frame.columns else "bias_mean"
    if frame.is_empty() or frame[column].null_count() == frame.height:
        no_rule = "This run has no bias rule, so there are no biases to show."
        return no_rule if is_rule_known else "No biases are recorded for this run."
    last = frame.filter(pl.col("first_step") == pl.col("first_step").max()).drop_nulls(column)
    last = last.sort(column, "expert")
    step = int(frame["last_step"].max())  # type: ignore[arg-type]
    finite_rows = last.filter(pl.col(column).is_finite())
    odd = _odd_biases(frame, last.filter(~pl.col(column).is_finite())["expert"].to_list())
    if finite_rows.is_empty():
        return f"At step {step}, no bias is finite.{odd}"
    low, high = finite_rows.row(0, named=True), finite_rows.row(-1, named=True)
    spread = high[column] - low[column]
    if spread == 0:
        which = "All finite biases" if odd and finite_rows.height < last.height else "All biases"
        return f"At step {step}, {which[0].lower()}{which[1:]} are equal ({signed(high[column], 3)}).{odd}"
    wide = ""
    if gap is not None and spread > gap:
        wide = " No two scores differ by more than this: between these two experts, the bias alone decides."
    which = "the finite biases span" if odd and finite_rows.height < last.height else "the biases span"
    return (
        f"At step {step}, {which} {number(spread)}: expert {high['expert']} "
        f"has the highest bias ({signed(high[column], 3)}), expert {low['expert']} the lowest "
        f"({signed(low[column], 3)}).{wide}{odd}"
    )


def _odd_biases(frame: pl.DataFrame, ended: Sequence[int]) -> str:
    """Which biases are NaN or infinite: at the end, and before it."""
    earlier: list[int] = []
    if "bias_not_finite" in frame.columns:
        experts_not_finite = frame.filter(pl.col("bias_not_finite") > 0)["expert"].unique().sort().to_list()
        earlier = [expert for expert in experts_not_finite if expert not in ended]
    text = f" Not finite (NaN or infinite) at the end: {experts(sorted(ended))}." if ended else ""
    return text + (f" Not finite at some earlier step: {experts(earlier)}." if earlier else "")


def experts(numbers: Sequence[int]) -> str:
    """`expert 3`, `experts 3 and 5`, `experts 0, 1, 2 and 5 more`; nothing for none."""
    if len(numbers) < 2:
        return "".join(f"expert {number}" for number in numbers)
    few = [str(n) for n in numbers[:4]] if len(numbers) <= 4 else [str(n) for n in numbers[:3]]
    more = [] if len(numbers) <= 4 else [f"{len(numbers) - 3} more"]
    return f"experts {and_list([*few, *more])}"


def max_vio_curves(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    references: Mapping[str, Any] | None = None,
    baseline_of: str = "",
) -> str:
    """Final MaxVio of each run, lowest first, and one of them as a multiple of the random-routing baselines.

    baseline_of: the run whose baselines these are, if they are not those of the lowest one.

    The final value is the mean over the last 100 recorded steps where the frame has it, so that it does not
    depend on the bins of a chart.
    """
    smooth = "max_vio_mean100" in frame.columns
    ends = _ends(frame, "max_vio_mean100" if smooth else "max_vio")
    names = labels or {}
    idle = [names.get(run_id, run_id) for run_id, (_, value) in ends.items() if value is None]
    nothing = f"No token was routed at the end with {and_list(idle)}." if idle else NOTHING
    levels = [(value, run_id, step) for run_id, (step, value) in ends.items() if value is not None]
    if not levels:
        return nothing
    levels.sort(key=lambda end: end[0])
    _, best_id, step = levels[0]
    quantity = f"MaxVio after {counted(step + 1, 'step')}"
    if smooth:
        quantity = "Average MaxVio over " + ("the last 100 steps" if step >= 99 else "all steps")
    values = [f"{number(value)} with {names.get(run_id, run_id)}" for value, run_id, _ in levels[:5]]
    text = f"{quantity}: {and_list(values)}."
    own = baseline_of if baseline_of in ends else best_id
    if chance := _multiples(ends[own][1], references):
        text += (
            f" With {names.get(own, own)}, that is {chance}." if len(levels) > 1 else f" That is {chance}."
        )
    return f"{text} {nothing}" if idle else text


def final_imbalance(frame: pl.DataFrame, names: Mapping[str, str], chance: float | None) -> str:
    """The imbalance of every run over its last 100 steps, lowest first, and that of random routing."""
    ends = {run: value for run, (_, value) in _ends(frame, "max_vio_mean100").items() if value is not None}
    if not ends:
        return NOTHING
    parts = [
        f"{number(ends[run])} with {names.get(run, run)}" for run in sorted(ends, key=lambda run: ends[run])
    ]
    baseline = "" if chance is None else f" Random routing would give {number(chance)}."
    return f"Average imbalance (MaxVio) over the last 100 steps: {', '.join(parts)}.{baseline}"


def _multiples(value: float | None, references: Mapping[str, Any] | None) -> str:
    """`2.6× the random-routing baseline of independent tokens and 1.3× that of whole sequences`.

    Empty for a MaxVio of 0: balanced by construction, not comparable with random draws.
    """
    parts: list[str] = []
    for kind, (mean, _) in reference_pairs(references).items():
        if value and kind in BASELINES:
            named = "that" if parts else "the random-routing baseline"
            parts.append(f"{times(value / mean)} {named} of {BASELINES[kind]}")
    return and_list(parts) if parts else ""


def _ends(frame: pl.DataFrame, column: str) -> dict[str, tuple[int, float | None]]:
    """run_id -> (last step, the value there: None where there is none or it is not finite)."""
    if frame.is_empty():
        return {}
    last = frame.sort("last_step").group_by("run_id", maintain_order=True).last()
    return {
        run_id: (int(step), float(value) if value is not None and math.isfinite(value) else None)
        for run_id, step, value in last.select("run_id", "last_step", column).rows()
    }


def loss_curves(
    train: pl.DataFrame,
    evals: pl.DataFrame | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    domain: str = "all",
) -> str:
    """Final held-out perplexity of each run, or training perplexity where nothing was held out.

    Runs whose loss is NaN or infinite at the end are named in a sentence of their own.
    """
    names = labels or {}
    held = None if evals is None else evals.filter(pl.col("domain") == domain)
    broken = _broken_from(train)
    if held is not None and not held.is_empty():
        last = held.sort("step").group_by("run_id", maintain_order=True).last().drop_nulls("perplexity")
        ends, what = dict(last.select("run_id", "perplexity").rows()), "held-out"
    else:
        rows = train.drop_nulls("perplexity") if "perplexity" in train.columns else train
        ends = {r: math.inf if v is None else v for r, (_, v) in _ends(rows, "perplexity").items()}
        ends, what = {r: v for r, v in ends.items() if r not in broken}, "training"
    finite = {r: v for r, v in ends.items() if math.isfinite(v)}
    parts = [f"{number(v)} with {names.get(r, r)}" for r, v in sorted(finite.items(), key=lambda e: e[1])[:5]]
    sentences = [f"Final {what} perplexity: {and_list(parts)}."] if parts else []
    odd = [names.get(r, r) for r in ends if r not in finite]
    if odd:
        sentences.append(f"The final {what} perplexity is not finite with {and_list(odd)}.")
    return " ".join([*sentences, *_training_breaks(train, broken, names)]) or NOTHING


def _broken_from(train: pl.DataFrame) -> dict[str, int]:
    """run_id -> first step from which no training loss is finite to the end."""
    if "not_finite_from" not in train.columns:
        return {}
    rows = train.select("run_id", "not_finite_from").drop_nulls().unique(maintain_order=True).rows()
    return {run_id: int(step) for run_id, step in rows}


def _training_breaks(
    train: pl.DataFrame, broken: Mapping[str, int], names: Mapping[str, str]
) -> Iterator[str]:
    """Which training losses are not finite: to the end, or in some earlier steps."""
    for run_id, step in broken.items():
        before = train.filter((pl.col("run_id") == run_id) & (pl.col("first_step") < step))
        before = before.filter(pl.col("perplexity").is_finite()).sort("last_step")
        sentence = f"The training loss is not finite from step {step} on with {names.get(run_id, run_id)}"
        if before.height:
            sentence += f"; its last finite perplexity was {number(before['perplexity'][-1])}"
        yield f"{sentence}."
    if "lm_loss_not_finite" in train.columns:
        counts = train.group_by("run_id", maintain_order=True).agg(pl.col("lm_loss_not_finite").sum())
        passing = [(r, n) for r, n in counts.rows() if n and r not in broken]
        parts = [f"{counted(int(n), 'recorded step')} with {names.get(r, r)}" for r, n in passing]
        if parts:
            yield f"The training loss is not finite in {and_list(parts)}, and finite again afterwards."


def paired_differences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the significant differences, those significant only before Holm's correction, and the rest.

    Rows may carry `survives` (significant after Holm's correction over their family) and `comparisons` (the
    size of the family); without them, each row is judged by its own interval.
    """
    if not rows:
        return "There is no pair of runs with equal seeds."
    family = max(int(row.get("comparisons", 1)) for row in rows)
    stays = [row for row in rows if row.get("survives", row["resolved"])]
    falls = [row for row in rows if row["resolved"] and row not in stays]
    open_ = [row for row in rows if not row["resolved"]]
    together = (
        f" after Holm's correction over {family} pairs of arms (5 % per metric)"
        if family > 1
        else " (95 % CI excludes 0)"
    )
    parts = []
    if stays:
        parts.append(f"Significant{together}: {_by_metric(stays, is_valued=True)}")
    if falls:
        then = " after the correction" if stays else together
        parts.append(
            f"Significant on its own (95 % CI excludes 0) but not{then}: {_by_metric(falls, is_valued=True)}"
        )
    if open_:
        parts.append(f"Not significant: {_by_metric(open_, is_valued=False)}")
    return ". ".join(parts) + "."


def _by_metric(rows: Sequence[Mapping[str, Any]], *, is_valued: bool) -> str:
    """`perplexity with quantile (−0.3) and loss-free (−0.2); MaxVio with loss-free (−3.4)`."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        name = str(row.get("name", row["arm"]))
        value = f" ({_signed(float(row['mean']))})" if is_valued else ""
        arms.setdefault(str(row["metric"]), []).append(name + value)
    return "; ".join(f"{metric} with {and_list(names)}" for metric, names in arms.items())


def _signed(value: float) -> str:
    """Three significant digits with a sign, as the chart beside it writes them."""
    return f"{value:+.3g}".replace("-", "−")


def domain_expert_heatmap(frame: pl.DataFrame) -> str:
    """The strongest specialist."""
    live = frame.filter(pl.col("tokens") > 0) if not frame.is_empty() else frame
    if live.is_empty():
        return NOTHING
    top = live.sort("load_ratio", descending=True).row(0, named=True)
    times = number(top["load_ratio"])
    return f"Expert {top['expert']} receives {times}× the uniform load in {domain_name(top['domain'])}."


def alt_text(subject: str, sentence: str) -> str:
    """Accessible name of a chart: its subject, then its finding."""
    return f"{subject}: {sentence[0].lower() + sentence[1:] if sentence else 'no data.'}"
