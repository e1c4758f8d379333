"""A figure as PNG, SVG, PDF or an HTML page."""

from explorer.errors import one_of
from explorer.export import drawing, pages, vega
from explorer.export.settings import FORMATS, FigureSettings
from explorer.figures.panel import Panel


def render(panel: Panel, kind: str, settings: FigureSettings, footer: str = "") -> bytes:
    """The bytes of a file. `footer`: a line of provenance under an HTML figure.

    Raises ConfigError for an unknown format.
    """
    one_of("format", kind, FORMATS)
    if kind == "html":
        width = drawing.pixels(settings)
        return pages.figure_page(panel, settings, width=width, footer=footer).encode()
    return drawing.convert(draw(panel, settings), kind, settings.dpi)


def draw(panel: Panel, settings: FigureSettings) -> drawing.Drawing:
    """Draw a panel at its size."""
    return drawing.draw(chart_of(panel, dark=settings.dark), settings)


def chart_of(panel: Panel, *, dark: bool, still: bool = True) -> drawing.Chart:
    """A panel's chart, ready to be drawn; still: see `vega.complete`."""
    return drawing.Chart(
        key=panel.key,
        subject=panel.subject,
        finding=panel.finding,
        vega=vega.complete(panel, dark=dark, still=still),
    )
