"""The title above the plot of a file: the panel's subject and finding."""

import textwrap
from typing import Any

SIGNS = str.maketrans({"␣": "·", "⏎": "¶"})
"""The file font lacks the first symbols, and one of them would switch its whole line to another font."""
GAP_PX, LINE_PX, SUBLINE_PX = 12, 17, 13
"""Vega's padding below a title, and its line heights at the sizes of `charts.theme.file_config`."""


def title(subject: str, finding: str, width: int, *, source: str = "") -> dict[str, Any]:
    """Vega-Lite's title, wrapped to the width in pixels, since Vega does not wrap. source: a last line."""
    subject, finding = subject.translate(SIGNS), finding.translate(SIGNS)
    most = max(30, int(width / 5.6))
    return {
        "text": textwrap.wrap(subject, max(20, int(width / 7.8))),
        "subtitle": [*textwrap.wrap(finding, most), *textwrap.wrap(source.translate(SIGNS), most)],
        "frame": "bounds",
    }


def height(title: dict[str, Any]) -> int:
    """Pixels that a title adds to a drawing."""
    return GAP_PX + LINE_PX * len(title["text"]) + SUBLINE_PX * len(title["subtitle"])
