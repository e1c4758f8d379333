"""Events for pages that still ask through `cached`; the words are those of `figures.events`."""

from collections.abc import Sequence

import polars as pl

from explorer.charts import event_marks
from explorer.figures.arms import Arm
from explorer.figures.events import arm_sentence as arm_sentence
from explorer.figures.events import legend as legend
from explorer.figures.events import marks_note as marks_note
from explorer.queries import statements as asked
from explorer.ui.shared import cached


def of_arms(arms: Sequence[Arm]) -> pl.DataFrame:
    """The events of all runs of some arms, with the arm's token as `run_id`, as `merge.series` does."""
    runs = [(run, arm) for arm in arms for run in arm.runs]
    found = cached.events_of_runs(tuple(dict.fromkeys(run.version for run, _ in runs)))
    rows = [(run.run_id, arm.token, f", seed {run.seed}" if arm.is_group else "") for run, arm in runs]
    names = pl.DataFrame(rows, schema=dict.fromkeys(("run_id", "arm", "seed"), pl.String), orient="row")
    joined = found.join(names, on="run_id", how="inner", maintain_order="left")
    detail = pl.col("detail").fill_null("") + pl.col("seed")
    return asked.mark(joined.with_columns(run_id="arm", detail=detail).drop("arm", "seed"), asked.of(found))


def of_layer(events: pl.DataFrame, layer: int) -> pl.DataFrame:
    """The events of one layer and those that concern no layer."""
    return asked.mark(event_marks.of_layer(events, layer), asked.of(events))
