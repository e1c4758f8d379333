"""Seeds merged for pages that still carry statements with their frames; see `figures.merge`."""

from collections.abc import Sequence

import polars as pl

from explorer.figures import merge
from explorer.figures.arms import Arm
from explorer.figures.merge import ENDS as ENDS
from explorer.queries import statements as asked


def series(
    frame: pl.DataFrame, arms: Sequence[Arm], columns: Sequence[str], plain: Sequence[str] = ()
) -> pl.DataFrame:
    """As `figures.merge.series`."""
    return asked.mark(merge.series(frame, arms, columns, plain), asked.of(frame))


def evals(frame: pl.DataFrame, arms: Sequence[Arm]) -> pl.DataFrame:
    """As `figures.merge.evals`."""
    return asked.mark(merge.evals(frame, arms), asked.of(frame))
