"""Colours, dashes, text and sizes of every figure: the one place that decides how things look.

Every colour is a pair, one for a light and one for a dark page. The figure itself picks: Vega knows
its own background, so one specification is right in both themes and in an export, and a chart
function needs no switch. Method colours follow Okabe and Ito (checked against simulated colour
vision deficiencies); the count scope of a rule sets shade and dash (`charts.inks`), and labels at the
line ends repeat both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import altair as alt
import polars as pl

from explorer.charts.inks import SHADES, Dash, dash_of, in_scope
from explorer.charts.inks import Ink as Ink
from explorer.charts.inks import mix as mix
from explorer.config.routings import KINDS

# Altair refuses more than 5,000 rows when a figure is written to a file. Our frames are binned
# beforehand and a heatmap of 64 experts by 200 bins has 12,800 cells, so the guard only hurts.
alt.data_transformers.disable_max_rows()
# Or Altair holds every axis and mark against its schema once more while it is made, which takes as long as
# the chart itself. The tests of the charts validate whole figures.
alt.utils.schemapi.disable_debug_mode()

Figure = alt.Chart | alt.LayerChart
MAX_DIRECT_LABELS = 4
ZOOM = "zoom_x"
PLAYHEAD_EVENT = "moe-playhead"
"""The event that tells charts that the playhead moved; the `value` of the page's body is then the step.

Vega's direct binding needs an element; `ui/components/shared/vega_bridge.js` keeps its value up to date."""


class Follow(Enum):
    """A playhead that stands where the player of the page says, without anybody sending the figure again."""

    PLAYER = "player"


NEUTRAL_TEXT = Ink("#5A6270", "#A9B0BC")
STRONG_TEXT = Ink("#24292F", "#E6E9EE")
FAINT_LINE = Ink("#9AA1AC", "#6E7683")
REFERENCE = Ink("#6B7280", "#9CA3AF")
REFERENCE_BAND = Ink("#C9CED6", "#4B5261")
PLAYHEAD = Ink("#111827", "#F3F4F6")
DEAD = Ink("#707070", "#767676")
"""No tokens at all: neutral, outside of the scale of loads. A hue of its own was the loudest colour for the
smallest load, and green reads as good."""
BROKEN = Ink("#B3261E", "#FF8A80")
"""Where values stop being finite."""

FAMILIES: dict[str, Ink] = {
    "none": Ink("#7F7F7F", "#A6A6A6"),
    "aux_loss": Ink("#D55E00", "#F28A3C"),
    "loss_free": Ink("#0072B2", "#4AA8E0"),
    # Beside loss-free in most comparisons: apart from it and from quantile for colour-blind readers as well.
    "smebu": Ink("#530080", "#A845CC"),
    "quantile": Ink("#5B57C8", "#9D99F2"),
    "combined": Ink("#B5559A", "#E08CC8"),
    "scheduled": Ink("#00855F", "#35C79A"),
    # A run that does not state its rule: neither grey like no balancing nor like a reference line.
    "unknown": Ink("#3F3F55", "#596178"),
    # Not a balancer but who chooses (`explorer/config/routings.py`): darker than the rules on a light page.
    "expert_choice": Ink("#9E1B32", "#B5493A"),
    "expert_threshold": Ink("#5F5700", "#F5EC5A"),
    "hash": Ink("#0000D0", "#3A5BFF"),
    "random": Ink("#004D20", "#8DF59E"),
    "dense": Ink("#0A0A0A", "#FFFFFF"),
}
# The same hues, a little stronger: text needs more contrast than a line.
FAMILY_TEXT: dict[str, Ink] = {
    "none": Ink("#616161", "#BDBDBD"),
    "aux_loss": Ink("#AD4A00", "#F7A566"),
    "loss_free": Ink("#005F96", "#74BFEC"),
    "smebu": Ink("#530080", "#CF9BE6"),
    "quantile": Ink("#4A46B0", "#B6B3F6"),
    "combined": Ink("#973F80", "#EBA9D8"),
    "scheduled": Ink("#006B4C", "#63D6B1"),
    "unknown": Ink("#3F3F55", "#A9B0BC"),
    "expert_choice": Ink("#8A172B", "#E58A7D"),
    "expert_threshold": Ink("#5F5700", "#F5EC5A"),
    "hash": Ink("#0000D0", "#8295FF"),
    "random": Ink("#004D20", "#8DF59E"),
    "dense": Ink("#0A0A0A", "#FFFFFF"),
}
FAMILY_LABELS = {
    "none": "no balancing",
    "aux_loss": "auxiliary loss",
    "loss_free": "loss-free",
    "smebu": "SMEBU",
    "quantile": "quantile",
    "combined": "combined",
    "scheduled": "scheduled",
    "unknown": "rule not stated",
    **{name: kind.words for name, kind in KINDS.items() if name != "token_choice"},
}
EXPERT_INKS = (
    Ink("#8D5B4C", "#C99A7C"),
    Ink("#007C91", "#37C8DE"),
    Ink("#B3003C", "#FF7F9E"),
    Ink("#5E7A00", "#A6CC3A"),
    Ink("#7B2FBE", "#C58BF2"),
    STRONG_TEXT,
)
"""Single experts, which share no colour with a rule; the first two are the highest and the lowest bias."""

