"""Rows of runs that were never made, for verdicts whose effect is known."""

from collections.abc import Callable

from explorer.evidence import plan
from explorer.evidence.experiment import Metrics, Run
from explorer.evidence.registry import EXPERIMENTS
from explorer.evidence.results import Row, row_of

Made = Callable[[str, int], Metrics]
"""Arm and seed -> metrics."""


def row(run: Run, metrics: Metrics, series: list[float] | None = None) -> Row:
    return row_of(run, metrics, seconds=1.0, series=series or [])


def rows_of(
    experiment_id: str, seeds: range, made: Made, *, scale: str = "quick", series: bool = False
) -> dict[str, Row]:
    """Digest -> row of every run of an experiment; in its tuning the second candidate wins."""
    experiment = EXPERIMENTS[experiment_id]
    rows: dict[str, Row] = {}
    for run in plan.tuning_runs(experiment, scale):
        candidates = experiment.arm(run.arm).candidates
        rank = float(candidates.index(run.text))
        # The first candidate has the lowest loss and does not balance.
        rows[run.digest] = row(run, {"lm_loss": rank, "max_vio_global": 0.1 if rank else 2.0})
    for run in plan.comparison_runs(experiment, scale, rows, seeds):
        rows[run.digest] = row(run, made(run.arm, run.seed), [1.0, 0.5] if series else None)
    return rows


def worse_with_raw_scores(arm: str, seed: int) -> Metrics:
    """Metrics of the experiment `normalisation` in which the arm `raw_1` is 0.2 worse than the other."""
    size = (0.2 if arm == "raw_1" else 0.0) + 0.001 * ((seed * 7) % 5)
    return {"mean_score": 0.5 - size, "max_vio_global": 1 + size, "lm_loss": 4 + size}
