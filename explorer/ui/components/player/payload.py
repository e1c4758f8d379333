"""What the player is sent: exact counts in as few bytes as they need, once per matrix.

Arrays travel as text: `components.packing`.
"""

import hashlib
from typing import Any

import numpy as np

from explorer.records.matrix import LoadMatrix
from explorer.ui.components.packing import pack, smallest

MAX_CELLS = 400_000
"""Beyond it, neighbouring steps are summed: the screen has fewer pixels, and a message stays below 2 MB."""
NO_BIAS = -32768


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
        biases = np.asarray(matrix.bias, dtype=np.float64)[ends]
        finite = np.isfinite(biases)
        unit = float(np.abs(biases[finite]).max(initial=0.0)) / 32767 or 1.0
        bias = pack(
            np.where(finite, np.round(np.where(finite, biases, 0.0) / unit), NO_BIAS).astype(np.int16)
        )
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
