"""Bins of one series of a run, merged in polars: DuckDB takes longer to plan that than to read them."""

from typing import Any

import polars as pl

from explorer.queries._frames import Cursor, ViewBins, frame
from explorer.store.pyramids import Measure


def series_bins(cur: Cursor, bins: ViewBins, where: str = "true", **params: Any) -> pl.DataFrame:
    """The bins of one series: the column bin and the pyramid's measures, sorted by bin.

    where: a condition that leaves a single series of the pyramid, with the parameters `params`. A sum,
    minimum or maximum of no value is NULL.
    """
    rows = frame(cur, bins.pieces(where), **params, **bins.params).sort("bin", "last_step")
    return rows.group_by("bin", maintain_order=True).agg(_merged(m) for m in bins.pyramid.measures)


def _merged(measure: Measure) -> pl.Expr:
    """A measure of a bin from its pieces, ordered by their steps; as `Measure.merge` says in SQL."""
    column = pl.col(measure.column.name)
    function = measure.merge.split("(")[0]
    if function == "arg_max":
        return column.drop_nulls().last()
    if function == "sum":
        return pl.when(column.count() > 0).then(column.sum())
    return {"min": column.min(), "max": column.max()}[function]
