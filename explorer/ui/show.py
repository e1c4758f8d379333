"""How every figure is shown: the finding, the chart, how to read it, and the numbers behind it."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from explorer.charts import captions

Chart = alt.Chart | alt.LayerChart | alt.VConcatChart
MOST_ROWS = 20_000


def figure(
    chart: Chart,
    *,
    subject: str,
    finding: str,
    how: str,
    table: pl.DataFrame | None = None,
    key: str,
    height: int | None = None,
) -> None:
    """Show a chart with what this data says, one sentence on how to read it and its table.

    The table is made only when it is opened, so a closed one costs nothing.
    """
    st.markdown(f"**{_plain(finding)}**")
    st.altair_chart(
        chart,
        width="stretch",
        height=height or "content",
        theme="streamlit",
        key=f"chart_{key}",
        alt=captions.alt_text(subject, finding),
    )
    with st.container(horizontal=True, vertical_alignment="top"):
        st.caption(how, width="stretch")
    if table is not None:
        data_table(table, subject=subject, key=key)


def data_table(table: pl.DataFrame, *, subject: str, key: str) -> None:
    """The numbers of a figure behind a line that opens."""
    panel = st.expander("Data table", key=f"table_{key}", on_change="rerun", icon=":material/table_rows:")
    if panel.open:
        panel.dataframe(table.head(MOST_ROWS), hide_index=True, height=320, alt=f"{subject}: data table")


def figures_table(rows: list[dict[str, Any]], *, alt_text: str, **settings: Any) -> None:
    """A small table that is always open."""
    st.dataframe(rows, hide_index=True, alt=alt_text, **settings)


def _plain(text: str) -> str:
    """Computed sentences are text, not markup: a `*` or `_` of a run's name must stay what it is."""
    for mark in "\\`*_[]<$~":
        text = text.replace(mark, f"\\{mark}")
    return text
