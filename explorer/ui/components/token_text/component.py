"""The token text as a Python function: reports a token or an expert when one is clicked or entered."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.ui.components import modules
from explorer.ui.shared import state

FOLDER = Path(__file__).parent
FIRST, ALL = "first", "all"

_TEXT = st.components.v2.component(
    "moe_token_text",
    html=(FOLDER / "text.html").read_text(encoding="utf-8"),
    css=modules.TIP_CSS + (FOLDER / "text.css").read_text(encoding="utf-8"),
    js=modules.script(FOLDER / "index.js"),
)


@dataclass(frozen=True, kw_only=True)
class TokenPick:
    """What a click leaves: the selected token of the text, and the marked expert of the key."""

    token: int
    expert: int | None
    """None if no expert is marked."""


def token_text(
    payload: dict[str, Any],
    *,
    key: str,
    token: int,
    expert: int | None,
    colour_by: str = FIRST,
    label: str = "Text of the probe batch",
    on_pick: Callable[[TokenPick], None] | None = None,
    height: float = 28.7,
) -> None:
    """Tokens coloured by expert; `token` is selected, and the tokens of `expert` stand out.

    payload: `text_payload`. colour_by: "first" (the first choice) or "all" (a stripe for each expert).
    `on_pick` runs before the page does, so it may move widgets. height: at most this many times the
    size of the page's letters; longer texts scroll.
    """

    def picked() -> None:
        pick = _pick(state.value(key))
        if pick is not None and on_pick is not None:
            on_pick(pick)

    data = {
        "text": payload,
        "token": token,
        "expert": expert,
        "mode": colour_by,
        "label": label,
        "height": height,
    }
    _TEXT(key=key, data=data, on_picked_change=picked)


def _pick(result: Any) -> TokenPick | None:
    """The trigger value, checked: it comes from a browser."""
    value = result.get("picked") if result is not None else None
    if not isinstance(value, dict):
        return None
    token, expert = _number(value.get("token")), _number(value.get("expert"))
    if token is None or (expert is None and value.get("expert") is not None):
        return None
    return TokenPick(token=token, expert=expert)


def _number(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and value >= 0 else None
