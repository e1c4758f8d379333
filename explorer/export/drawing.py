"""Drawing by vl-convert: no browser, no network. All formats are made from one SVG, so they agree.

Loads only the converter, because `export.converters` runs it in worker processes.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.etree.ElementTree import Element

import vl_convert

from explorer.export import svg, titles
from explorer.export.settings import LABEL_PX, MM_PER_INCH, PT_PER_INCH, FigureSettings

MOST_SVG = 700_000
"""Larger drawings (a heatmap has a rectangle per cell) are embedded as images, or the page gets slow."""
PAGE_DPI = 200
"""Of such an image."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart that can be drawn at any width."""

    key: str
    """Prefix of ids in its SVG, so that one page can hold several."""
    subject: str
    finding: str
    vega: Mapping[str, Any]
    """Complete Vega-Lite except for width and title."""
    source: str = ""
    """The runs that are drawn, below title and finding."""

    def at(self, width: int, *, title: bool) -> dict[str, Any]:
        """Complete Vega-Lite, `width` pixels wide."""
        words = (
            {"title": titles.title(self.subject, self.finding, width, source=self.source)} if title else {}
        )
        return {**self.vega, "width": width, **words}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """An SVG and its size."""

    view_box: tuple[float, float]
    """Width and height in pixels."""
    body: str
    """Content of the SVG element."""
    width_pt: float
    height_pt: float

    @property
    def svg(self) -> str:
        """The SVG with its size in millimetres, for print."""
        width, height = (value / PT_PER_INCH * MM_PER_INCH for value in (self.width_pt, self.height_pt))
        return self.markup(width=f"{width:.3f}mm", height=f"{height:.3f}mm")

    @property
    def in_points(self) -> str:
        """The SVG with its size in points, for the converter, which treats a pixel as a point."""
        return self.markup(width=f"{self.width_pt:.4f}", height=f"{self.height_pt:.4f}")

    def markup(self, **attributes: str) -> str:
        """The SVG; attributes of its root beside the view box, `_` for a hyphen."""
        names_and_values = {name.replace("_", "-"): value for name, value in attributes.items()}
        box = " ".join(f"{value:g}" for value in (0, 0, *self.view_box))
        # A viewer with wider fonts must not clip text.
        start = svg.start_tag({**names_and_values, "class": "marks", "overflow": "visible", "viewBox": box})
        return f"{start}{self.body}</svg>"

    def in_page(self, alt: str) -> str:
        """Markup for an HTML page: the SVG, or a PNG if that is too large."""
        if len(self.body) <= MOST_SVG:
            return self.markup(role="img", aria_label=alt)
        image = base64.b64encode(convert(self, "png", PAGE_DPI)).decode()
        return f'<img alt="{escape(alt)}" src="data:image/png;base64,{image}">'


def convert(drawing: Drawing, kind: str, dpi: int) -> bytes:
    """A drawing as SVG, PDF or PNG. dpi: of a PNG."""
    if kind == "svg":
        return drawing.svg.encode()
    if kind == "pdf":
        return bytes(vl_convert.svg_to_pdf(drawing.in_points))
    return bytes(vl_convert.svg_to_png(drawing.in_points, scale=1, ppi=dpi))


def pixels(settings: FigureSettings) -> int:
    """Width of the drawing: fewer for narrower pages and larger fonts."""
    return max(120, round(settings.width_pt * LABEL_PX / settings.font_pt))


def draw(chart: Chart, settings: FigureSettings) -> Drawing:
    """Draw a chart at its size."""
    return draw_twice(chart, settings)[0]


def draw_twice(chart: Chart, settings: FigureSettings) -> tuple[Drawing, Drawing]:
    """Draw a chart at its size, both as configured and without its title.

    With a height, the width in pixels with the right proportions is found in two passes: legends and
    titles wrap differently at another width, so the second pass is the exact one.
    """
    width = pixels(settings)
    root, title_px = _vega_svg(chart, settings, width)
    if settings.height_pt is not None:
        for _ in range(2):
            _, high = svg.size(root)
            width = max(120, round(high * settings.width_pt / settings.height_pt))
            root, title_px = _vega_svg(chart, settings, width)
    svg.prepare(root, f"{chart.key}-c" if chart.key else "c")
    whole = _drawing(root, settings.width_pt, settings.height_pt)
    if not title_px:
        return whole, whole
    svg.remove_title(root, title_px)
    return whole, _drawing(root, settings.width_pt, None)


def _vega_svg(chart: Chart, settings: FigureSettings, width: int) -> tuple[Element, int]:
    """Vega's drawing and the height of its title in pixels."""
    vega = chart.at(width, title=settings.title)
    text = json.dumps(vega, ensure_ascii=False, allow_nan=False, default=str)
    title_px = titles.height(vega["title"]) if settings.title else 0
    return svg.parse(vl_convert.vegalite_to_svg(text)), title_px


def _drawing(root: Element, width_pt: float, height_pt: float | None) -> Drawing:
    wide, high = svg.size(root)
    return Drawing(
        view_box=(wide, high),
        body=svg.markup(root),
        width_pt=width_pt,
        height_pt=height_pt or width_pt * high / wide,
    )


def warm_up() -> None:
    """Start the converter's JavaScript engine, which takes a third of a second."""
    vl_convert.vegalite_to_svg('{"mark": "point", "data": {"values": []}}')


def load_fonts() -> None:
    """Load the fonts of images."""
    text = '<text y="9">a</text>'
    vl_convert.svg_to_png(f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{text}</svg>')
