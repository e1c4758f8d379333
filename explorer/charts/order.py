"""The order of names on the axis of a chart whose rows are exchanged (`Spec.with_rows`).

Vega keeps the order of names that it has seen, so such a chart must say where each one stands.
"""

import altair as alt
import polars as pl

BY_PLACE = alt.EncodingSortField(field="place", op="min")
"""The sort of an axis of names, for rows of `with_places`."""


def with_places(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with their order in `place`, from 0."""
    return frame.with_columns(place=pl.int_range(pl.len()))
