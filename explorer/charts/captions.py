"""Sentences computed from the frame that a figure shows: what *this* data says, never a promise.

They serve as captions, as `alt` text and on slides. Plain text, no markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from explorer.charts.balance import reference_pairs
from explorer.charts.theme import FAMILY_LABELS

BASELINES = {"uniform": "independent tokens", "resampled": "whole sequences"}
"""What is drawn at random in each baseline."""

NOTHING = "Nothing has been recorded for this view yet."


def number(value: float) -> str:
    """Three significant digits at most, without an exponent where people read one badly."""
    size = float(f"{abs(value):.3g}")
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.2f}"
    return f"{value:.2g}"


def times(ratio: float) -> str:
    """A multiple of a simulated baseline: two significant digits, as many as the simulation supports."""
    size = float(f"{ratio:.2g}")
    return f"{size:,.0f}×" if size >= 10 else f"{size:.1f}×" if size >= 1 else f"{size:.2g}×"


def _join(parts: Sequence[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def load_heatmap(frame: pl.DataFrame, playhead: float | None = None) -> str:
    """The busiest expert and the number of dead ones in the bin of the playhead (or the last one)."""
    if frame.is_empty():
        return NOTHING
    inside = frame.filter(pl.col("first_step") <= (playhead if playhead is not None else float("inf")))
    part = (frame if inside.is_empty() else inside).filter(pl.col("first_step") == pl.col("first_step").max())
    return _loads(part, int(part["first_step"][0]), int(part["last_step"][0]))


def load_bars(frame: pl.DataFrame) -> str:
    """The same for one step."""
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
        return f"{when} no expert received a token."
    top = live.sort("load_ratio", descending=True).row(0, named=True)
    dead = part.height - live.height
    tail = f"{dead} of {part.height} receive none" if dead else f"none of the {part.height} is idle"
    return f"{when} expert {top['expert']} takes {number(top['load_ratio'])} times its uniform share; {tail}."


def compare_heatmaps(frames: Mapping[str, pl.DataFrame]) -> str:
    """The busiest expert of every run in its last bin, whose steps are named."""
    parts, spans = [], set()
    for label, frame in frames.items():
        if frame.is_empty():
            continue
        last = frame.filter(pl.col("first_step") == pl.col("first_step").max())
        top = last["load_ratio"].fill_nan(None).max()
        spans.add((int(last["first_step"][0]), int(last["last_step"][0])))
        dead = int((last["tokens"] <= 0).sum())
        idle = f" ({dead} of {last.height} experts idle in these steps)" if dead else ""
        parts.append(f"{number(float(top))} times uniform with {label}{idle}")  # type: ignore[arg-type]
    if not parts:
        return NOTHING
    first, final = min(spans)
    when = "At the end" if len(spans) > 1 else _when(first, final)
    return f"{when} the busiest expert takes {_join(parts)}."


def bias_trajectories(frame: pl.DataFrame) -> str:
    """How far apart the biases have come."""
    if frame.is_empty() or frame["bias_mean"].null_count() == frame.height:
        return "This run has no bias rule, so there are no biases to show."
    column = "bias_last" if "bias_last" in frame.columns else "bias_mean"
    last = frame.filter(pl.col("first_step") == pl.col("first_step").max()).drop_nulls(column).sort(column)
    low, high = last.row(0, named=True), last.row(-1, named=True)
    spread = high[column] - low[column]
    wide = " That is more than any two scores can differ: the bias alone decides." if spread > 1 else ""
    return (
        f"At step {int(high['last_step'])} the biases span {number(spread)}: expert {high['expert']} "
        f"is helped most ({high[column]:+.3f}), expert {low['expert']} held back most "
        f"({low[column]:+.3f}).{wide}"
    )


def max_vio_curves(
    frame: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    references: Mapping[str, Any] | None = None,
) -> str:
    """Where every run ends, lowest first, and how the lowest compares with the baselines of random routing.

    The end is the mean over the last 100 recorded steps where the frame has it: figures with other bins
    then say the same of the same runs.
    """
    smooth = "max_vio_mean100" in frame.columns
    ends = _ends(frame, "max_vio_mean100" if smooth else "max_vio")
    if not ends:
        return NOTHING
    names = labels or {}
    ordered = sorted(ends.items(), key=lambda item: item[1][1])
    (best_id, (step, best)), rest = ordered[0], ordered[1:]
    when = f"After {step + 1} steps"
    if smooth:
        when = "Over the last 100 steps" if step >= 99 else "Over all steps"
    text = f"{when} {names.get(best_id, best_id)} sits at MaxVio {number(best)}"
    known = reference_pairs(references)
    chance: list[str] = []
    for kind in (kind for kind in BASELINES if kind in known):
        named = "that" if chance else "the random-routing baseline"
        chance.append(f"{times(best / known[kind][0])} {named} of {BASELINES[kind]}")
    if chance:
        text += f", {_join(chance)}"
    others = [f"{names.get(run_id, run_id)} at {number(value)}" for run_id, (_, value) in rest[:4]]
    return text + (f"; {_join(others)}." if others else ".")


def _ends(frame: pl.DataFrame, column: str) -> dict[str, tuple[int, float]]:
    """run_id -> (last step, last finite value)."""
    if frame.is_empty():
        return {}
    usable = frame.filter(pl.col(column).cast(pl.Float64).is_finite()).sort("x")
    last = usable.group_by("run_id", maintain_order=True).last()
    return {r: (int(s), float(v)) for r, s, v in last.select("run_id", "last_step", column).rows()}


def loss_curves(
    train: pl.DataFrame,
    evals: pl.DataFrame | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    domain: str = "all",
) -> str:
    """Held-out perplexity at the end, or that of training where nothing was held out."""
    names = labels or {}
    held = None if evals is None else evals.filter(pl.col("domain") == domain)
    if held is not None and not held.is_empty():
        last = held.sort("step").group_by("run_id", maintain_order=True).last()
        ends, what = dict(last.select("run_id", "perplexity").rows()), "Held-out"
    else:
        ends = {run_id: value for run_id, (_, value) in _ends(train, "perplexity").items()}
        what = "Training"
    parts = [
        f"{number(v)} with {names.get(r, r)}" for r, v in sorted(ends.items(), key=lambda item: item[1])[:5]
    ]
    return f"{what} perplexity ends at {_join(parts)}." if parts else NOTHING


def paired_differences(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many comparisons there are, and which of them are significant: together, alone, or not.

    Rows may carry `survives` (Holm's correction over the family that they belong to) and `comparisons` (its
    size); without, a row stands alone.
    """
    if not rows:
        return "There is no pair of runs with equal seeds."
    family = max(int(row.get("comparisons", 1)) for row in rows)
    stays = [row for row in rows if row.get("survives", row["resolved"])]
    falls = [row for row in rows if row["resolved"] and row not in stays]
    open_ = [row for row in rows if not row["resolved"]]
    together = f" among {family} comparisons (Holm, 5 % in all)" if family > 1 else " (95 % CI excludes 0)"
    parts = []
    if stays:
        parts.append(f"Significant{together}: {_join([_difference(row) for row in stays])}")
    if falls:
        parts.append(
            f"Significant alone (95 % CI excludes 0) but not{together}: "
            f"{_join([_difference(row) for row in falls])}"
        )
    if open_:
        parts.append(f"Not significant: {_join([_named(row) for row in open_])}")
    return ". ".join(parts) + "."


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['metric']} with {row['arm']}"


def _difference(row: Mapping[str, Any]) -> str:
    return f"{_named(row)} ({float(row['mean']):+.3g})"


def domain_expert_heatmap(frame: pl.DataFrame) -> str:
    """The strongest specialist."""
    live = frame.filter(pl.col("tokens") > 0) if not frame.is_empty() else frame
    if live.is_empty():
        return NOTHING
    top = live.sort("load_ratio", descending=True).row(0, named=True)
    times = number(top["load_ratio"])
    return f"Expert {top['expert']} takes {times} times its uniform share of {top['domain']}."


def story(frame: pl.DataFrame, *, families: Mapping[str, str] | None = None) -> str:
    """The picture of the Overview in one sentence."""
    ends = _ends(frame, "max_vio")
    if not ends:
        return NOTHING
    names = {run_id: FAMILY_LABELS.get((families or {}).get(run_id, ""), run_id) for run_id in ends}
    return max_vio_curves(frame, labels=names)


def alt_text(subject: str, sentence: str) -> str:
    """The accessible name of a figure: what it is of, then what it says."""
    return f"{subject}: {sentence[0].lower() + sentence[1:] if sentence else 'no data.'}"
