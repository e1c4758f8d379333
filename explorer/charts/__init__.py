"""Figures: one function a figure, Polars frame in, Altair (or Plotly) figure out. No I/O, no state.

Show the Altair ones with `st.altair_chart(figure, theme="streamlit", alt=captions.…)`; use
`theme.for_file` before writing one to a file. An empty frame gives a figure that says so.
"""
