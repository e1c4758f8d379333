"""A small table whose cells are exchanged in place.

For tables that follow a control. A data frame draws itself anew and tells screen readers 0.2 s later;
Streamlit's own table reads every cell as Markdown.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import streamlit as st

from explorer.ui.components import modules

FOLDER = Path(__file__).parent

_TABLE = st.components.v2.component(
    "moe_text_table",
    html=(FOLDER / "text_table.html").read_text(encoding="utf-8"),
    css=(FOLDER / "text_table.css").read_text(encoding="utf-8"),
    js=modules.script(FOLDER / "text_table.js"),
)


def text_table(
    table: pl.DataFrame,
    *,
    alt: str,
    key: str,
    max_height: int | None = None,
    tips: Mapping[str, str] | None = None,
    stacks: bool = False,
) -> None:
    """Draw a table of texts; all columns but the first are aligned to the right.

    max_height: in pixels; a longer table scrolls under its headings. tips: column -> tooltip of its heading.
    stacks: where there is little room, every row becomes a block with one line per value, for a table of many
    columns. Negative numbers get a minus sign.
    """
    rows = [[str(row[0]), *map(_value, row[1:])] for row in table.rows()]
    data = {
        "alt": alt,
        "columns": table.columns,
        "tips": [(tips or {}).get(name, "") for name in table.columns],
        "rows": rows,
        "max_height": max_height,
        "stacks": stacks,
    }
    _TABLE(key=key, data=data)


def _value(cell: object) -> str:
    """The text of a cell, kept on one line; only an opening bracket may begin a second one."""
    return re.sub(r" (?!\()", "\N{NO-BREAK SPACE}", re.sub(r"^-(?=[\d.])", "−", str(cell)))
