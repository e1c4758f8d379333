"""Reports which parts of a page come into sight, among those that wait for it. It draws nothing."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import streamlit as st

from explorer.ui.components import modules
from explorer.ui.shared import state

FOLDER = Path(__file__).parent

_WATCHER = st.components.v2.component(
    "moe_in_sight",
    html=(FOLDER / "in_sight.html").read_text(encoding="utf-8"),
    css=(FOLDER / "in_sight.css").read_text(encoding="utf-8"),
    js=modules.script(FOLDER / "in_sight.js"),
)


def in_sight(
    parts: Mapping[str, str],
    *,
    waiting: Collection[str],
    known: bool,
    key: str,
    on_report: Callable[[list[str]], None],
) -> None:
    """Watch the parts that wait.

    parts: name -> class of its place on the page. waiting: names. known: False makes the browser report at
    once, with no names, so that the server learns that somebody watches. `on_report` runs before the script
    does.
    """

    def reported() -> None:
        result = state.value(key)
        names = result.get("report") if result is not None else None
        # It comes from a browser.
        on_report([name for name in names if name in parts] if isinstance(names, list) else [])

    data = {"parts": dict(parts), "waiting": sorted(waiting), "known": known}
    _WATCHER(key=key, data=data, on_report_change=reported)
