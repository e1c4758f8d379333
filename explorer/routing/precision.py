"""Biases as a narrower float type holds them."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BIAS_TYPES = ("float32", "bfloat16", "float16")


def rounded(values: Floats, kind: str) -> Floats:
    """float32 values after storage in `kind` (round to nearest, ties to even), as float32 again, same shape.

    bfloat16 keeps 8 significant bits: between 0.25 and 0.5 neighbours are 0.002 apart, about an update.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == "float32":
        return values
    if kind == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if kind != "bfloat16":
        raise ValueError(f"kind = {kind!r}: must be one of {', '.join(BIAS_TYPES)}")
    bits = values.view(np.uint32).astype(np.uint64)
    near = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(values), near, values).reshape(values.shape)
