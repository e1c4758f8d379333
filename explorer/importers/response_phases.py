"""Which rows of a response's routes were computed in prefill and which in decode.

A row belongs to prefill if its token is part of the prompt, to decode if it was generated and fed back.
"""

from collections.abc import Iterable
from typing import Any

PHASES = "phases"
"""The value of the option `split` that makes a run of each phase."""
UNKNOWN = "does not say which of its rows are of the prompt, by token ids, usage or prompt_routed_experts"
PREFILL, DECODE, SERVING = "prefill", "decode", "serving"
Lengths = tuple[int | None, int | None]
"""Tokens of the prompt and of what was generated, as far as they are stated."""


def prompt_rows(rows: int, lengths: Iterable[Lengths]) -> int | None:
    """How many rows at the beginning of an array are of the prompt; None where the lengths do not tell.

    lengths: what a response states, the surest first. An array holds the prompt and what was generated, or
    one of the two; it lacks the row of its last token, or not even that.
    """
    for prompt, output in lengths:
        if prompt is not None and output is not None and prompt + output - rows in (0, 1):
            return min(prompt, rows)
        if output is not None and output - rows in (0, 1):
            return 0
        if prompt is not None and prompt - rows in (0, 1):
            return rows
    return None


def lengths_of(prompt_ids: Any, output_ids: Any, document: Any) -> list[Lengths]:
    """The lengths that the token ids beside an array state, then those of the response's `usage`."""
    usage = document.get("usage") if isinstance(document, dict) else None
    stated = usage if isinstance(usage, dict) else {}
    counts = [stated.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, output = (number if type(number) is int and number >= 0 else None for number in counts)
    return [(_length(prompt_ids), _length(output_ids)), (prompt, output)]


def _length(ids: Any) -> int | None:
    return len(ids) if isinstance(ids, list) else None
