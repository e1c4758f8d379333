"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder.

Every file that the project writes for good goes through `replacing`. A reader therefore meets the
old file or the whole new one, wherever the writer is killed and whenever the disk is full.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
LONGEST_NAME = 200
"""Bytes of a file name to which a temporary ending can be added; file systems allow about 255."""
FOLDERS_NEED_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What file systems answer that cannot fsync a folder. Some network and FUSE mounts do."""

CANNOT_BE_OPENED = {errno.EISDIR, errno.EACCES, errno.EPERM}
"""What a folder that may be written but not read answers, and a system that opens no folders."""


@contextmanager
def replacing(path: Path, *, sync: bool = True, sync_name: bool = True) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends; an error leaves `path` as it was.

    Whatever the block or the disk raises passes through (OSError), and the temporary file is removed. The
    permissions of a file that is replaced stay, and a link stays a link. What is no regular file, such as
    /dev/stdout or a pipe, is written to and not replaced. `sync_name`: fsync the folder, too; who writes
    several files into one folder may do that once. `sync`: fsync at all; a file that can be made again, and
    whose reader notices damage, need not survive a power failure.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    temporary = temporary_path(target)
    try:
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        move_into_place(temporary, target, sync_name=sync and sync_name)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | bytearray, *, sync: bool = True, sync_name: bool = True) -> None:
    """Write `content` to `path`, whole or not at all. Raises OSError. See `replacing`."""
    with replacing(path, sync=sync, sync_name=sync_name) as file:
        file.write(content)


def temporary_path(path: Path) -> Path:
    """A new name beside `path`; two writers of one file never share it."""
    stem = path.name if len(os.fsencode(path.name)) <= LONGEST_NAME else "file"
    return path.with_name(f"{stem}.{secrets.token_hex(4)}{TEMPORARY}")


def move_into_place(temporary: Path, path: Path, *, sync_name: bool = True) -> None:
    """Rename a finished and fsynced file to its final name, and have the folder keep that name."""
    with suppress(OSError):  # nothing to replace, or a file system without permissions
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
    temporary.replace(path)
    if sync_name:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Ask the disk to keep the names in a folder; a system that cannot do so is left alone.

    Raises OSError for any other refusal, such as an input/output error.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in CANNOT_BE_OPENED:
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in FOLDERS_NEED_NO_SYNC:
            raise
    finally:
        os.close(handle)
