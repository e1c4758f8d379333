"""A progress bar on a terminal, silence elsewhere."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, label: str, *, quiet: bool = False) -> "tqdm[Any]":
    """A bar on standard error; hidden if that is not a terminal or with `quiet`."""
    return tqdm(
        total=total,
        desc=label,
        unit="step",
        file=sys.stderr,
        disable=quiet or not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
