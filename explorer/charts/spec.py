"""A chart specification: Vega-Lite with separate data, so that rows can be exchanged.

Pages show it, files are written from it, and when the playhead moves only the one row that says where
it stands is another.
"""

import hashlib
import io
import sys
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import polars as pl
import polars.selectors as cs

from explorer.charts import theme

PLAYHEAD_COLUMNS = {"playhead", "name"}
NUMBERS = {
    "decimal": ".",
    "thousands": ",",
    "grouping": [3],
    "currency": ["$", ""],
    "percent": "\N{NO-BREAK SPACE}%",
}
"""Number formats of d3, of which only that of shares is our own: as in sentences (`wording.percent`)."""
SOMEWHERE = 0.0
"""A playhead to build with: without one a figure would have no row to exchange."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A figure as Vega-Lite, its data apart."""

    vega: dict[str, Any]
    datasets: dict[str, pl.DataFrame]
    playhead: str | None
    """Name of the data set with the playhead; None where the figure has none."""
    picks: bool
    """Whether a click selects a mark: whether it has the selection `pick`."""
    zooms: tuple[str, ...]
    """Zooms that Streamlit must be told of, or it forgets them; see `charts.theme.zooms`."""

    def at(self, playhead: float | None) -> dict[str, Any]:
        """What Streamlit is given, with the playhead at this step or nowhere."""
        datasets = dict(self.datasets)
        if self.playhead is not None:
            datasets[self.playhead] = _playhead(playhead)
        return {**self.vega, "datasets": datasets}

    def with_rows(self, rows: pl.DataFrame) -> "Spec":
        """The same figure with other rows in the data set that has these columns."""
        names = [name for name, part in self.datasets.items() if set(part.columns) == set(rows.columns)]
        return replace(self, datasets={**self.datasets, **dict.fromkeys(names, rows)})


def make(figure: theme.Figure) -> Spec:
    """Take a figure apart."""
    frames: dict[str, pl.DataFrame] = {}
    token = _frames.set(frames)
    try:
        # The tests of the charts hold figures against the schema; here that would take most of the time.
        vega = figure.to_dict(validate=False)
    finally:
        _frames.reset(token)
    # Streamlit would leave 20 pixels under every chart; with none the lowest title loses the feet of its g's.
    vega["padding"] = {"left": 0, "top": 5, "right": 5, "bottom": 3}
    # The description of the whole says it; thousands of marks read out one by one do not.
    # Streamlit would move the lowest label of a vertical axis up, where it names another height.
    vega["config"] = {"mark": {"aria": False}, "axisY": {"labelFlush": False}, "locale": {"number": NUMBERS}}
    rows: dict[str, list[dict[str, Any]]] = vega.pop("datasets", {})
    datasets = frames | {name: pl.DataFrame(part, infer_schema_length=None) for name, part in rows.items()}
    heads = [name for name, part in datasets.items() if set(part.columns) == PLAYHEAD_COLUMNS]
    return Spec(
        vega=vega,
        datasets=datasets,
        playhead=heads[0] if heads else None,
        picks=any(param.get("name") == "pick" for param in vega.get("params", ())),
        zooms=tuple(theme.zooms(figure)),
    )


_frames: ContextVar[dict[str, pl.DataFrame] | None] = ContextVar("frames", default=None)
"""Data sets of the figure that this thread takes apart."""


def _data(data: Any) -> Any:
    """Altair's data: a frame by name while a figure is taken apart, so that it never becomes rows of Python
    objects, which took half of the time of a heatmap; rows otherwise.
    """
    frames = _frames.get()
    if frames is None or not isinstance(data, pl.DataFrame) or data.select(~_SCALARS).width:
        return alt.default_data_transformer(data, max_rows=sys.maxsize)
    frame = _as_rows(data)
    content = io.BytesIO()
    frame.write_ipc(content)
    name = f"data-{hashlib.sha256(content.getvalue()).hexdigest()[:32]}"
    frames[name] = frame
    return {"name": name}


_SCALARS = (
    cs.integer()
    | cs.float()
    | cs.boolean()
    | cs.string()
    | cs.categorical()
    | cs.enum()
    | cs.by_dtype(pl.Null)
)


def _as_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the types that rows of Python objects have."""
    if frame.is_empty():
        return pl.DataFrame()
    unknown = [column.name for column in frame if column.null_count() == frame.height]
    types: dict[str, pl.DataType | type[pl.DataType]] = {}
    for name, kind in frame.schema.items():
        if name in unknown:
            types[name] = pl.Null
        elif kind.is_integer():
            types[name] = pl.Int64
        elif kind.is_float():
            types[name] = pl.Float64
        elif kind in (pl.Categorical, pl.Enum):
            types[name] = pl.String
    return frame.cast(types)  # type: ignore[arg-type]


alt.data_transformers.register("frames", _data)
alt.data_transformers.enable("frames")


def _itself(encoding: alt.FacetedEncoding, _memo: object = None) -> alt.FacetedEncoding:
    return encoding


# Layering charts copies every one several times, with all that its encodings hold, only to change the names
# and selections of the copies. No encoding is changed once it is made, so the copies share it.
alt.FacetedEncoding.__deepcopy__ = _itself  # type: ignore[attr-defined]


def without_legend(spec: Spec) -> Spec:
    """The same figure without its colour legend: one legend serves several figures."""
    layers = [_no_legend(layer) for layer in spec.vega.get("layer", ())]
    return replace(spec, vega={**spec.vega, "layer": layers})


def _no_legend(layer: dict[str, Any]) -> dict[str, Any]:
    encoding = layer.get("encoding", {})
    if not isinstance(encoding.get("color"), dict):
        return layer
    return {**layer, "encoding": {**encoding, "color": {**encoding["color"], "legend": None}}}


def _playhead(value: float | None) -> pl.DataFrame:
    """The one row of `playhead.playhead_layers`, or none."""
    values = [] if value is None else [float(value)]
    names = [f"step {int(v)}" for v in values]
    return pl.DataFrame(
        {"playhead": values, "name": names}, schema={"playhead": pl.Float64, "name": pl.String}
    )