# Titles with units, the same wherever the quantity appears.
AXIS = {
    "step": "step",
    "tokens": "training tokens",
    "tokens_seen": "training tokens",
    "time": "training time (s)",
    "wall_time_s": "training time (s)",
    "expert": "expert",
    "load_ratio": "load (× uniform)",
    "expert_bias": "expert bias (score units)",
    "max_vio": "MaxVio (busiest load / mean − 1)",
    "max_vio_global": "MaxVio of the whole held-out set (0 = balanced)",
    "lm_loss": "language loss (nats per token)",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte",
}


@dataclass(frozen=True)
class RunStyle:
    """How one run is drawn everywhere."""

    run_id: str
    label: str
    family: str
    ink: Ink
    text: Ink
    dash: Dash


def family_ink(family: str, scope: str = "") -> Ink:
    """The colour of a method in the shade of its count scope; an unknown method has one of its own."""
    return in_scope(FAMILIES.get(family, FAMILIES["unknown"]), scope)


def family_text(family: str, scope: str = "") -> Ink:
    """The same for text, which needs more contrast than a line."""
    return in_scope(FAMILY_TEXT.get(family, NEUTRAL_TEXT), scope)


def rule_key(family: str, scope: str) -> str:
    """What marks of one method and shade share: `aux_loss`, `aux_loss/sequence`."""
    family_name = family if family in FAMILIES else "unknown"
    return f"{family_name}/{scope}" if scope in SHADES else family_name


def rule_scale(keys: Iterable[str]) -> alt.Scale:
    """The colours of some `rule_key`s."""
    parts = {key: key.partition("/") for key in dict.fromkeys(keys)}
    return alt.Scale(domain=list(parts), range=[family_ink(f, scope).expr for f, _, scope in parts.values()])


def run_styles(
    run_ids: Iterable[str],
    labels: Mapping[str, str] | None = None,
    families: Mapping[str, str] | None = None,
    scopes: Mapping[str, str] | None = None,
) -> list[RunStyle]:
    """Hue by method, shade and dash by count scope; runs that share both differ by a further dash.

    Two runs with the same label get their run id behind it, so that they stay apart in a legend.
    """
    labels, families, scopes = labels or {}, families or {}, scopes or {}
    ids = list(dict.fromkeys(run_ids))
    names = [labels.get(run_id, run_id) for run_id in ids]
    seen: Counter[tuple[str, str]] = Counter()
    styles = []
    for run_id, label in zip(ids, names, strict=True):
        family, scope = families.get(run_id, "none"), scopes.get(run_id, "")
        name = label if names.count(label) == 1 else f"{label} · {run_id}"
        ink, text = family_ink(family, scope), family_text(family, scope)
        styles.append(RunStyle(run_id, name, family, ink, text, dash_of(scope, seen[family, scope])))
        seen[family, scope] += 1
    return styles


def colour_scale(styles: Sequence[RunStyle]) -> alt.Scale:
    return alt.Scale(domain=[s.label for s in styles], range=[s.ink.expr for s in styles])


def dash_scale(styles: Sequence[RunStyle]) -> alt.Scale:
    return alt.Scale(domain=[s.label for s in styles], range=[list(s.dash) for s in styles])


