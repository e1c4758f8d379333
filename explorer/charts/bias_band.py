"""The spread of the biases of very many experts, behind the trajectories of the extremes."""

import altair as alt
import polars as pl

from explorer.charts import theme


def band_layers(band: pl.DataFrame | None) -> list[alt.Chart]:
    """Lowest to highest bias faint, the middle 80 % stronger, the median as a line; nothing without a band.

    band: columns of `queries.bias_band`.
    """
    if band is None:
        return []
    base = alt.Chart(band.with_columns(x=pl.col("first_step").cast(pl.Float64))).encode(x=alt.X("x:Q"))
    areas = [
        base.mark_area(color=theme.REFERENCE_BAND.expr, opacity=opacity, clip=True).encode(
            y=alt.Y(f"{low}:Q"), y2=alt.Y2(f"{high}:Q")
        )
        for low, high, opacity in (("low", "high", 0.35), ("p10", "p90", 0.7))
    ]
    median = base.mark_line(color=theme.REFERENCE.expr, strokeWidth=1.4, clip=True)
    return [*areas, median.encode(y=alt.Y("median:Q"))]
