"""Damage to a file of another system: bytes, truncation, JSON structure, and numbers in text."""

import json
import re
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: tuple[Any, ...] = (
    -1, 0, 1.5, 2**31, 2**53 + 1, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"),
    True, None, "", "x", "1e999", [], {}, [[]], [None], {"a": {}},
)  # fmt: skip
ODD_NUMBERS = (b"-1", b"1e308", b"99999999999999999999", b"nan", b"", b"x", b"0x10", b"1.5", b"\xff", b"-0")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
DEEP = 5_000
"""Levels of a list that is nested as deep as no reader should follow."""


def mutated(draw: Any, content: bytes) -> bytes:
    """The content after one to four kinds of damage."""
    for _ in range(draw(st.integers(1, 4))):
        damage = draw(st.sampled_from((_bytes, _truncated, _number, _json, _json)))
        content = damage(draw, content) or b"x"
    return content


def _bytes(draw: Any, content: bytes) -> bytes:
    data = bytearray(content)
    place = draw(st.integers(0, len(data) - 1))
    kind = draw(st.sampled_from(["flip", "delete", "insert", "repeat"]))
    if kind == "flip":
        data[place] = draw(st.integers(0, 255))
    elif kind == "delete":
        del data[place : place + draw(st.integers(1, 64))]
    elif kind == "insert":
        data[place:place] = draw(st.binary(min_size=1, max_size=16))
    else:
        data[place:place] = data[place : place + draw(st.integers(1, 4096))]
    return bytes(data)


def _truncated(draw: Any, content: bytes) -> bytes:
    return content[: draw(st.integers(1, len(content)))]


def _number(draw: Any, content: bytes) -> bytes:
    """One number of the text becomes another, or no number at all."""
    start = draw(st.integers(0, len(content) - 1))
    match = NUMBER.search(content, start)
    if match is None:
        return content
    return content[: match.start()] + draw(st.sampled_from(ODD_NUMBERS)) + content[match.end() :]


def _json(draw: Any, content: bytes) -> bytes:
    """A value of a JSON document, or of one line, is removed, replaced, repeated or nested."""
    try:
        return _document(draw, content)
    except (ValueError, RecursionError):
        lines = content.split(b"\n")
        number = draw(st.integers(0, len(lines) - 1))
        try:
            lines[number] = _document(draw, lines[number])
        except (ValueError, RecursionError):
            return content
        return b"\n".join(lines)


def _document(draw: Any, content: bytes) -> bytes:
    root = [json.loads(content)]
    holder, key = _place(draw, root)
    kind = draw(st.sampled_from(["remove", "replace", "repeat", "nest", "deep"]))
    if kind == "remove" and holder is not root:
        del holder[key]
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == "nest":
        holder[key] = [holder[key]]
    elif kind == "deep":
        holder[key] = "DEEP"
    else:
        holder[key] = draw(st.sampled_from(ODD_VALUES))
    return json.dumps(root[0]).replace('"DEEP"', "[" * DEEP + "]" * DEEP).encode()


def _place(draw: Any, root: list[Any]) -> tuple[Any, Any]:
    """A container of the document and a key of it, any number of levels down."""
    holder: Any = root
    key: Any = 0
    while isinstance(holder[key], list | dict) and holder[key] and draw(st.integers(0, 3)):
        inner = holder[key]
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        holder, key = inner, keys[draw(st.integers(0, len(keys) - 1))]
    return holder, key
