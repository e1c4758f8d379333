"""Charts: one function per chart, Polars frame in, Altair (or Plotly) chart out. No I/O, no state.

The Altair ones leave fonts and text colours to the page, or to `theme.file_config` in a file. An empty frame
gives a figure that says so.
"""
