"""MaxVio against the number of tokens that are counted together, measured and by random routing."""

import json
from collections.abc import Mapping, Sequence

import polars as pl

from explorer import metrics
from explorer.charts import captions, gallery, lessons
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.pairs import Ask
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.queries import balance, comparison
from explorer.queries.health import computation_batches, held_out_figures


def up_to_a_step(store: Store, arms: ArmSet, settings: None) -> Panel:
    """One line per arm (its first run): groups of neighbouring sequences, up to the whole step."""
    trace = Trace(store)
    frame = batch_sizes(trace, [arm.first for arm in arms])
    chart = gallery.batch_sizes(frame, labels=arms.names, families=arms.families, scopes=arms.scopes)
    return Panel(
        subject="MaxVio of a computation batch against its size",
        finding=batch_sentence(frame, arms.names),
        how=f"{seed_text(arms)}: each point is a mean over groups, layers and the last "
        f"{metrics.LAST_RECORDED} recorded steps. A line along the dotted one is as balanced as "
        "random routing allows at that size; one that flattens out has an imbalance that larger batches do "
        "not remove.",
        spec=specs.make(chart),
        table=frame,
        statements=trace.statements,
    )


def seed_text(arms: ArmSet) -> str:
    """`Seed 0`, if the first run of every arm has it; `One run per arm` otherwise."""
    seed, *others = {arm.first.seed for arm in arms}
    return "One run per arm" if others or seed is None else f"Seed {seed}"


def up_to_held_out(store: Store, arms: ArmSet, settings: None) -> Panel:
    """One run (the first of the only arm): single sequences, a training step, the held-out text."""
    (arm,) = arms
    trace = Trace(store)
    frame = _up_to_held_out(trace, arm.first)
    first, last = frame.row(0, named=True), frame.row(-1, named=True)
    return Panel(
        subject=f"MaxVio of {arm.label}, seed {arm.first.seed}, against the tokens counted",
        finding=f"Over {first['words']} MaxVio is {captions.number(first['max_vio'])}, over "
        f"{last['words']} {captions.number(last['max_vio'])}; the random-routing baseline is "
        f"{captions.number(first['uniform_mean'])} and {captions.number(last['uniform_mean'])}.",
        how="Both axes are logarithmic. From left to right: groups of sequences of one step (mean over the "
        f"last {metrics.LAST_RECORDED} recorded steps), a whole step (the last {metrics.LAST_STEPS} "
        "steps), the held-out text after the last step. Means over layers, all at the end of training.",
        spec=specs.make(lessons.noise_floor(frame, family=arm.family, scope=arm.first.scope)),
        table=frame,
        statements=trace.statements,
    )


def _up_to_held_out(trace: Trace, run: Run) -> pl.DataFrame:
    """Columns tokens, max_vio, uniform_mean and words (what was counted), by rising size."""
    measured = by_size(trace.ask, run).select("sequences", "tokens", "max_vio")
    held_out = held_out_tokens(trace.ask, run)
    final = trace.ask(comparison.summary, [run])
    rows = [
        (round(tokens), violation, f"{sequences} sequence{'s' if sequences > 1 else ''}")
        for sequences, tokens, violation in measured.rows()
    ]
    counted = trace.ask(balance.references, run)["tokens"] or run.tokens_per_step
    rows.append((round(counted), float(final["max_vio_batch"][0]), "a training step"))
    rows.append((held_out, float(final["max_vio_global"][0]), "the held-out text"))
    return pl.DataFrame(
        [(n, v, metrics.uniform_reference(run.num_experts, run.top_k, n)[0], w) for n, v, w in rows],
        schema={"tokens": pl.Int64, "max_vio": pl.Float64, "uniform_mean": pl.Float64, "words": pl.String},
        orient="row",
    )


def batch_sizes(trace: Trace, runs: Sequence[Run]) -> pl.DataFrame:
    """Columns run_id, sequences, tokens, max_vio and uniform (means over layers), groups. Sorted by size."""
    parts = []
    for run in runs:
        merged = by_size(trace.ask, run, group_sizes(run))
        parts.append(merged.select(pl.lit(run.run_id).alias("run_id"), pl.all()))
    return pl.concat(parts)


def by_size(ask: Ask, run: Run, *sizes: tuple[int, ...]) -> pl.DataFrame:
    """Columns sequences, tokens, max_vio and uniform (means over layers), groups. Sorted by size.

    sizes: sequences per group, those of `queries.health.computation_batches` without any.
    """
    rows: pl.DataFrame = ask(computation_batches, run, *sizes)
    return rows.group_by("sequences", maintain_order=True).agg(
        pl.col("tokens").mean(),
        pl.col("max_vio").mean(),
        uniform=pl.col("uniform_mean").mean(),
        groups=pl.col("groups").max(),
    )


def held_out_tokens(ask: Ask, run: Run) -> int:
    """Held-out tokens that the final MaxVio is counted over."""
    return round(int(ask(held_out_figures, run)["tokens"][0]) / run.top_k)


def group_sizes(run: Run) -> tuple[int, ...]:
    """Sequences per group: the powers of two, and the whole step."""
    training = json.loads(run.config).get("training")
    length = training.get("sequence_length") if isinstance(training, dict) else None
    # Folders written by other programs may have another configuration.
    most = max(1, run.tokens_per_step // length) if isinstance(length, int) and length > 0 else 1
    return tuple(sorted({2**power for power in range(most.bit_length())} | {most}))


def batch_sentence(frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """MaxVio at the smallest and the largest size, and how many times its baseline the largest is."""
    parts = []
    for run_id, label in labels.items():
        line = frame.filter(pl.col("run_id") == run_id).sort("tokens")
        if line.is_empty():
            continue
        first, last = line.row(0, named=True), line.row(-1, named=True)
        if not last["uniform"]:
            continue
        times = captions.times(last["max_vio"] / last["uniform"])
        parts.append(
            f"{label} falls from {captions.number(first['max_vio'])} to "
            f"{captions.number(last['max_vio'])}, {times} the random-routing baseline"
        )
    if not parts:
        return captions.NOTHING
    sizes = sorted(map(float, frame["tokens"]))
    return f"From {sizes[0]:,.0f} to {sizes[-1]:,.0f} tokens, {'; '.join(parts)}."
