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
    """What was clicked: a token of the text, or an expert of the key."""

    token: int | None = None
    expert: int | None = None
    cleared: bool = False
    """Whether the marked expert was clicked once more, which clears the mark."""


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
    token, expert = (_number(value.get(name)) for name in ("token", "expert"))
    if token is not None:
        return TokenPick(token=token)
    if expert is not None:
        return TokenPick(expert=expert)
    return TokenPick(cleared=True) if value.get("expert") == "none" else None


def _number(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and value >= 0 else None
