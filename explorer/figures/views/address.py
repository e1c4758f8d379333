"""Reading one parameter of an address. A value that does not fit gives the default and a sentence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from explorer.wording import layers_of

T = TypeVar("T")
MOST_DIGITS = 18
"""Of a whole number in an address; Python refuses to read thousands of them."""
MOST_LETTERS = 100
"""Of a value that a sentence repeats: as long as a run's id may be."""


@dataclass
class Address:
    """An address while it is read; `notices` collects what is wrong with it."""

    query: Mapping[str, Sequence[str]]
    notices: list[str] = field(default_factory=list)

    def choice(self, key: str, options: Sequence[T], default: T, rule: str) -> T:
        """One of the options by its text. `rule` ends the notice: "it can be step, tokens or time"."""
        text = self._last(key)
        if text is None:
            return default
        by_text = {str(option): option for option in options}
        if text not in by_text:
            self._refuse(key, text, rule)
        return by_text.get(text, default)

    def layer(self, layers: Sequence[int], owner: str) -> int:
        """One of the MoE layers, the first without `layer=`; `owner` says whose they are, e.g. `this run`."""
        return self.choice("layer", layers, layers[0], layers_of(owner, layers))

    def number(self, key: str, low: int, high: int, default: int) -> int:
        """A whole number from `low` to `high`."""
        text = self._last(key)
        if text is None:
            return default
        if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and low <= int(text) <= high:
            return int(text)
        self._refuse(key, text, f"it must be a whole number from {low} to {high}")
        return default

    def flag(self, key: str, default: bool) -> bool:
        """`true` or `false`; anything else is not given."""
        text = (self._last(key) or "").lower()
        return text == "true" if text in ("true", "false") else default

    def text(self, key: str, is_valid: Callable[[str], bool], rule: str) -> str:
        """A text that `is_valid` accepts; empty where there is none."""
        text = self._last(key) or ""
        if not text or is_valid(text):
            return text
        self._refuse(key, text, rule)
        return ""

    def _last(self, key: str) -> str | None:
        values = self.query.get(key) or ()
        return values[-1] if values else None

    def _refuse(self, key: str, text: str, rule: str) -> None:
        short = text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
        self.notices.append(f"The link asks for {key} = {short}; {rule}.")
