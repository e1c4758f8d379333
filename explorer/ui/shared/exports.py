"""Downloads: one figure, the data behind it, a whole view, a replay as an animation.

Every file is built on request. Streamlit then calls a function outside of any script run, so these
functions hold what they need: the figures of the page, and the settings as they stand by then.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.export import files, pages
from explorer.export.provenance import file_stem, run_ids
from explorer.export.settings import FORMATS, TABLES, WIDTHS, FigureSettings
from explorer.figures.panel import Panel
from explorer.ui.shared import cached, panels, picker, state
from explorer.ui.shared.panels import PageFigures

MOST_ROWS = 20_000
FONTS = {"one column": 7.0, "two columns": 8.0, "slide": 14.0}
"""Default text size in points per width; it can be changed afterwards."""
ICON = ":material/download:"


@dataclass(kw_only=True)
class Choice:
    """Export options of the current session. Mutable: downloads read it when they are made."""

    settings: FigureSettings = field(default_factory=FigureSettings)


CHOICE = state.Memo("export_choice", Choice)


def choice() -> Choice:
    """The export options of this browser tab."""
    return CHOICE.get()


# --- Below a figure ---


@st.fragment
def menu(key: str, *, subject: str, label: str = "Data and export") -> None:
    """An expander with a chart's data and files; it builds nothing until opened.

    key: as it was given to the figure.
    """
    place = st.expander(label, key=f"table_{key}", on_change="rerun", icon=":material/table_rows:")
    figures = panels.page_figures()
    name = panels.slug(key)
    if not place.open or name not in figures.keys:
        return
    with place:
        panel = figures.get(name)
        if panel.table is not None:
            rows_of(place, panel.table, subject)
        _buttons(figures, panel, key)


def rows_of(place: DeltaGenerator, table: pl.DataFrame, subject: str) -> None:
    """The first rows of a table, sortable."""
    place.dataframe(table.head(MOST_ROWS), hide_index=True, height=320, alt=f"{subject}: data table")


def _buttons(figures: PageFigures, panel: Panel, key: str) -> None:
    options = choice()
    stem = file_stem(*_once(figures.view, panel.key), run_ids=run_ids([panel]))
    with st.container(horizontal=True, gap="small"):
        for kind, mime in FORMATS.items():
            _button(kind, partial(figure_file, figures, panel.key, kind, options), stem, mime, key)
        for kind, mime in TABLES.items():
            _button(kind, partial(table_file, figures, panel.key, kind), stem, mime, key)
        if panel.key in figures.films:
            from explorer.export import film  # which loads Pillow

            make = partial(film_file, figures, panel.key, options)
            _button("gif", make, stem, film.MIME, key, "Animated GIF of this layer")


def _button(
    kind: str, make: Callable[[], bytes], stem: str, mime: str, key: str, label: str | None = None
) -> None:
    st.download_button(
        label or {"parquet": "Parquet"}.get(kind, kind.upper()),
        data=make,
        file_name=f"{stem}.{kind}",
        mime=mime,
        on_click="ignore",
        key=f"save_{kind}_{key}",
        icon=ICON,
    )


def _once(view: str, key: str) -> tuple[str, ...]:
    """Most keys begin with the name of their page."""
    return (key,) if key.startswith(view) else (view, key)


def figure_file(figures: PageFigures, key: str, kind: str, options: Choice) -> bytes:
    """A chart as it is now."""
    return files.figure(figures, key, kind, options.settings)


def table_file(figures: PageFigures, key: str, kind: str) -> bytes:
    """The data behind a chart as it is now."""
    return files.table(figures, key, kind)


def film_file(figures: PageFigures, key: str, options: Choice) -> bytes:
    """The animation of a panel."""
    return files.animation(figures, key, options.settings)


def plotly_button(draw: Callable[..., Any], *, key: str, run_id: str) -> None:
    """A Plotly figure as a page of its own: its pictures would need a browser on the server."""
    options = choice()
    stem = file_stem("replay", key, run_ids=[run_id])
    _button("html", lambda: pages.plotly_page(draw(dark=options.settings.dark)), stem, "text/html", key)


# --- The whole view ---


def view_section(figures: PageFigures) -> None:
    """The download of the whole page and the export options; nothing on a page without panels."""
    if not figures.keys:
        return
    stem = file_stem(figures.view, run_ids=_chosen_runs(figures))
    st.download_button(
        "Export this view",
        data=partial(bundle_file, figures, choice()),
        file_name=f"{stem}.zip",
        mime="application/zip",
        on_click="ignore",
        key="export_view",
        icon=ICON,
        width="stretch",
        help="Every chart of this page as SVG, PNG and PDF, with its data, specification and SQL, plus a "
        "report in one HTML file. Made offline; with many charts it takes about ten seconds.",
    )
    _settings()


def _chosen_runs(figures: PageFigures) -> list[str]:
    """The runs that a file name states: that of a replay, or the selected ones that the page shows."""
    on_page = run_ids(figures.panels.values())
    if figures.page in ("replay", "microscope", "serving"):
        return [str(state.value("run", ""))]
    picked = [run for arm in picker.chosen_arms() for run in arm.run_ids]
    return [run for run in picked if run in on_page]


def bundle_file(figures: PageFigures, options: Choice) -> bytes:
    """The zip of everything on the page as it is now."""
    return files.zipped(figures, figures.present_keys(), options.settings, cached.run_rows)


@st.fragment
def _settings() -> None:
    """Size, text, title and colours of exported files; built when opened."""
    place = st.expander(
        "Size and style of files", key="export_look", on_change="rerun", icon=":material/tune:"
    )
    if not place.open:
        return
    options = choice()
    with place:
        width = st.selectbox(
            "Width",
            [*WIDTHS, "other"],
            index=_index(options.settings),
            format_func=lambda name: f"{name}, {WIDTHS[name]:g} mm" if name in WIDTHS else "other",
            key="export_width",
            on_change=_suit_font,
        )
        millimetres = WIDTHS.get(width) or st.number_input(
            "Millimetres", 40.0, 1000.0, value=options.settings.width_mm, step=1.0, key="export_mm"
        )
        font = st.number_input(
            "Text size (pt)", 4.0, 40.0, value=options.settings.font_pt, step=0.5, key="export_font"
        )
        title = st.toggle("Title and finding", value=options.settings.title, key="export_title")
        dark = st.toggle("Dark background", value=options.settings.dark, key="export_dark")
    options.settings = FigureSettings(
        width_mm=float(millimetres), font_pt=float(font), title=title, dark=dark
    )


def _index(settings: FigureSettings) -> int:
    widths = list(WIDTHS.values())
    return widths.index(settings.width_mm) if settings.width_mm in widths else len(widths)


def _suit_font() -> None:
    """Set the default text size of the new width."""
    font = FONTS.get(state.text("export_width"))
    if font is not None:
        state.put("export_font", font)
