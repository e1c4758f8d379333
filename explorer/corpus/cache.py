"""The encoded corpus on disk: one `.npz` per corpus, vocabulary and text, in the user's cache folder.

It only saves time. If a file is unusable (truncated, flipped bits, written by another version), the
corpus is rebuilt; if the folder is not writable, it is rebuilt every time.
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

    None if the user has no home directory: the corpus is then rebuilt every time.
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
    """The arrays, or None if the file is missing or unusable. The zip's checksums detect damage."""
    try:
        # Opened here, since np.load leaves a file open if it is not a zip.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        log.info("%s is damaged (%s) and will be rebuilt", path, error)
        return None


def write(path: Path, arrays: Arrays) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        log.warning("%s cannot be written (%s); the corpus is built anew every time", path, error)
