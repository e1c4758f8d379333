"""The encoded corpus on disk: one `.npz` a corpus, vocabulary and text, in the user's cache folder.

It only saves time. Whatever is wrong with a file (truncated, flipped bits, made by another version),
the corpus is built again; a folder that cannot be written to means building it every time.
"""

import logging
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.files import replacing

log = logging.getLogger(__name__)

# What numpy and zipfile raise on files that are cut off, overwritten or have flipped bits.
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    AttributeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

Arrays = dict[str, NDArray[np.generic]]


def default_folder() -> Path | None:
    """`moe-routing-explorer` in the user's cache folder (XDG base directory specification).

    None where the system knows no home of the user: the corpus is built anew every time.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The specification: a relative path is invalid and must be ignored.
        folder = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        log.warning("No home folder is known; set XDG_CACHE_HOME, or the corpus is built anew every time")
        return None
    return folder / "moe-routing-explorer"


def read(path: Path) -> Arrays | None:
    """The arrays, or None where there are none to be had. The zip's checksums find damage."""
    try:
        # Opened here: np.load leaves a file that is no zip open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        log.info("%s is damaged (%s) and will be rebuilt", path, error)
        return None


def write(path: Path, arrays: Arrays) -> None:
    """Write it, whole or not at all: a reader sees the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        log.warning("%s cannot be written (%s); the corpus is built anew every time", path, error)
