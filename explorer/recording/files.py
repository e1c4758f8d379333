"""Small files that are replaced as a whole, so that a reader never meets half of one."""

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explorer.errors import RunFolderError, UnreadableRunError

TEMPORARY = ".tmp"


def plain(value: Any) -> Any:
    """What JSON can hold, sharing nothing with `value`; NaN and infinity become null.

    Numpy scalars and arrays and tensors become numbers and lists, a path its text, half of a surrogate pair
    a question mark. Raises RunFolderError for anything else.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return str(value).encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if hasattr(value, "detach") and hasattr(value, "tolist"):
        return plain(value.detach().tolist())
    raise RunFolderError(
        f"{type(value).__name__} cannot be kept as JSON; give numbers, texts, lists and dictionaries of them."
    )


UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What file systems answer that cannot fsync a folder: SMB, some FUSE and network file systems."""
UNOPENABLE = {errno.EISDIR, errno.EACCES, errno.EPERM}


def sync_folder(path: Path) -> None:
    """Ask the disk to keep the names in a folder, where the file system can do that.

    It makes a rename durable a moment earlier; the files themselves are always synced. So a file system
    that refuses it for folders is passed over, as databases and version control do, and a real error (an I/O
    error, a full disk) is raised as OSError.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in UNOPENABLE:
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def atomic_write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON, at once: temporary name, fsync, rename, fsync of the folder.

    Raises RunFolderError when the disk refuses.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(plain(data), file, ensure_ascii=False, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_json(path: Path) -> Any:
    """Read a JSON document; UnreadableRunError says what is wrong with the file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UnreadableRunError(
            f"{path} is missing; restore it from a copy or delete the folder {path.parent.name}."
        ) from error
    except ValueError as error:  # also what is not UTF-8
        raise UnreadableRunError(
            f"{path} is damaged or cut short ({error}); restore it from a copy or delete the folder."
        ) from error
    except OSError as error:
        raise UnreadableRunError(
            f"{path} cannot be read ({error.strerror}); check the file and its permissions."
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, for a file that holds one object."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise UnreadableRunError(
            f"{path} holds {type(data).__name__} where an object was expected; restore it from a copy."
        )
    return data


def cannot_write(path: Path, error: Exception) -> RunFolderError:
    """The sentence for a disk that refuses."""
    reason = getattr(error, "strerror", None) or error
    return RunFolderError(
        f"{path} cannot be written ({reason}); "
        "check the folder's permissions and the free space, or choose another folder."
    )
