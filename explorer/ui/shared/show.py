"""How every figure is shown: the finding, the chart, how to read it, and the numbers behind it."""

import re
from dataclasses import replace
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.charts import pointed, scales, theme
from explorer.charts.enlarge import enlarged
from explorer.charts.spec import Spec
from explorer.figures.panel import Missing, Panel, Question
from explorer.ui.shared import display, exports, panels, store
from explorer.ui.shared.plain import plain as plain


def question(
    question: Question,
    *,
    playhead: float | None = None,
    live: bool = False,
    stays: bool = False,
    called: str = "",
    text: bool = True,
    pick: bool = False,
) -> dict[str, Any] | None:
    """Answer a question and show its panel, or the sentence that says why there is none; see `draw`."""
    answer = store.answer(question)
    if isinstance(answer, Missing):
        note(answer.reason)
        return None
    if playhead is not None:
        answer = replace(answer, playhead=playhead)
    return draw(answer, key=question.key, live=live, stays=stays, called=called, text=text, pick=pick)


def draw(
    panel: Panel,
    *,
    key: str,
    live: bool = False,
    stays: bool = False,
    called: str = "",
    text: bool = True,
    pick: bool = False,
) -> dict[str, Any] | None:
    """Show a chart with its finding, one sentence on how to read it, its table and its files.

    Table and files are made only when they are opened, so a closed line costs nothing. `live` is for charts
    that change while they are looked at: the description is part of a chart, so one that changed with the
    data would make the browser draw it anew; and the visitor's zoom is kept. `stays`: the same for a chart
    that gets other rows when a control of the page moves, e.g. those of another layer. `called`: what such a
    chart shows, where the panel's subject names a setting that a control changes. `text`: whether the
    sentences stand here, or already stand elsewhere on the page. `pick`: a click on a mark reruns the page;
    returns what was clicked, as `show_chart` does.
    """
    panels.add(panel)
    alt = lasting_alt(called or panel.subject) if live or stays else panel.alt
    # A place with a name, so that a link can leave this panel alone (`display.embed`).
    with st.container(key=f"panel-{panel.key}"):
        if display.is_embedded():
            # The heading stands outside and is not shown there.
            st.markdown(f"#### {plain(panel.subject)}")
        text = text or display.is_embedded()
        if text:
            st.markdown(plain(panel.finding))
        # Embedded, a chart is alone with its finding: it explains its own colours, as in a file.
        chart = panel.spec if display.is_embedded() else panel.steady or panel.on_page or panel.spec
        picked = show_chart(chart, alt_text=alt, key=key, live=live, playhead=panel.playhead, pick=pick)
        if text:
            note(panel.how)
    exports.menu(key, subject=panel.subject)
    return picked


def lasting_alt(subject: str) -> str:
    """The description of a chart that stays while its layer changes, which the page names before it."""
    return f"{_OF_LAYER.sub('', subject)}. The sentence before the chart describes it."


_OF_LAYER = re.compile(r"(?:,| of| in) layer \d+")


def show_chart(
    chart: Spec,
    *,
    alt_text: str,
    key: str,
    live: bool = False,
    playhead: float | None = None,
    pick: bool = False,
) -> dict[str, Any] | None:
    """The chart alone, as wide as its place; with `pick`, the fields of the mark that was clicked."""
    # Streamlit forgets a zoom with every change of the data, unless it is a selection that Python hears of.
    zooms = list(chart.zooms) if live else []
    modes = [*zooms, *(["pick"] if pick and chart.picks else [])]
    selection: dict[str, Any] = {"on_select": "rerun", "selection_mode": modes} if modes else {}
    vega = pointed.on_page(chart.at(playhead))
    event = st.vega_lite_chart(
        spec=enlarged(vega, display.FACTOR) if display.is_lecture() else vega,
        width="stretch",
        theme="streamlit",
        key=f"chart_{key}",
        alt=alt_text,
        **selection,
    )
    points = event.selection.get("pick", []) if "pick" in modes else []
    return dict(points[-1]) if points else None


def steady(key: str) -> DeltaGenerator:
    """A container that does not fade while it is updated several times a second."""
    st.html(f"<style>.st-key-{key} [data-stale] {{ opacity: 1 !important; }}</style>")
    return st.container(key=key)


def note(text: str, *, markdown: bool = False) -> None:
    """Small grey text; Streamlit's own captions have too little contrast."""
    st.markdown(f":gray[:small[{text if markdown else plain(text)}]]")


@st.fragment
def data_table(table: pl.DataFrame, *, subject: str, key: str) -> None:
    """An expander with the data table of something that has no chart."""
    place = st.expander("Data table", key=f"table_{key}", on_change="rerun", icon=":material/table_rows:")
    if place.open:
        exports.rows_of(place, table, subject)


def load_legend() -> None:
    """The colours of a load, once for several heatmaps."""
    dark = st.context.theme.type == "dark"
    inks = [ink.pick(dark) for ink in scales.stops()]
    dead = theme.DEAD.pick(dark)
    words = "".join(f"<span>{scales.tick_label(t)}</span>" for t in scales.ticks())
    st.html(
        '<div style="display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;font-size:.8rem">'
        "<span>load, × uniform</span>"
        '<span style="display:inline-block;width:16rem">'
        f'<span style="display:block;height:.7rem;background:linear-gradient(90deg,{",".join(inks)})"></span>'
        f'<span style="display:flex;justify-content:space-between">{words}</span></span>'
        f'<span><span style="display:inline-block;width:.8rem;height:.8rem;background:{dead};'
        'vertical-align:-.1rem;margin-right:.35rem"></span>no tokens</span></div>'
    )


def in_columns(count: int, most: int = 2, least_px: int = 380) -> list[DeltaGenerator]:
    """Cells for `count` charts, `most` beside each other; a narrow page puts them under each other."""
    grid = st.grid(min(count, most) or 1, min_column_width=least_px, gap="medium")
    return [grid.cell() for _ in range(count)]


def stacked(formula: str) -> str:
    """The parts of a formula under each other, so that a narrow window shows it without scrolling."""
    parts = formula_parts(formula)
    lines = r" \\[.4em] ".join(parts)
    whole = lines if len(parts) == 1 else rf"\begin{{gathered}}{lines}\end{{gathered}}"
    # The space keeps a slanted last letter inside its box, which would scroll otherwise.
    return whole + r"\;"


def formula_parts(formula: str) -> list[str]:
    """What `\\qquad` separates outside of braces; the comma before it goes."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"\\qquad|\\[{}]|[{}]", formula):
        mark = match.group()
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if mark == r"\qquad" and depth == 0:
            parts.append(formula[start : match.start()].rstrip(" ,").strip())
            start = match.end()
    return [*parts, formula[start:].strip()]
