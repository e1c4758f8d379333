"""A figure as PNG, SVG, PDF or a page of its own. Drawn by vl-convert: no browser, no network.

Everything starts from one SVG in millimetres, so the formats agree.
"""

import re
from dataclasses import dataclass

import vl_convert

from explorer.errors import one_of
from explorer.export import pages, vega
from explorer.export.settings import FORMATS, LABEL_PX, MM_PER_INCH, PT_PER_INCH, FigureSettings
from explorer.export.svg import prepared
from explorer.figures.panel import Panel

_SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)" viewBox="0 0 ([\d.]+) ([\d.]+)"')


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """An SVG and how large it is."""

    inner: str
    """The SVG without width and height; its view box is in pixels."""
    width_pt: float
    height_pt: float

    @property
    def svg(self) -> str:
        """In millimetres, as print knows it."""
        width, height = (value / PT_PER_INCH * MM_PER_INCH for value in (self.width_pt, self.height_pt))
        return self.sized(f"{width:.3f}mm", f"{height:.3f}mm")

    @property
    def in_points(self) -> str:
        """For the converter, which takes a pixel for a point."""
        return self.sized(f"{self.width_pt:.4f}", f"{self.height_pt:.4f}")

    def sized(self, width: str, height: str) -> str:
        return self.inner.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1)


def render(panel: Panel, kind: str, settings: FigureSettings, footer: str = "") -> bytes:
    """The bytes of a file. `footer`: a line of provenance under an HTML figure.

    Raises ConfigError for an unknown format.
    """
    one_of("format", kind, FORMATS)
    if kind == "html":
        return pages.figure_page(panel, settings, width=pixels(settings), footer=footer).encode()
    return converted(draw(panel, settings), kind, settings)


def converted(drawing: Drawing, kind: str, settings: FigureSettings) -> bytes:
    """A drawing as SVG, PDF or PNG."""
    if kind == "svg":
        return drawing.svg.encode()
    if kind == "pdf":
        return bytes(vl_convert.svg_to_pdf(drawing.in_points))
    return bytes(vl_convert.svg_to_png(drawing.in_points, scale=1, ppi=settings.dpi))


def pixels(settings: FigureSettings) -> int:
    """Width of the drawing: the narrower the page or the larger the letters, the fewer pixels."""
    return max(120, round(settings.width_pt * LABEL_PX / settings.font_pt))


def draw(panel: Panel, settings: FigureSettings) -> Drawing:
    """Draw a figure at its size.

    With a height, the width in pixels is searched for that gives the proportions: legends and titles
    break differently at another width, so the second look is the exact one.
    """
    width = pixels(settings)
    svg = _drawn(panel, settings, width)
    if settings.height_pt is not None:
        for _ in range(2):
            _, high = _size(svg)
            width = max(120, round(high * settings.width_pt / settings.height_pt))
            svg = _drawn(panel, settings, width)
    wide, high = _size(svg)
    height_pt = settings.height_pt or settings.width_pt * high / wide
    return Drawing(inner=_fitted(svg), width_pt=settings.width_pt, height_pt=height_pt)


def _drawn(panel: Panel, settings: FigureSettings, width: int) -> str:
    spec = vega.complete(panel, width=width, title=settings.title, dark=settings.dark)
    return str(vl_convert.vegalite_to_svg(vega.to_json(spec)))


def _size(svg: str) -> tuple[float, float]:
    found = _SIZE.search(svg)
    assert found is not None, "the converter's SVG says how large it is"
    return float(found[3]), float(found[4])


def _fitted(svg: str) -> str:
    """Without width and height, ready to be converted. A viewer with wider letters must not cut them off."""
    return prepared(_SIZE.sub(r'overflow="visible" viewBox="0 0 \3 \4"', svg, count=1))
