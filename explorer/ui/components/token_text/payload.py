"""What the token text is sent: texts, choices and colours as plain data."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.figures.probe_batch import TextSpan
from explorer.wording import domain_name

# Hue and lightness both change from one to the next, so that neighbours are told apart.
PALETTE = (
    "#3B73B9",
    "#F28E2B",
    "#3E9A55",
    "#E0525B",
    "#9C6BB3",
    "#E5C02F",
    "#4FB3AB",
    "#F58FB0",
    "#8F6248",
    "#8E8CD8",
    "#233F77",
    "#8CCB66",
    "#B8327A",
    "#00A6D6",
    "#A38A1D",
    "#6B4C9A",
)
"""Colours of the experts by number; beyond them they repeat and every chip also says its number."""


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a #rrggbb colour (WCAG contrast)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#FFFFFF"


def text_payload(
    texts: Sequence[str],
    spans: Sequence[TextSpan],
    routes: NDArray[np.int64],
    gates: NDArray[np.float32] | None,
    moved: NDArray[np.bool_] | None,
    num_experts: int,
) -> dict[str, Any]:
    """Everything but what is selected.

    Keys: version (digest of the rest), texts [T], sequences, experts, chosen (T lists of experts, first
    choice first, without empty slots), gates (the same in hundredths, or None), moved (T flags: the bias
    changed the experts; or None), colours and inks of the palette.
    """
    valid = [[e for e in row if e < num_experts] for row in routes.tolist()]
    shares = None
    if gates is not None:
        percent = np.round(np.asarray(gates, np.float64) * 100).astype(int).tolist()
        shares = [
            [g for e, g in zip(ids, row, strict=True) if e < num_experts]
            for ids, row in zip(routes.tolist(), percent, strict=True)
        ]
    payload: dict[str, Any] = {
        "texts": list(texts),
        "sequences": [[domain_name(s.domain), s.start, s.end] for s in spans],
        "experts": num_experts,
        "chosen": valid,
        "gates": shares,
        "moved": None if moved is None else [int(flag) for flag in moved],
        "colours": list(PALETTE),
        "inks": [ink_on(colour) for colour in PALETTE],
    }
    payload["version"] = hashlib.sha256(repr(payload).encode()).hexdigest()[:16]
    return payload