def zoom() -> alt.Parameter:
    """Drag to pan, Ctrl (or Cmd, or a pinch) with the wheel to zoom, double click to reset; along x only.

    The plain wheel goes on scrolling the page. The name is fixed, so that it can be kept: see `zooms`.
    """
    wheel = "wheel![event.ctrlKey || event.metaKey]"
    return alt.selection_interval(name=ZOOM, bind="scales", encodings=["x"], zoom=wheel)


def zooms(figure: Figure) -> list[str]:
    """Names of the zooms in a figure, for `st.altair_chart(on_select=…, selection_mode=zooms(figure))`.

    Streamlit resets a zoom whenever the data change (a live tick, a playhead), unless the zoom is among
    the active selections; then it keeps it.
    """
    params = figure.params if isinstance(figure.params, list) else []
    return [ZOOM] if any(str(getattr(param, "name", "")) == ZOOM for param in params) else []


def step_axis(**settings: Any) -> alt.Axis:
    """A horizontal axis with a number about every 110 pixels, at least three, and no grid."""
    count = alt.ExprRef("max(3, ceil(width / 110))")
    return alt.Axis(**{"grid": False, "tickMinStep": 1, "tickCount": count, "format": "~f", **settings})


MOST_LETTERS = 46
"""Of a title in one line: half a page has room for no more."""


def _lines(title: str) -> str | list[str]:
    """Break a long title: the count scope, or a later rule, on the second line."""
    place = max(title.rfind(mark, 0, MOST_LETTERS) for mark in (", from ", " (", ", "))
    if len(title) <= MOST_LETTERS or place < 0:
        return title
    return [title[:place].rstrip(","), title[place:].lstrip(", ")]


def titled(chart: Any, *, title: str = "", height: int) -> Any:
    """Set size and title of a new chart, and return it; an empty title leaves none.

    The width is fitted to the container. `height` is that of the plot itself, in the page as in a file,
    so that labels which were moved apart for it stay apart.
    """
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    sizes: dict[str, Any] = {"width": "container", "height": height, "autosize": fit}
    if title:
        sizes["title"] = alt.TitleParams(_lines(title), anchor="start", offset=10)
    # In place: `properties` copies every layer first, which takes as long as drawing up the chart.
    for name, value in sizes.items():
        chart[name] = value
    return chart


def columns_that_fit(most: int, width: int) -> alt.ExprRef:
    """Columns of a legend: `most` where the plot is `width` pixels or wider, one where it is below 300."""
    return alt.ExprRef(f"width < 300 ? 1 : width < {width} ? 2 : {most}")


def no_data(message: str = "no data", *, title: str = "", height: int = 160) -> alt.LayerChart:
    """What an empty frame looks like: a calm sentence instead of an exception."""
    text = alt.Chart(pl.DataFrame({"message": [message]})).mark_text(fontSize=14, color=NEUTRAL_TEXT.expr)
    layer = alt.layer(
        text.encode(text=alt.Text("message:N"), x=alt.XValue(alt.expr("width / 2")), y=alt.YValue(height / 2))
    )
    figure: alt.LayerChart = titled(layer, title=title, height=height)
    return figure


FILE_FONT = "Arial, 'Liberation Sans', Arimo, Helvetica, 'Nimbus Sans', sans-serif"
"""Widths alike, so that labels keep their places wherever a file is opened; the converter has the second."""


def file_background(dark: bool) -> str:
    return "#0F1218" if dark else "#FFFFFF"


def file_config(*, dark: bool = False) -> dict[str, Any]:
    """How a figure looks in a file, where no page around it lends its theme: a Vega-Lite `config`."""
    text, strong = NEUTRAL_TEXT.pick(dark), STRONG_TEXT.pick(dark)
    return {
        "font": FILE_FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": text,
            "titleColor": text,
            "gridColor": "#2C313A" if dark else "#E6E8EC",
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 10,
        },
        "legend": {
            "labelColor": text,
            "titleColor": text,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 11,
        },
        "title": {
            "color": strong,
            "subtitleColor": text,
            "fontSize": 15,
            "subtitleFontSize": 11,
            "subtitlePadding": 4,
            "anchor": "start",
            "offset": 12,
        },
        "header": {"labelColor": text, "titleColor": text},
    }
