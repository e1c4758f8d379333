"""Several seeds of an arm become one line: the mean, with the range over seeds as its band."""

from collections.abc import Sequence

import polars as pl

from explorer.figures.arms import Arm

ENDS = ("max_vio_mean100",)
"""What sentences on the end of a MaxVio curve are about: it does not depend on how a figure was binned."""

FROM = "not_finite_from"
"""First step from which no loss of a run is finite, see `queries.loss_series`."""


def _count_of(name: str) -> str:
    """The column that counts the samples of a bin whose value is NaN or infinite."""
    return f"{'lm_loss' if name == 'perplexity' else name}_not_finite"


def _with_arm(frame: pl.DataFrame, arms: Sequence[Arm]) -> pl.DataFrame:
    """Add the column `arm`; a run that stands alone and in a group appears in both."""
    rows = [(run_id, arm.token) for arm in arms for run_id in arm.run_ids]
    names = pl.DataFrame(rows, schema={"run_id": pl.String, "arm": pl.String}, orient="row")
    return names.join(frame, on="run_id", how="inner", maintain_order="left")


def series(
    frame: pl.DataFrame, arms: Sequence[Arm], columns: Sequence[str], plain: Sequence[str] = ()
) -> pl.DataFrame:
    """One row per arm and bin, with the arm's token as `run_id`.

    frame: columns of `queries.max_vio_series` or `loss_series`. For every name in `columns` the mean over
    seeds. `<name>_min` and `<name>_max` are the lowest and the highest seed, and those of the samples
    inside a bin where an arm is a single run. Of the names in `plain` the mean alone.

    A seed whose value is not finite leaves no mean: the others would stand for an arm that has diverged. How
    many samples are not finite and from which step on (the earliest of the seeds) go along.
    """
    alone = pl.col("run_id").n_unique() == 1
    values: list[pl.Expr] = []
    odd = {_count_of(name) for name in columns} & set(frame.columns)
    for name in columns:
        low, high = (f"{name}_min", f"{name}_max")
        is_whole = pl.lit(True)
        if _count_of(name) in odd:
            is_whole = ~(pl.col(name).is_null() & (pl.col(_count_of(name)) > 0)).any()
        values += [
            pl.when(is_whole).then(pl.col(name).mean()).alias(name),
            pl.when(alone).then(pl.col(low).min()).otherwise(pl.col(name).min()).alias(low),
            pl.when(alone).then(pl.col(high).max()).otherwise(pl.col(name).max()).alias(high),
        ]
    values += [pl.col(name).mean() for name in plain]
    values += [pl.col(name).sum() for name in sorted(odd)]
    values += [pl.col(FROM).min()] * (FROM in frame.columns)
    places = (pl.col("first_step").min(), pl.col("last_step").max(), pl.col("x").mean())
    merged = _with_arm(frame, arms).group_by("arm", "bin", maintain_order=True).agg(*places, *values)
    return merged.rename({"arm": "run_id"})


def evals(frame: pl.DataFrame, arms: Sequence[Arm]) -> pl.DataFrame:
    """Held-out losses, averaged over the seeds of an arm; columns of `queries.eval_series`."""
    merged = _with_arm(frame, arms).group_by("arm", "step", "domain", maintain_order=True).agg(
        pl.col("x").mean(), pl.col("lm_loss").mean(), pl.col("bits_per_byte").mean()
    )  # fmt: skip
    return merged.with_columns(perplexity=pl.col("lm_loss").exp()).rename({"arm": "run_id"})


def up_to(frame: pl.DataFrame, step: int | None, column: str = "last_step") -> pl.DataFrame:
    """The rows whose `column` is at most `step`; all of them without one."""
    return frame if step is None else frame.filter(pl.col(column) <= step)
