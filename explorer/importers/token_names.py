"""What identifies the tokens of a trace: sequence and position, and the token's id where it is known.

Shapes: P kept tokens, T rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ForeignFileError
from explorer.importers.options import Options
from explorer.recording.reader import RunFolder

Ids = NDArray[np.int64]
Spans = Sequence[tuple[int, int]]
"""First and last row of blocks of rows, ascending."""
TOKENS_OF = "tokens_of"
"""The option that names a run whose probe tokens the rows of a file are."""
LARGEST_TOKEN = 2**31 - 1


@dataclass
class TokenLog:
    """The sequences that the rows of a trace belong to, in the order of the file. A file without any is one
    sequence."""

    starts: list[int] = field(default_factory=list)
    """Row at which each sequence starts."""
    offsets: list[int] = field(default_factory=list)
    """Position of its first row within the sequence."""
    token_ids: list[Ids | None] = field(default_factory=list)
    """Ids of the tokens of its rows; None where the file states none."""
    rows: int = 0

    def add(
        self,
        rows: int,
        token_ids: Ids | None = None,
        *,
        offset: int = 0,
        continues: bool = False,
    ) -> None:
        """The next `rows` rows are a sequence, from its position `offset` on.

        token_ids: of these rows, or of more; continues: they are the rest of the sequence before.
        """
        ids = None if token_ids is None or len(token_ids) < rows else token_ids[:rows]
        if continues and self.starts:
            before = self.token_ids[-1]
            is_known = before is not None and ids is not None
            self.token_ids[-1] = np.concatenate([before, ids]) if is_known else None
            self.rows += rows
            return
        self.starts.append(self.rows)
        self.offsets.append(offset)
        self.token_ids.append(ids)
        self.rows += rows


def token_id_list(value: Any) -> Ids | None:
    """A list of token ids; None for anything else."""
    is_list = isinstance(value, list) and all(type(one) is int and 0 <= one <= LARGEST_TOKEN for one in value)
    return np.asarray(value, dtype=np.int64) if is_list and value else None


def name_tokens(row_P: Ids, log: TokenLog, rows: int, left_out: Spans, options: Options) -> dict[str, Any]:
    """`probe.json` of some rows: sequences, positions, token ids, and the layout of the whole file.

    rows: of each layer in the file; left_out: blocks of rows that are no token in any layer. Raises
    ForeignFileError where the option `tokens_of` names a run with other tokens.
    """
    if not log.starts:
        log = TokenLog()
        log.add(rows)
    starts = np.asarray(log.starts)
    lengths = np.diff(np.r_[starts, max(rows, log.rows)])
    gone = np.asarray([_rows_inside(left_out, s, s + n) for s, n in zip(starts, lengths, strict=True)])
    sequence_P = np.searchsorted(starts, row_P, side="right") - 1
    position_P = row_P - starts[sequence_P] + np.asarray(log.offsets)[sequence_P]
    if len(starts) == 1:
        # The warm-up of an engine is no part of the text: positions are counted without it.
        position_P = position_P - np.asarray([_rows_inside(left_out, 0, row) for row in row_P.tolist()])
    is_text = (lengths > gone) & (lengths > 0)
    number = np.cumsum(is_text) - 1
    kept_lengths = (lengths - gone)[is_text]
    document: dict[str, Any] = {
        "sequences": number[sequence_P].tolist(),
        "positions": position_P.tolist(),
        "source": {
            "rows": int(kept_lengths.sum()),
            "sequences": int(is_text.sum()),
            "layout": hashlib.sha256(kept_lengths.astype("<i8").tobytes()).hexdigest()[:16],
        },
    }
    ids = _token_ids(row_P, sequence_P, starts, log)
    if ids is not None:
        document["token_ids"] = ids
    folder = options.text(TOKENS_OF)
    if not folder:
        return document
    if ids is not None:
        raise ForeignFileError(f"states its own token ids; leave --option {TOKENS_OF} out.")
    place_P = row_P - np.asarray([_rows_inside(left_out, 0, row) for row in row_P.tolist()])
    return document | _tokens_of(Path(folder), place_P, document["source"]["rows"])


def _token_ids(row_P: Ids, sequence_P: Ids, starts: Ids, log: TokenLog) -> list[int] | None:
    """The id of every kept token; None unless all of them are known and fit."""
    ids_P = np.full(len(row_P), -1, dtype=np.int64)
    for sequence in np.unique(sequence_P).tolist():
        ids = log.token_ids[sequence]
        own_P = sequence_P == sequence
        place = row_P[own_P] - starts[sequence]
        if ids is None or int(place.max()) >= len(ids):
            return None
        ids_P[own_P] = ids[place]
    return ids_P.tolist() if ids_P.min() >= 0 and ids_P.max() <= LARGEST_TOKEN else None


def _rows_inside(spans: Spans, first: int, end: int) -> int:
    """Rows of the blocks that lie in [first, end)."""
    return sum(max(0, min(last + 1, end) - max(start, first)) for start, last in spans)


def _tokens_of(folder: Path, place_P: Ids, rows: int) -> dict[str, Any]:
    """The names that another run gives its probe tokens, for the P tokens at these places of its probe."""
    document = RunFolder(folder).document("probe")
    ids = document.get("token_ids") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(ids, list) or not ids:
        raise ForeignFileError(
            f"--option {TOKENS_OF}={folder.name}: that run has no probe with token ids; name one that has."
        )
    if len(ids) != rows or _rows_of(document) != rows:
        raise ForeignFileError(
            f"has {rows:,} tokens, but the probe of {folder.name} keeps {len(ids):,} of "
            f"{_rows_of(document):,}: must be as many; leave --option {TOKENS_OF} out."
        )
    length = document.get("sequence_length")
    places = place_P.tolist()
    named: dict[str, Any] = {"token_ids": [ids[place] for place in places]}
    for name in ("sequences", "positions", "tokens"):
        values = document.get(name)
        if isinstance(values, list) and len(values) == len(ids):
            named[name] = [values[place] for place in places]
    if isinstance(length, int) and length > 0:
        named |= {"sequences": [p // length for p in places], "positions": [p % length for p in places]}
    if isinstance(document.get("domains"), list):
        named["domains"] = document["domains"]
    return named


def _rows_of(document: Mapping[str, Any]) -> int:
    """Tokens of the whole trace that a probe comes from."""
    source = document.get("source")
    rows = source.get("rows") if isinstance(source, dict) else None
    return rows if isinstance(rows, int) else len(document["token_ids"])


def identity_text(document: Mapping[str, Any]) -> str:
    """How these tokens are recognised in another trace."""
    if "token_ids" in document:
        return "Their token ids are known, so runs of the same tokens can be compared with this one."
    return (
        "The file does not name its tokens: another trace is taken to be of the same ones if it has as many "
        f"rows in as many sequences (--option {TOKENS_OF}=RUN FOLDER states them)."
    )
