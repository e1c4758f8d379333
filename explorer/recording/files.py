"""Small files that are replaced as a whole, so that a reader never meets half of one."""

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from explorer.errors import NotNowError, RunFolderError, UnreadableRunError
from explorer.files import write_whole
from explorer.recording.folder_schema import MAX_DEPTH, BrokenRule, S, depth_of, parsed

MAX_DOCUMENT_BYTES = 64 * 2**20


class _TooDeep(Exception):
    """Nested deeper than allowed."""


def plain(value: Any, *, levels: int = MAX_DEPTH, name: str = "the document") -> Any:
    """What JSON can hold, sharing nothing with `value`; NaN and infinity become null.

    Numpy scalars and arrays and tensors become numbers and lists, a path its text, half of a surrogate pair
    a question mark. Raises RunFolderError for anything else, and for what is nested more than `levels` deep.
    """
    try:
        return _plain(value, levels)
    except _TooDeep:
        raise RunFolderError(
            f"{name} is nested more than {levels} levels deep, which no reader takes; keep less of it."
        ) from None


def _plain(value: Any, levels: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return str(value).encode(errors="replace").decode()
    if isinstance(value, Mapping | list | tuple) and levels == 0:
        raise _TooDeep
    if isinstance(value, Mapping):
        return {_plain(str(k), 0): _plain(v, levels - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, levels - 1) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), levels)
    if hasattr(value, "detach") and hasattr(value, "tolist"):
        return _plain(value.detach().tolist(), levels)
    raise RunFolderError(
        f"{type(value).__name__} cannot be kept as JSON; give numbers, texts, lists and dictionaries of them."
    )


def atomic_write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON, at once (`explorer.files`).

    Raises RunFolderError when the disk refuses, and for what `read_json` would refuse.
    """
    content = encoded(data, str(path))
    try:
        write_whole(path, content)
    except OSError as error:
        raise cannot_write(path, error) from error


def encoded(data: Any, name: str) -> bytes:
    """The bytes of a document that can be read again; RunFolderError, beginning with `name`, says why not."""
    try:
        content = json.dumps(plain(data, name=name), ensure_ascii=False, indent=1, allow_nan=False).encode()
        msgspec.json.decode(content)
    except ValueError as error:  # a whole number of more digits than a reader takes
        raise RunFolderError(f"{name} cannot be kept as JSON ({error}); correct what is given.") from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise RunFolderError(
            f"{name} has {len(content):,} bytes: must have at most {MAX_DOCUMENT_BYTES:,}, which is what a "
            "reader takes; keep less of it."
        )
    return content


def read_json(path: Path) -> Any:
    """Read a JSON document in UTF-8, -16 or -32, with or without a byte order mark.

    UnreadableRunError says what is wrong with the file: missing, no regular file (a named pipe would wait for
    ever), larger than MAX_DOCUMENT_BYTES, no JSON, or nested deeper than MAX_DEPTH.
    """
    try:
        data = _read_regular(path)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise UnreadableRunError(
                f"{path} is larger than {MAX_DOCUMENT_BYTES:,} bytes, the most that a document of a run may "
                "have; restore it from a copy."
            )
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
        document = msgspec.json.decode(text)
    except FileNotFoundError as error:
        raise UnreadableRunError(f"{path} is missing; restore it from a copy.") from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except ValueError as error:  # also what is not Unicode
        raise UnreadableRunError(
            f"{path} is damaged or cut short ({error}); restore it from a copy."
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    if depth_of(document) > MAX_DEPTH:
        raise _too_deep(path)
    return document


def _read_regular(path: Path) -> bytes:
    """The first MAX_DOCUMENT_BYTES + 1 bytes; opening does not wait where there is no regular file."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UnreadableRunError(f"{path} is not a regular file; restore it from a copy.")
        return file.read(MAX_DOCUMENT_BYTES + 1)


def _too_deep(path: Path) -> UnreadableRunError:
    return UnreadableRunError(
        f"{path} is nested more than {MAX_DEPTH} levels deep, which no document of a run may be; "
        "restore it from a copy."
    )


def read_parsed(kind: type[S], path: Path, field: str | None = None) -> S:
    """As `read_json`, held against the schema of the document (`field`: as this one field of it).

    UnreadableRunError names the file, the field, its value and the rule.
    """
    data = read_json(path)
    try:
        return parsed(kind, data if field is None else {field: data})
    except BrokenRule as error:
        raise UnreadableRunError(f"{path}: {error}; restore it from a copy.") from error


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, for a file that holds one object."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise UnreadableRunError(
            f"{path} holds {type(data).__name__} where an object was expected; restore it from a copy."
        )
    return data


def cannot_read(path: Path, error: OSError) -> NotNowError:
    """The error for a disk that refuses to read; it never advises deleting a file that may be intact."""
    reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
    return NotNowError(f"{path} cannot be read ({reason}); check its permissions and the disk.")


def cannot_write(path: Path, error: Exception) -> RunFolderError:
    """The sentence for a disk that refuses."""
    reason = getattr(error, "strerror", None) or error
    return RunFolderError(
        f"{path} cannot be written ({reason}); "
        "check the folder's permissions and the free space, or choose another folder."
    )
