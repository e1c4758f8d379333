"""What the player is sent: exact counts in as few bytes as they need, once per matrix.

Bytes do not arrive as bytes inside a component's data, so arrays travel as base64 text of
little-endian numbers.
"""

import base64
import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.records.matrix import LoadMatrix

MAX_CELLS = 400_000
"""Beyond it, neighbouring steps are summed: the screen has fewer pixels, and a message stays below 2 MB."""
NO_BIAS = -32768


def pack(array: NDArray[Any]) -> dict[str, str]:
    """{"kind": "u2", "base64": ...}: kind is the numpy type code without its byte order."""
    little = array if sys.byteorder == "little" else array.byteswap()
    return {"kind": array.dtype.str[1:], "base64": base64.b64encode(little.tobytes()).decode("ascii")}


def smallest(counts: NDArray[np.int64]) -> NDArray[Any]:
    """The counts, exactly, in the narrowest unsigned type that holds the largest."""
    top = int(counts.max(initial=0))
    for kind, most in ((np.uint8, 0xFF), (np.uint16, 0xFFFF), (np.uint32, 0xFFFFFFFF)):
        if top <= most:
            return counts.astype(kind)
    raise ValueError(f"a cell holds {top} tokens: the player takes up to {0xFFFFFFFF}; use shorter steps")


def matrix_payload(matrix: LoadMatrix, max_cells: int = MAX_CELLS) -> dict[str, Any]:
    """The matrix as the player reads it.

    Keys: version (digest of the rest), experts, first_step and last_step [C], counts [C * E] column by
    column, bias [C * E] in units of bias_unit (NO_BIAS where there was none) or None. C = S unless
    S * E exceeds `max_cells`; then every column is the sum of neighbouring steps, with the bias of
    the last of them.
    """
    tokens = np.asarray(matrix.tokens, dtype=np.int64)
    steps = np.asarray(matrix.steps, dtype=np.int64)
    num_steps, experts = tokens.shape
    columns = max(1, max_cells // max(1, experts))
    each = max(1, -(-num_steps // columns))
    starts = np.arange(0, num_steps, each)
    ends = np.minimum(starts + each, num_steps) - 1
    finish = np.asarray(matrix.last_steps, dtype=np.int64)
    counts = np.add.reduceat(tokens, starts, axis=0) if num_steps else tokens
    bias, unit = None, 0.0
    if matrix.bias is not None and num_steps:
        kept = np.asarray(matrix.bias, dtype=np.float64)[ends]
        known = np.isfinite(kept)
        unit = float(np.abs(kept[known]).max(initial=0.0)) / 32767 or 1.0
        bias = pack(np.where(known, np.round(np.where(known, kept, 0.0) / unit), NO_BIAS).astype(np.int16))
    payload: dict[str, Any] = {
        "experts": experts,
        "first_step": pack(steps[starts].astype(np.int32)),
        "last_step": pack(finish[ends].astype(np.int32)),
        "counts": pack(smallest(counts)),
        "bias": bias,
        "bias_unit": unit,
    }
    payload["version"] = hashlib.sha256(repr(payload).encode()).hexdigest()[:16]
    return payload
