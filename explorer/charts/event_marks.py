"""Events on a time axis: a thin dashed rule with a small symbol at the top of the plot.

Kinds differ in shape and in colour. Nearby events share one mark, which shows their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.anchored import EDGE_PX, anchored, at
from explorer.charts.theme import Ink, RunStyle
from explorer.metrics.events import event_name

NEAR = 0.02
"""Share of the axis within which events share a mark: about the width of a symbol."""
MOST_MARKS = 16
"""Marks on one axis, at most; with more events than fit, marks stand for wider pieces."""
IMPORTANT = ("balancer_changed", "collapse", "loss_spike", "loss_not_finite")
"""Kinds that are marked where several runs share a figure."""
SYMBOL_PX = 9.0
"""How far the middle of a symbol lies from the upper edge of the plot."""
ROW_PX = 14.0
"""Where several runs share a figure each has a row of symbols."""
NUMBER_PX = 12.0
"""From the middle of a symbol to that of its number."""
BESIDE_PX = 28.0
"""From a symbol to the next one in its row, at least, for a number between them."""
_INSIDE = f"inrange({at('x', 'event_step')}, [-{EDGE_PX}, width + {EDGE_PX}])"
SEVERAL = "several"
MOST_WORDS = 4
"""Kinds that a tooltip spells out."""


@dataclass(frozen=True, kw_only=True)
class Glyph:
    """The look of a kind: a shape in a chart, a letter in text."""

    shape: str
    """A shape of Vega, or an SVG path within ±1."""
    letter: str
    ink: Ink


_CROSS = "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z"
_STAR = "M0,-1.1L.3,-.35L1.1,-.35L.45,.12L.7,.9L0,.42L-.7,.9L-.45,.12L-1.1,-.35L-.3,-.35Z"
_FLAG = "M-.9,-1.3L1.5,-.5L-.4,.3L-.4,1.4L-.9,1.4Z"
_BARS = "M-.8,-1L-.25,-1L-.25,1L-.8,1ZM.25,-1L.8,-1L.8,1L.25,1Z"
_LINES = "M-1,-.9L1,-.9L1,-.45L-1,-.45ZM-1,-.22L1,-.22L1,.22L-1,.22ZM-1,.45L1,.45L1,.9L-1,.9Z"

_BOW = "M-1.1,-.9L-1.1,.9L1.1,-.9L1.1,.9Z"
_BOLT = "M.3,-1.3L-.8,.2L-.05,.2L-.3,1.3L.8,-.2L.05,-.2Z"

GLYPHS: dict[str, Glyph] = {
    "death": Glyph(shape=_CROSS, letter="✕", ink=theme.DEAD),
    "revival": Glyph(shape="cross", letter="✚", ink=theme.DEAD),
    "collapse": Glyph(shape="triangle-down", letter="▼", ink=Ink("#B3261E", "#FF8A80")),
    "recovery": Glyph(shape="triangle-up", letter="▲", ink=Ink("#00734F", "#63D6B1")),
    "oscillation": Glyph(shape="diamond", letter="◆", ink=Ink("#5B57C8", "#9D99F2")),
    "bias_saturation": Glyph(shape="square", letter="■", ink=Ink("#8A5F00", "#E3B341")),
    "choices_settled": Glyph(shape="circle", letter="●", ink=Ink("#0072B2", "#4AA8E0")),
    "loss_spike": Glyph(shape=_STAR, letter="★", ink=Ink("#B5559A", "#E08CC8")),
    "loss_not_finite": Glyph(shape=_BOLT, letter="↯", ink=Ink("#B3261E", "#FF8A80")),
    "bias_not_finite": Glyph(shape=_BOW, letter="⋈", ink=Ink("#8A5F00", "#E3B341")),
    "balancer_changed": Glyph(shape=_FLAG, letter="⚑", ink=theme.STRONG_TEXT),
    "switch_refused": Glyph(shape="stroke", letter="−", ink=theme.NEUTRAL_TEXT),
    "recording_gap": Glyph(shape=_BARS, letter="‖", ink=theme.NEUTRAL_TEXT),
}
OTHER = Glyph(shape="triangle-right", letter="▶", ink=theme.NEUTRAL_TEXT)
"""Whatever else a trainer records."""
MIXED = Glyph(shape=_LINES, letter="≡", ink=theme.NEUTRAL_TEXT)
"""Events of several kinds in one mark."""

_ROW = {
    "event_step": pl.Float64,
    "event_at": pl.String,
    "event_words": pl.String,
    "event_run": pl.String,
    "event_count": pl.String,
    "event_shape": pl.String,
    "event_y": pl.Float64,
    "event_dx": pl.Float64,
    "event_dy": pl.Float64,
    "light": pl.String,
    "dark": pl.String,
}
_COLUMNS = _ROW | {"event_next": pl.Float64}
"""`event_next`: the step of the next mark in the same row, null after the last one."""


def glyph(kind: str) -> Glyph:
    """The look of a kind; unknown kinds share one."""
    return MIXED if kind == SEVERAL else GLYPHS.get(kind, OTHER)


def of_layer(events: pl.DataFrame, layer: int) -> pl.DataFrame:
    """The events of one layer and those that concern no layer."""
    return events.filter((pl.col("layer") == layer) | pl.col("layer").is_null())


def event_layers(
    events: pl.DataFrame | None,
    span: tuple[float, float] | None = None,
    styles: Sequence[RunStyle] = (),
    *,
    above: bool = False,
) -> list[alt.Chart]:
    """Layers for an axis `x` that counts steps: rules, symbols, and how many a symbol stands for.

    events: columns of `queries.events`; with `run_id` as well, of several runs: then those of the runs in
    `styles` are marked; if these are several, only IMPORTANT kinds and in the run's colour. span: first and
    last step that the figure shows, what lies outside is left out. above: the symbols stand over the plot,
    for one whose cells would hide them.
    The layers are always the same: without events (or with None) their data is empty, so that an event
    which comes in is a change of data and not of the figure.
    """
    data = mark_rows(events, span, styles, above=above)
    colour = alt.ExprRef("luminance(background) < 0.3 ? datum.dark : datum.light")
    base = alt.Chart(data).encode(
        x=alt.X("event_step:Q"),
        tooltip=[
            alt.Tooltip("event_at:N", title="event"),
            alt.Tooltip("event_words:N", title="what"),
            alt.Tooltip("event_run:N", title="run"),
        ],
    )
    rule = base.mark_rule(color=colour, strokeWidth=1, strokeDash=[3, 3], opacity=0.6, clip=True)
    # Not clipped, or a symbol at the first step would be half a symbol; what is zoomed away is not shown.
    inside = alt.OpacityValue(alt.expr(f"{_INSIDE} ? 1 : 0"))
    placed = base.encode(y=alt.YValue(alt.expr("datum.event_y")), opacity=inside)
    symbol = placed.mark_point(
        filled=True, size=74, fill=colour, stroke=alt.ExprRef("background"), strokeWidth=0.8, clip=False
    )
    # Beside a symbol there is no room for a number where the next one stands close; the tooltip has it too.
    room = (
        "datum.event_dx === 0 || !isValid(datum.event_next) || "
        f"scale('x', datum.event_next) - scale('x', datum.event_step) > {BESIDE_PX}"
    )
    number = placed.encode(opacity=alt.OpacityValue(alt.expr(f"({_INSIDE}) && ({room}) ? 1 : 0"))).mark_text(
        align="center",
        baseline="middle",
        dx=alt.ExprRef("datum.event_dx"),
        dy=alt.ExprRef("datum.event_dy"),
        fontSize=11,
        fontWeight=600,
        color=colour,
        clip=False,
    )
    layers = [
        rule,
        symbol.encode(shape=alt.Shape("event_shape:N", scale=None)),
        number.encode(text=alt.Text("event_count:N")),
    ]
    anchors = [anchored(layer) for layer in layers]
    return [*anchors, _room()] if above else anchors


def _room() -> alt.Chart:
    """Nothing, above the plot: so that panels beside each other begin at one height, whichever has marks."""
    point = alt.Chart(pl.DataFrame({"room": [0]})).mark_point(opacity=0, size=74)
    room: alt.Chart = point.encode(x=alt.XValue(0), y=alt.YValue(-SYMBOL_PX - NUMBER_PX))
    return room


def mark_rows(
    events: pl.DataFrame | None,
    span: tuple[float, float] | None = None,
    styles: Sequence[RunStyle] = (),
    *,
    above: bool = False,
) -> pl.DataFrame:
    """One row per mark: position, look and tooltip text."""
    if events is None or events.is_empty():
        return pl.DataFrame(schema=_COLUMNS)
    if span is not None:
        events = events.filter(pl.col("step").is_between(*span))
    if "run_id" in events.columns and styles:
        events = events.filter(pl.col("run_id").is_in([style.run_id for style in styles]))
    if events.is_empty():
        return pl.DataFrame(schema=_COLUMNS)
    lowest, highest = span or (float(events["step"].min()), float(events["step"].max()))  # type: ignore[arg-type]
    length = max(1.0, highest - lowest)
    sign = -1.0 if above else 1.0
    if "run_id" not in events.columns or len(styles) == 1:
        place = (sign * SYMBOL_PX, 0.0, sign * NUMBER_PX)
        marks = [_row(group, None, place) for group in grouped(events, length)]
    else:
        important = events.filter(pl.col("kind").is_in(IMPORTANT))
        marked = [style for style in styles if style.run_id in set(important["run_id"])]
        marks = [
            _row(group, style, (sign * (SYMBOL_PX + ROW_PX * row), NUMBER_PX, 0.0))
            for row, style in enumerate(marked)
            for group in grouped(important.filter(pl.col("run_id") == style.run_id), length)
        ]
    rows = pl.DataFrame(marks, schema=_ROW, orient="row")
    return rows.with_columns(event_next=pl.col("event_step").shift(-1).over("event_y"))


def grouped(events: pl.DataFrame, length: float) -> list[pl.DataFrame]:
    """The events in groups: each begins with an event and takes all that follow within NEAR of `length`.

    With more than MOST_MARKS groups, wider ones.
    """
    ordered = events.sort("step", "kind", maintain_order=True)
    near = NEAR * length
    while True:
        groups: list[pl.DataFrame] = []
        steps = ordered["step"].to_list()
        start = 0
        for i in range(1, len(steps) + 1):
            if i == len(steps) or steps[i] - steps[start] > near:
                groups.append(ordered[start:i])
                start = i
        if len(groups) <= MOST_MARKS:
            return [group for group in groups if not group.is_empty()]
        near *= 1.5


def _row(group: pl.DataFrame, style: RunStyle | None, place: tuple[float, float, float]) -> tuple[Any, ...]:
    """place: y of the symbol, and from there to its number."""
    kinds = group["kind"].unique(maintain_order=True).to_list()
    look = glyph(kinds[0] if len(kinds) == 1 else SEVERAL)
    ink = look.ink if style is None else style.ink
    first, last = int(group["step"][0]), int(group["step"][-1])
    return (
        float(first),
        f"step {first}" if first == last else f"steps {first} to {last}",
        words(group),
        "" if style is None else style.label,
        str(group.height) if group.height > 1 else "",
        look.shape,
        *place,
        ink.light,
        ink.dark,
    )


def words(group: pl.DataFrame) -> str:
    """Text of a mark: one event in full, several as counts per kind."""
    if group.height == 1:
        row = group.row(0, named=True)
        return f"{sentence(row)}: {row['detail']}" if row["detail"] else sentence(row)
    parts = []
    for kind in group["kind"].unique(maintain_order=True):
        mine = group.filter(pl.col("kind") == kind)
        parts.append(f"{mine.height} × {event_name(kind)}{_where(mine)}")
    more = f"; and {len(parts) - MOST_WORDS} more kinds" if len(parts) > MOST_WORDS else ""
    return "; ".join(parts[:MOST_WORDS]) + more


def sentence(event: dict[str, Any]) -> str:
    """`death of expert 9 in layer 1`: an event without its step and details."""
    text = event_name(event["kind"])
    if event["expert"] is not None:
        text += f" of expert {event['expert']}"
    return text if event["layer"] is None else f"{text} in layer {event['layer']}"


def _where(events: pl.DataFrame) -> str:
    """` in layers 1 and 2`, or nothing."""
    layers = sorted(events["layer"].drop_nulls().unique().to_list())
    return f" in {listed('layer', layers)}" if layers else ""


def listed(name: str, numbers: Sequence[int]) -> str:
    """`layer 3`, `layers 1 and 2`, `layers 0, 1, 2 and 5 more`."""
    texts = [str(number) for number in numbers]
    if len(texts) == 1:
        return f"{name} {texts[0]}"
    if len(texts) > 4:
        return f"{name}s {', '.join(texts[:3])} and {len(texts) - 3} more"
    return f"{name}s {', '.join(texts[:-1])} and {texts[-1]}"
