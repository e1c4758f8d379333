"""The title above the plot of a file: the panel's subject and finding."""

import textwrap
from typing import Any

SIGNS = str.maketrans({"␣": "·", "⏎": "¶"})
"""The letters of files lack the first, and one such sign would put its whole line into another font."""
GAP_PX, LINE_PX, SUBLINE_PX = 12, 17, 13
"""What Vega leaves below a title, and its lines at the sizes of `charts.theme.file_config`."""


def title(subject: str, finding: str, width: int) -> dict[str, Any]:
    """Vega-Lite's title, broken to the width in pixels: Vega does not wrap."""
    subject, finding = subject.translate(SIGNS), finding.translate(SIGNS)
    return {
        "text": textwrap.wrap(subject, max(20, int(width / 7.8))),
        "subtitle": textwrap.wrap(finding, max(30, int(width / 5.6))),
        "frame": "bounds",
    }


def height(title: dict[str, Any]) -> int:
    """Pixels that a title adds to a drawing."""
    return GAP_PX + LINE_PX * len(title["text"]) + SUBLINE_PX * len(title["subtitle"])
