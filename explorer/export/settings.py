"""Figure settings: size, font, title, colours."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from explorer.errors import ConfigError

WIDTHS = {"one column": 85.0, "two columns": 174.0, "slide": 254.0}
"""Millimetres. Column widths of journals; a 16:9 slide is 254 mm wide."""
FORMATS = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "html": "text/html",
}
TABLES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
LABEL_PX = 11
"""Font size of axis labels in the drawing; `font_pt` is their final size."""
MM_PER_INCH, PT_PER_INCH = 25.4, 72.0


@dataclass(frozen=True, kw_only=True)
class FigureSettings:
    """Settings of a figure's file.

    The whole drawing is scaled so that axis labels have `font_pt`. With a height it is scaled to that
    height instead, and fonts with it: labels are placed for the plot's own height in pixels.
    Raises ConfigError for values out of range.
    """

    width_mm: float = WIDTHS["two columns"]
    height_mm: float | None = None
    font_pt: float = 8.0
    title: bool = True
    """Subject and finding above the plot; off where a caption has them."""
    dark: bool = False
    dpi: int = 300
    """Resolution of a PNG."""

    def __post_init__(self) -> None:
        _within("width_mm", self.width_mm, 40, 1000, "85 is one column, 174 two, 254 a slide")
        if self.height_mm is not None:
            _within("height_mm", self.height_mm, 20, 1000, "leave it out for the figure's own proportions")
        _within("font_pt", self.font_pt, 4, 40, "7 to 9 is usual in print")
        _within("dpi", self.dpi, 36, 1200, "300 is usual in print")

    @property
    def width_pt(self) -> float:
        return self.width_mm / MM_PER_INCH * PT_PER_INCH

    @property
    def height_pt(self) -> float | None:
        return None if self.height_mm is None else self.height_mm / MM_PER_INCH * PT_PER_INCH

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return asdict(self)


def _within(field: str, value: float, low: float, high: float, remedy: str) -> None:
    if not low <= value <= high:
        raise ConfigError(field, value, f"must be from {low:g} to {high:g}", remedy)


def width_from_text(text: str) -> float:
    """`one column`, `one-column` or a number of millimetres. Raises ConfigError for anything else."""
    name = re.sub(r"[-_ ]+", " ", text.strip().lower())
    if name in WIDTHS:
        return WIDTHS[name]
    try:
        return float(name.removesuffix("mm"))
    except ValueError:
        widths = ", ".join(key.replace(" ", "-") for key in WIDTHS)
        raise ConfigError("width_mm", text, f"must be millimetres or one of {widths}", "write 85") from None
