"""Charts of the Evidence page: the verdicts at a glance, and one claim's comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.inks import Ink
from explorer.charts.value_range import ValueRange, across, down

VERDICT_INKS: dict[str, Ink] = {
    "supported": Ink("#1B7F5C", "#3FBF93"),
    "contradicted": Ink("#B3261E", "#FF8A80"),
    "not resolved at this scale": Ink("#7A6A3A", "#C9B26B"),
    "not run": Ink("#C3C8D0", "#4A515D"),
    "not testable here": Ink("#E4E7EB", "#2B3038"),
}
WIDE_COLUMNS, NARROW_COLUMNS = 4, 3
TILE_PX, HEADING_PX, GAP_PX, LINE_PX = 29, 26, 3, 11
"""Heights on a narrow page, and the gap between tiles; a wide page has fewer rows in the same height."""
LINE_LETTERS = 18
_IS_NARROW_GRID = "width < 700"
ROW_PX, HEAD_PX, MARK_PX, AXIS_PX = 92, 16, 44, 20


def _verdict_scale() -> alt.Scale:
    return alt.Scale(domain=list(VERDICT_INKS), range=[ink.expr for ink in VERDICT_INKS.values()])


def verdict_tiles(frame: pl.DataFrame) -> theme.Figure:
    """One tile per claim with its name, the tiles of a verdict under the verdict.

    frame: id, name, verdict, claim, effect; in the order of the tiles.
    """
    if frame.is_empty():
        return theme.no_data("no claim has a verdict yet")
    verdicts = [name for name in VERDICT_INKS if name in set(frame["verdict"])]
    counts = [frame.filter(pl.col("verdict") == name).height for name in verdicts]
    rows = {columns: [-(-n // columns) for n in counts] for columns in (NARROW_COLUMNS, WIDE_COLUMNS)}
    headings = pl.DataFrame(
        {
            "verdict": verdicts,
            "heads": range(len(verdicts)),
            "before_narrow": _before(rows[NARROW_COLUMNS]),
            "before_wide": _before(rows[WIDE_COLUMNS]),
        }
    )
    tiles = frame.join(headings, on="verdict", maintain_order="left").with_columns(
        nth=pl.int_range(pl.len()).over("verdict"),
        lines=pl.Series([_two_lines(name) for name in frame["name"]], dtype=pl.String),
    )
    narrow, wide = sum(rows[NARROW_COLUMNS]), sum(rows[WIDE_COLUMNS])
    heads_px = HEADING_PX * len(verdicts)
    row_px = f"((height - {heads_px}) / ({_IS_NARROW_GRID} ? {narrow} : {wide}))"
    layers = [*_tiles(tiles, row_px), _headings(headings, row_px)]
    figure: alt.LayerChart = theme.titled(alt.layer(*layers), height=heads_px + TILE_PX * narrow)
    return figure


def _tiles(tiles: pl.DataFrame, row_px: str) -> list[alt.Chart]:
    """The tiles and their names."""
    columns = f"({_IS_NARROW_GRID} ? {NARROW_COLUMNS} : {WIDE_COLUMNS})"
    column_px = f"((width + {GAP_PX}) / {columns})"
    left = f"(datum.nth % {columns}) * {column_px}"
    top = (
        f"(datum.heads + 1) * {HEADING_PX} + (({_IS_NARROW_GRID} ? datum.before_narrow : datum.before_wide)"
        f" + floor(datum.nth / {columns})) * {row_px}"
    )
    base = alt.Chart(tiles).encode(
        tooltip=[
            alt.Tooltip("name:N", title="claim"),
            alt.Tooltip("claim:N", title="text"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("effect:N"),
            alt.Tooltip("id:N", title="id in URLs"),
        ],
    )
    rects = base.mark_rect(cornerRadius=4).encode(
        x=alt.XValue(alt.expr(left)),
        x2=alt.X2Value(alt.expr(f"{left} + {column_px} - {GAP_PX}")),
        y=alt.YValue(alt.expr(top)),
        y2=alt.Y2Value(alt.expr(f"{top} + {row_px} - {GAP_PX}")),
        color=alt.Color("verdict:N", scale=_verdict_scale(), legend=None),
    )
    lift = f"({_IS_NARROW_GRID} && indexof(datum.lines, '\\n') > 0 ? {LINE_PX / 2} : 0)"
    names = base.mark_text(
        fontSize=alt.ExprRef(f"{_IS_NARROW_GRID} ? 10 : 12"),
        fontWeight=600,
        baseline="middle",
        lineBreak="\n",
        lineHeight=LINE_PX,
    ).encode(
        x=alt.XValue(alt.expr(f"{left} + ({column_px} - {GAP_PX}) / 2")),
        y=alt.YValue(alt.expr(f"{top} + ({row_px} - {GAP_PX}) / 2 - {lift}")),
        text=alt.TextValue(alt.expr(f"{_IS_NARROW_GRID} ? datum.lines : datum.name")),
        color=alt.ColorValue(alt.expr("luminance(background) < 0.3 ? '#10131A' : '#FFFFFF'")),
    )
    return [rects, names]


def _headings(headings: pl.DataFrame, row_px: str) -> alt.Chart:
    """The verdicts, each above its tiles."""
    before = f"({_IS_NARROW_GRID} ? datum.before_narrow : datum.before_wide)"
    named = alt.Chart(headings).mark_text(align="left", baseline="bottom", fontSize=12)
    chart: alt.Chart = named.encode(
        x=alt.XValue(0),
        y=alt.YValue(alt.expr(f"(datum.heads + 1) * {HEADING_PX} - 5 + {before} * {row_px}")),
        text=alt.Text("verdict:N"),
        color=alt.ColorValue(theme.STRONG_TEXT.expr),
    )
    return chart


def _before(rows: Sequence[int]) -> list[int]:
    """The number of rows of tiles above those of each verdict."""
    return [sum(rows[:i]) for i in range(len(rows))]


def _two_lines(name: str) -> str:
    """A name as a narrow tile shows it: a long one is broken near its middle."""
    spaces = [i for i, letter in enumerate(name) if letter == " "]
    if len(name) <= LINE_LETTERS or not spaces:
        return name
    middle = min(spaces, key=lambda i: max(i, len(name) - i - 1))
    return f"{name[:middle]}\n{name[middle + 1 :]}"


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


def _bands(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    ink = VERDICT_INKS["supported"].expr
    band = alt.Chart(frame).mark_rect(color=ink, opacity=0.13)
    return [band.encode(x=across("x"), x2=alt.X2("x2:Q"), y=down("y", height), y2=alt.Y2("y2:Q"))]


def _ticks(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(x=across("x"))
    span = base.encode(y=down("y", height), y2=alt.Y2("y2:Q"))
    text = base.mark_text(baseline="top", dy=4, fontSize=11, color=theme.NEUTRAL_TEXT.expr)
    return [
        span.mark_rule(color=theme.REFERENCE_BAND.expr, opacity=0.5),
        span.transform_filter("datum.zero").mark_rule(color=theme.STRONG_TEXT.expr, strokeWidth=1.4),
        text.encode(y=down("y2", height), text=alt.Text("text:N")),
    ]


def _heads(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(y=down("y", height))
    # A narrow place has room for one of the two: the reading is in the table, too.
    words = base.mark_text(align="left", fontSize=12, color=theme.STRONG_TEXT.expr, limit=900)
    return [words.encode(x=alt.XValue(0), text=alt.Text("words:N"))]


def _seeds(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    points = alt.Chart(frame).mark_circle(size=26, opacity=0.6, color=theme.REFERENCE.expr)
    tips = [alt.Tooltip("seed:Q"), alt.Tooltip("value:Q", format="+.4g")]
    return [points.encode(x=across("x"), y=down("y", height), tooltip=tips)]


def _means(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    colour = alt.Color("verdict:N", scale=_verdict_scale(), legend=None)
    tips = [
        alt.Tooltip("quantity:N"),
        alt.Tooltip("mean:Q", format="+.4g"),
        alt.Tooltip("low:Q", title="95 % from", format="+.4g"),
        alt.Tooltip("high:Q", title="to", format="+.4g"),
        alt.Tooltip("verdict:N"),
    ]
    base = alt.Chart(frame).encode(y=down("y", height), color=colour, tooltip=tips)
    return [
        base.mark_rule(strokeWidth=3).encode(x=across("left"), x2=alt.X2("right:Q")),
        base.mark_point(filled=True, size=150, opacity=1).encode(x=across("x")),
    ]


def _papers(frame: pl.DataFrame, height: int) -> list[alt.Chart]:
    base = alt.Chart(frame).encode(
        x=across("x"), y=down("y", height), tooltip=[alt.Tooltip("value:Q", title="published", format="+.4g")]
    )
    mark = base.mark_point(
        shape="diamond", filled=False, size=130, strokeWidth=2, color=theme.STRONG_TEXT.expr
    )
    style: dict[str, Any] = {"fontSize": 10, "color": theme.STRONG_TEXT.expr, "text": "paper"}
    # At the right edge there is no room behind the mark.
    behind = base.transform_filter("datum.x < 0.85").mark_text(dx=10, align="left", **style)
    before = base.transform_filter("datum.x >= 0.85").mark_text(dx=-10, align="right", **style)
    return [mark, behind, before]
