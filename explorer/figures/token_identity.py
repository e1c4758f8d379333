"""Which probe tokens of two runs are the same: by token ids, else by place in traces of one layout.

probe.json of a run of ours lists the ids of whole sequences of one length; that of an imported trace says
sequence and position of every kept token, and ids only where the file states them (`docs/run_format.md`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.wording import counted

Ids = NDArray[np.int64]
Document = Mapping[str, Any]
OTHER_TOKENS = (
    "These two runs do not probe the same tokens, so their routes cannot be compared. Runs with the same "
    "text and the same number of probe tokens can be compared."
)
UNNAMED = (
    "One of the two traces does not name its tokens, so nothing shows that both route the same ones. Import "
    "it again with --option tokens_of=FOLDER OF THE OTHER RUN if they are."
)
BY_PLACE = (
    " Neither file names its tokens; both have {layout}, and the tokens at the same places are taken to be "
    "the same."
)
OTHER_LAYOUT = (
    "Neither trace names its tokens, and their files differ: {first} and {second}. Traces with token ids can "
    "be compared; --option tokens_of=RUN FOLDER states them at the import."
)
MOST_POSITIONS = 1 << 32


@dataclass(frozen=True, kw_only=True)
class SharedTokens:
    """Tokens that two probes have in common, C of them."""

    first_C: Ids
    """Their places in the first probe."""
    second_C: Ids
    """Their places in the second probe."""
    note: str = ""
    """How they were matched, where that is an assumption; starts with a blank."""


def shared_tokens(first: Document | None, second: Document | None) -> SharedTokens | str:
    """Match the tokens of two probes by their documents; or the sentence that says why they differ."""
    if first is None or second is None:
        return OTHER_TOKENS
    ids = _numbers(first.get("token_ids")), _numbers(second.get("token_ids"))
    if ids[0] is not None and ids[1] is not None:
        return _by_id(first, second, ids[0], ids[1])
    if "source" in first and "source" in second:
        return UNNAMED if ids[0] is not None or ids[1] is not None else _by_place(first, second)
    # One of them keeps no document that a trace has: a run of ours, or one without a probe document.
    is_unnamed = (ids[0] is None and "source" in first) or (ids[1] is None and "source" in second)
    return UNNAMED if is_unnamed and (ids[0] is not None or ids[1] is not None) else OTHER_TOKENS


def _by_id(first: Document, second: Document, first_ids: Ids, second_ids: Ids) -> SharedTokens | str:
    if "source" not in first and "source" not in second:
        if not np.array_equal(first_ids, second_ids):
            return OTHER_TOKENS
        whole = np.arange(len(first_ids))
        return SharedTokens(first_C=whole, second_C=whole)
    one, other = _common(first, second)
    if not len(one) or not np.array_equal(first_ids[one], second_ids[other]):
        return OTHER_TOKENS
    return SharedTokens(first_C=one, second_C=other)


def _by_place(first: Document, second: Document) -> SharedTokens | str:
    """Two traces without token ids are taken to be of the same tokens if the whole files have one layout."""
    source, own = first["source"], second["source"]
    one, other = _common(first, second)
    if not isinstance(source, dict) or source != own or not len(one):
        return OTHER_LAYOUT.format(first=_layout(source), second=_layout(own))
    return SharedTokens(first_C=one, second_C=other, note=BY_PLACE.format(layout=_layout(source)))


def _layout(source: Any) -> str:
    """`64 rows in 4 sequences`."""
    sizes = [source.get(name) if isinstance(source, dict) else None for name in ("rows", "sequences")]
    if not all(type(size) is int for size in sizes):
        return "an unknown number of rows"
    return f"{counted(sizes[0], 'row')} in {counted(sizes[1], 'sequence')}"  # type: ignore[arg-type]


def _common(first: Document, second: Document) -> tuple[Ids, Ids]:
    """Places of the tokens with the same sequence and position in both."""
    one, other = _places(first), _places(second)
    if one is None or other is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, in_first, in_second = np.intersect1d(one, other, return_indices=True)
    order = np.argsort(in_first)
    return in_first[order].astype(np.int64), in_second[order].astype(np.int64)


def _places(document: Document) -> Ids | None:
    """One number per token, from its sequence and its position there; None where the document is no good."""
    ids = document.get("token_ids")
    sequences, positions = _numbers(document.get("sequences")), _numbers(document.get("positions"))
    if sequences is None or positions is None:
        length = document.get("sequence_length")
        if not isinstance(ids, list) or not isinstance(length, int) or length < 1:
            return None
        sequences, positions = np.divmod(np.arange(len(ids)), length)
    is_whole = len(sequences) == len(positions) and (not isinstance(ids, list) or len(ids) == len(sequences))
    if not is_whole or not len(sequences) or min(sequences.min(), positions.min()) < 0:
        return None
    return sequences * MOST_POSITIONS + positions if positions.max() < MOST_POSITIONS else None


def _numbers(value: Any) -> Ids | None:
    """A list of whole numbers; None for anything else."""
    is_list = isinstance(value, list) and all(type(one) is int and abs(one) < 2**31 for one in value)
    return np.asarray(value, dtype=np.int64) if is_list and value else None
