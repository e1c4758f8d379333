"""Arrays of numbers in a component's data, in as few bytes as they need; `shared/numbers.js` reads them.

Bytes do not arrive as bytes inside a component's data, so arrays travel as base64 text of
little-endian numbers.
"""

import base64
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    raise ValueError(f"a cell holds {top} tokens: a heatmap takes up to {0xFFFFFFFF}; use shorter steps")
