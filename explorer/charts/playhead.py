"""The vertical rule at the step of the player, which all panels share."""

from typing import Any

import altair as alt
import polars as pl

from explorer.charts import theme
from explorer.charts.anchored import EDGE_PX, at


def playhead_layers(playhead: float | theme.Follow | None, *, named: bool = True) -> list[alt.Chart]:
    """The vertical rule that all panels share, with its step above the plot if `named`.

    Always the same two layers: without a playhead their data is empty, so that setting one is a
    change of data and not of the figure. With `Follow` nothing has to be sent at all to move it.
    """
    if isinstance(playhead, theme.Follow):
        return _following_layers(named)
    values = [] if playhead is None else [float(playhead)]
    data = pl.DataFrame({"playhead": values}, schema={"playhead": pl.Float64}).with_columns(
        name=pl.lit("step ") + pl.col("playhead").cast(pl.Int64).cast(pl.String) if named else pl.lit("")
    )
    return _head_layers(alt.Chart(data), at("x", "playhead"), alt.Text("name:N"))


_RULE: dict[str, Any] = {"color": theme.PLAYHEAD.expr, "strokeWidth": 1.5, "clip": True}
_NAME: dict[str, Any] = {
    "clip": False,
    "baseline": "bottom",
    "dy": -4,
    "fontSize": 11,
    "fontWeight": 600,
    "color": theme.STRONG_TEXT.expr,
}


def _following_layers(named: bool) -> list[alt.Chart]:
    """The same two, placed by a signal that is bound to the page's body: it is always there."""
    bound = alt.BindDirect(element="body", event=theme.PLAYHEAD_EVENT)
    moved = alt.param(name="playhead", value="", bind=bound)
    place = "scale('x', isValid(playhead) && playhead !== '' ? toNumber(playhead) : NaN)"
    words = alt.value(alt.expr("'step ' + playhead" if named else "''"))
    rule, name = _head_layers(alt.Chart(pl.DataFrame({"playhead": [0.0]})), place, words)
    return [rule, name.add_params(moved)]


def _head_layers(data: alt.Chart, place: str, words: Any) -> list[alt.Chart]:
    """The rule and its words at the pixel `place`: a field would extend the axis.

    A step a little before the first one of the axis (see `EDGE_PX`) is drawn at the edge.
    """
    inside = alt.value(alt.expr(f"inrange({place}, [-{EDGE_PX}, width + {EDGE_PX}]) ? 1 : 0"))
    base = data.encode(x=alt.XValue(alt.expr(f"clamp({place}, 0, width)")), opacity=inside)
    rule = base.mark_rule(**_RULE).encode(y=alt.YValue(0), y2=alt.Y2Value("height"))
    return [rule, base.mark_text(**_NAME).encode(text=words, y=alt.YValue(0))]
