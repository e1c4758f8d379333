"""What a worker process is asked to draw, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.export.drawing import Chart
    from explorer.export.settings import FigureSettings


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order to draw one chart."""

    chart: "Chart"
    settings: "FigureSettings"
    kinds: tuple[str, ...]
    """Formats of `drawing.convert`."""
    page: "tuple[Chart, FigureSettings] | None" = None
    """The chart for a report, if that is a different drawing."""


@dataclass(frozen=True, kw_only=True)
class OrderFiles:
    """The files of an order."""

    files: Mapping[str, bytes]
    """By format."""
    in_page: str
    """The drawing for a report, without its title."""
