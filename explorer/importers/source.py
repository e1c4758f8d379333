"""An untrusted foreign file, read in bounded pieces.

Regular files only (a named pipe would block), plain or compressed with gzip, xz or bzip2. Archives are
rejected: their members should be extracted to a folder. The expanded size is bounded before memory is
allocated.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from explorer.errors import ForeignFileError, shortened

HEAD_BYTES = 1 << 16
MOST_FILES = 10_000
MAX_LINE = 64 * 2**20
MAX_DOCUMENT = 256 * 2**20
MAX_EXPANDED = 64 * 2**30
"""Maximum expanded size of a compressed file in bytes."""
OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
}
ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf": "a 7z archive",
}
BROKEN_STREAM = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError, ValueError)
Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of the file."""


class Source:
    """One file to import. Every method raises ForeignFileError with file, position, rule and remedy."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self.name = path.name
        self.num_bytes = _regular_size(path)
        self._progress = progress

    def problem(self, place: str, rule: str, remedy: str = "check the file") -> ForeignFileError:
        """The error for a problem at a position in the file."""
        where = f"{self.name}, {place}" if place else self.name
        return ForeignFileError(f"{where}: {rule}; {remedy}.")

    @cached_property
    def head(self) -> bytes:
        """The first bytes, expanded; fewer if the file is truncated."""
        with self._expanded() as file:
            try:
                return bytes(file.read(HEAD_BYTES))
            except BROKEN_STREAM as error:
                raise self._broken_stream(error) from error

    @cached_property
    def is_compressed(self) -> bool:
        """Whether the file begins with the signature of a compression that `lines` and `content` undo."""
        return self._opener() is not None

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, line without its end) of every line that is not blank."""
        number, expanded = 0, 0
        with self._expanded() as file:
            while True:
                try:
                    line = file.readline(MAX_LINE + 1)
                except BROKEN_STREAM as error:
                    raise self._broken_stream(error, f"line {number + 1}") from error
                if not line:
                    return
                number += 1
                expanded += len(line)
                if len(line) > MAX_LINE:
                    raise self.problem(
                        f"line {number}", f"is longer than {MAX_LINE:,} bytes", "split the file"
                    )
                if expanded > MAX_EXPANDED:
                    raise self.problem(
                        f"line {number}", f"expands to more than {MAX_EXPANDED:,} bytes", "split the file"
                    )
                if number % 4096 == 0:
                    self.advance(file)
                if line.strip():
                    yield number, line.rstrip(b"\r\n")

    def content(self, most: int = MAX_DOCUMENT) -> bytes:
        """The whole file, expanded."""
        with self._expanded() as file:
            try:
                data = file.read(most + 1)
            except BROKEN_STREAM as error:
                raise self._broken_stream(error) from error
        if len(data) > most:
            raise self.problem(
                "", f"is larger than {most:,} bytes, the most that is read at once", "split the file"
            )
        return bytes(data)

    def document(self) -> Any:
        """The file as one JSON document."""
        return self.decoded(self.content(), "")

    def decoded(self, data: bytes, place: str) -> Any:
        """Decode JSON; recursive callers must check its depth first (`depth_of`)."""
        try:
            document = msgspec.json.decode(data)
        except RecursionError as error:
            raise self.problem(place, "is nested too deeply for JSON of a trace") from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise self.problem(place, f"is not JSON ({shortened(str(error))})") from error
        return document

    def advance(self, file: Any) -> None:
        """Report progress; for compressed files in compressed bytes."""
        if self._progress is not None:
            self._progress(min(self._position(file), self.num_bytes), self.num_bytes)

    def progressed(self, done: int, total: int) -> None:
        """Report progress of a file that is not read line by line, e.g. in rows."""
        if self._progress is not None and total > 0:
            self._progress(min(self.num_bytes, self.num_bytes * done // total), self.num_bytes)

    def opened(self) -> AbstractContextManager[BufferedReader]:
        """The raw file, not expanded."""
        return _open_regular(self.path)

    @contextmanager
    def _expanded(self) -> Iterator[Any]:
        with _open_regular(self.path) as raw:
            self._raw = raw
            opener = self._opener()
            yield raw if opener is None else opener(raw)

    def _position(self, file: Any) -> int:
        try:
            return int(self._raw.tell())
        except (OSError, ValueError):
            return 0

    def _opener(self) -> Callable[[IO[bytes]], Any] | None:
        with _open_regular(self.path) as raw:
            magic = raw.read(8)
            raw.seek(0)
            is_tar = raw.read(512)[257:262] == b"ustar"
        for start, words in ARCHIVES.items():
            # Files of torch.save are zip archives, too; their importer reads them from the path.
            if magic.startswith(start) and self.path.suffix not in (".pt", ".pth"):
                raise self.problem("", f"is {words}", "extract it and import the files in it")
        if is_tar:
            raise self.problem("", "is a tar archive", "extract it and import the files in it")
        return next((opener for start, opener in OPENERS.items() if magic.startswith(start)), None)

    def _broken_stream(self, error: Exception, place: str = "") -> ForeignFileError:
        return self.problem(
            place, f"cannot be read to its end ({shortened(str(error)) or type(error).__name__})"
        )


def _regular_size(path: Path) -> int:
    try:
        mode = path.stat()
    except OSError as error:
        raise ForeignFileError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions."
        ) from error
    if not stat.S_ISREG(mode.st_mode):
        raise ForeignFileError(f"{path}: is not a regular file; give a file of a known format.")
    if mode.st_size == 0:
        raise ForeignFileError(f"{path.name}: is empty; check what wrote it.")
    return mode.st_size


@contextmanager
def _open_regular(path: Path) -> Iterator[BufferedReader]:
    """Opening does not block on special files."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ForeignFileError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions."
        ) from error
    with cast(BufferedReader, os.fdopen(handle, "rb", buffering=1 << 20)) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ForeignFileError(f"{path}: is not a regular file; give a file of a known format.")
        yield file


class FolderSource(Source):
    """A folder of files that belong to one trace, e.g. one per rank."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self.name = path.resolve().name
        self._progress = progress
        self._read = 0
        self.files = [Source(file) for file in _files_of(path)]
        self.num_bytes = sum(file.num_bytes for file in self.files)

    @cached_property
    def head(self) -> bytes:
        """Empty for a folder."""
        return b""

    def matching(self, pattern: str) -> list[Source]:
        """The files that match the pattern, rank2 before rank10."""
        return [file for file in self.files if re.fullmatch(pattern, file.name)]

    def document(self) -> Any:
        raise self.problem("", "is a folder, not a file of this format", "name the file")

    def content(self, most: int = MAX_DOCUMENT) -> bytes:
        raise self.problem("", "is a folder, not a file of this format", "name the file")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        raise self.problem("", "is a folder, not a file of this format", "name the file")

    def opened(self) -> AbstractContextManager[BufferedReader]:
        raise self.problem("", "is a folder, not a file of this format", "name the file")


def open_source(path: Path, progress: Progress | None = None) -> Source:
    """A file, or a folder of files. Raises ForeignFileError."""
    return FolderSource(path, progress) if path.is_dir() else Source(path, progress)


def files_matching(source: Source, pattern: str) -> list[Source]:
    """The files of a folder that match; for a single file, the file itself if it matches."""
    if isinstance(source, FolderSource):
        return source.matching(pattern)
    return [source] if re.fullmatch(pattern, source.name) else []


def _files_of(folder: Path) -> list[Path]:
    """The regular files of a folder, by name. A link that points outside is rejected."""
    files = []
    try:
        paths = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)
    except OSError as error:
        raise ForeignFileError(f"{folder}: cannot be listed ({error.strerror}); check it.") from error
    for path in paths[: MOST_FILES + 1]:
        if path.is_symlink() and folder.resolve() not in path.resolve().parents:
            raise ForeignFileError(f"{path}: is a link that leads out of its folder; import the file itself.")
        if path.is_file() and path.stat().st_size:
            files.append(path)
    if len(paths) > MOST_FILES:
        raise ForeignFileError(f"{folder}: holds more than {MOST_FILES} files; import a part of them.")
    if not files:
        raise ForeignFileError(f"{folder}: holds no file; give the folder of a trace.")
    return files


def natural(path: Path) -> tuple[tuple[int, str], ...]:
    """rank2 before rank10."""
    digits, key = "", []
    for letter in f"{path.name} ":
        if letter.isdigit() and letter.isascii():
            digits += letter
            continue
        if digits:
            key.append((int(digits), ""))
            digits = ""
        key.append((-1, letter))
    return tuple(key)
