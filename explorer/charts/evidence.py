"""Charts of the Evidence page: the verdicts at a glance, and one claim's comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.inks import Ink
from explorer.charts.value_range import ValueRange

VERDICT_INKS: dict[str, Ink] = {
    "supported": Ink("#1B7F5C", "#3FBF93"),
    "contradicted": Ink("#B3261E", "#FF8A80"),
    "not resolved at this scale": Ink("#7A6A3A", "#C9B26B"),
    "not run": Ink("#C3C8D0", "#4A515D"),
    "not testable here": Ink("#E4E7EB", "#2B3038"),
}
TILE_PX = 36
TILES_PER_ROW = 15
HEADING = -1
"""The row that names a verdict, above its tiles."""
ROW_PX, HEAD_PX, MARK_PX, AXIS_PX = 92, 16, 44, 20


def _verdict_scale() -> alt.Scale:
    return alt.Scale(domain=list(VERDICT_INKS), range=[ink.expr for ink in VERDICT_INKS.values()])


def verdict_tiles(frame: pl.DataFrame) -> theme.Figure:
    """One tile per claim, the tiles of a verdict under its name.

    frame: id, verdict, claim, effect; in the order of the tiles.
    """
    if frame.is_empty():
        return theme.no_data("no claim has a verdict yet")
    verdicts = [name for name in VERDICT_INKS if name in set(frame["verdict"])]
    nth = pl.int_range(pl.len()).over("verdict")
    tiles = frame.with_columns(place=nth % TILES_PER_ROW, row=nth // TILES_PER_ROW)
    headings = pl.DataFrame(
        {"verdict": verdicts, "row": [HEADING] * len(verdicts)}, schema_overrides={"row": pl.Int64}
    )
    # Above the tiles and not beside them: on a phone the tiles need the whole width.
    rows = pl.concat([tiles.select("verdict", "row").unique(), headings]).sort(
        pl.col("verdict").replace_strict(verdicts, range(len(verdicts)), return_dtype=pl.Int64), "row"
    )
    lines = [_line(*line) for line in rows.iter_rows()]
    y = alt.Y("line:N", axis=None, scale=alt.Scale(domain=lines, paddingInner=0.1))
    x = alt.X("place:O", axis=None, scale=alt.Scale(paddingInner=0.08, domain=list(range(TILES_PER_ROW))))
    named = alt.Chart(_with_line(headings)).mark_text(align="left", baseline="bottom", dy=12, fontSize=12)
    base = alt.Chart(_with_line(tiles)).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("id:N", title="claim"),
            alt.Tooltip("claim:N", title="text"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("effect:N"),
        ],
    )
    rects = base.mark_rect(cornerRadius=4).encode(
        color=alt.Color("verdict:N", scale=_verdict_scale(), legend=None)
    )
    ids = base.mark_text(fontSize=alt.ExprRef("width < 400 ? 8.5 : 11"), fontWeight=600).encode(
        text=alt.Text("id:N"),
        color=alt.ColorValue(alt.expr("luminance(background) < 0.3 ? '#10131A' : '#FFFFFF'")),
    )
    names = named.encode(
        x=alt.XValue(0), y=y, text=alt.Text("verdict:N"), color=alt.ColorValue(theme.STRONG_TEXT.expr)
    )
    figure: alt.LayerChart = theme.titled(alt.layer(rects, ids, names), height=TILE_PX * len(lines))
    return figure


def _line(verdict: str, row: int) -> str:
    """A place on the vertical axis of the tiles."""
    return f"{verdict} {row}"


def _with_line(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(line=pl.format("{} {}", "verdict", "row"))


def comparisons(rows: Sequence[Mapping[str, Any]]) -> theme.Figure:
    """One line of text, an interval and a point per seed for each comparison; each has a scale of its own.

    rows: words, mean, low, high, values (seed -> value), published, region_low, region_high, never, verdict,
    reading. The band is where the claim holds.
    """
    lines: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("heads", "bands", "ticks", "means", "seeds", "papers")
    }
    for index, row in enumerate(rows):
        _add(lines, row, _range(row), index * ROW_PX)
    height = ROW_PX * len(rows)
    parts = [
        part
        for name, draw in (
            ("bands", _bands),
            ("ticks", _ticks),
            ("heads", _heads),
            ("seeds", _seeds),
            ("means", _means),
            ("papers", _papers),
        )
        if lines[name]
        for part in draw(pl.DataFrame(lines[name], infer_schema_length=None), height)
    ]
    figure: alt.LayerChart = theme.titled(alt.layer(*parts), height=height)
    return figure


def _range(row: Mapping[str, Any]) -> ValueRange:
    """The range of the interval, every seed, the paper's effect and the region's edges."""
    edges = [row["region_low"], row["region_high"], row["published"]]
    values = [row["low"], row["high"], *row["values"].values()]
    values += [edge for edge in edges if edge is not None and math.isfinite(edge)]
    values += [0.0] if row["never"] else []
    return ValueRange.around(values)


def _add(lines: dict[str, list[dict[str, Any]]], row: Mapping[str, Any], scale: ValueRange, top: int) -> None:
    """The marks of one comparison, whose first pixel is `top`."""
    y = float(top + MARK_PX)
    lines["heads"].append({"y": float(top + HEAD_PX), "words": row["words"], "reading": row["reading"]})
    if not row["never"]:
        lines["bands"].append(
            {
                "x": scale(row["region_low"]),
                "x2": scale(row["region_high"]),
                "y": y - 14,
                "y2": y + 14,
            }
        )
    lines["ticks"] += [
        {"x": scale(tick), "y": y - 14, "y2": y + 14, "zero": tick == 0, "text": signed(tick)}
        for tick in scale.ticks()
    ]
    for index, (seed, value) in enumerate(row["values"].items()):
        # Three lanes, so that equal values stay apart.
        lines["seeds"].append({"x": scale(value), "y": y + (index % 3 - 1) * 5, "seed": seed, "value": value})
    lines["means"].append(
        {
            "x": scale(row["mean"]),
            "left": scale(row["low"]),
            "right": scale(row["high"]),
            "y": y,
            "verdict": row["verdict"],
            "mean": row["mean"],
            "low": row["low"],
            "high": row["high"],
            "quantity": row["words"],
        }
    )
    if row["published"] is not None:
        lines["papers"].append({"x": scale(row["published"]), "y": y, "value": row["published"]})


def signed(value: float) -> str:
    """`0`, `+0.01`, `−0.02`."""
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")


def _x(field: str) -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, 1]))


def _y(field: str, height: int) -> alt.Y:
    return alt.Y(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, height], reverse=True))


def _bands(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    ink = VERDICT_INKS["supported"].expr
    band = alt.Chart(frame).mark_rect(color=ink, opacity=0.13)
    return [band.encode(x=_x("x"), x2=alt.X2("x2:Q"), y=_y("y", height), y2=alt.Y2("y2:Q"))]


def _ticks(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(x=_x("x"))
    span = base.encode(y=_y("y", height), y2=alt.Y2("y2:Q"))
    text = base.mark_text(baseline="top", dy=4, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
    return [
        span.mark_rule(color=theme.REFERENCE_BAND.expr, opacity=0.5),
        span.transform_filter("datum.zero").mark_rule(color=theme.STRONG_TEXT.expr, strokeWidth=1.4),
        text.encode(y=_y("y2", height), text=alt.Text("text:N")),
    ]


def _heads(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(y=_y("y", height))
    # A narrow place has room for one of the two: the reading is in the table, too.
    words = base.mark_text(align="left", fontSize=12, color=theme.STRONG_TEXT.expr, limit=900)
    return [words.encode(x=alt.XValue(0), text=alt.Text("words:N"))]


def _seeds(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    points = alt.Chart(frame).mark_circle(size=26, opacity=0.6, color=theme.REFERENCE.expr)
    tips = [alt.Tooltip("seed:Q"), alt.Tooltip("value:Q", format="+.4g")]
    return [points.encode(x=_x("x"), y=_y("y", height), tooltip=tips)]


def _means(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    colour = alt.Color("verdict:N", scale=_verdict_scale(), legend=None)
    tips = [
        alt.Tooltip("quantity:N"),
        alt.Tooltip("mean:Q", format="+.4g"),
        alt.Tooltip("low:Q", title="95 % from", format="+.4g"),
        alt.Tooltip("high:Q", title="to", format="+.4g"),
        alt.Tooltip("verdict:N"),
    ]
    base = alt.Chart(frame).encode(y=_y("y", height), color=colour, tooltip=tips)
    return [
        base.mark_rule(strokeWidth=3).encode(x=_x("left"), x2=alt.X2("right:Q")),
        base.mark_point(filled=True, size=150, opacity=1).encode(x=_x("x")),
    ]


def _papers(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(
        x=_x("x"), y=_y("y", height), tooltip=[alt.Tooltip("value:Q", title="published", format="+.4g")]
    )
    mark = base.mark_point(
        shape="diamond", filled=False, size=130, strokeWidth=2, color=theme.STRONG_TEXT.expr
    )
    style: dict[str, Any] = {"fontSize": 10, "color": theme.STRONG_TEXT.expr, "text": "paper"}
    # At the right edge there is no room behind the mark.
    behind = base.transform_filter("datum.x < 0.85").mark_text(dx=10, align="left", **style)
    before = base.transform_filter("datum.x >= 0.85").mark_text(dx=-10, align="right", **style)
    return [mark, behind, before]
