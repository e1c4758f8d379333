"""A figure as PNG, SVG, PDF or a standalone page."""

from collections.abc import Sequence

from explorer.errors import one_of
from explorer.export import drawing, pages, vega
from explorer.export.provenance import run_ids
from explorer.export.settings import FORMATS, FigureSettings
from explorer.figures.panel import Panel

MOST_LETTERS = 120
"""Maximum length of the run ids in a title."""


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
    """A panel's chart, ready for drawing; still: see `vega.complete`."""
    return drawing.Chart(
        key=panel.key,
        subject=panel.subject,
        finding=panel.finding,
        vega=vega.complete(panel, dark=dark, still=still),
        source=source_of(run_ids([panel])),
    )


def source_of(runs: Sequence[str]) -> str:
    """The runs of a figure in its title: their ids, or their number where the ids would be a paragraph."""
    names = ", ".join(runs)
    if len(names) > MOST_LETTERS:
        return f"{len(runs)} runs"
    return f"{'Run' if len(runs) == 1 else 'Runs'}: {names}" if runs else ""
