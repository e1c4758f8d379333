"""Small files that are replaced as a whole, so that a reader never meets half of one."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.files import sync_folder as sync_folder
from explorer.files import write_whole


def plain(value: Any) -> Any:
    """What JSON can hold: numpy scalars and arrays become numbers and lists, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def atomic_write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON, at once (`explorer.files`).

    Raises RunFolderError when the disk refuses.
    """
    text = json.dumps(plain(data), ensure_ascii=False, indent=1, allow_nan=False)
    try:
        write_whole(path, text.encode())
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
