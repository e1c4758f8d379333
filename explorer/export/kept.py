"""Drawings kept from one bundle to the next, so that a figure that has not changed is not drawn again.

They lie in one SQLite file beside the index, by a digest of all that they depend on: specification with its
rows, settings, the code that draws, the converter and the system's fonts.
"""

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import msgspec

from explorer.export.orders import Order, OrderFiles

MOST_BYTES = 200_000_000
"""Size of all drawings together: about twenty bundles. Those that were used longest ago go first."""
BUSY_S = 0.5
"""How long another export may hold the file before this one goes on without it."""
_CODE = ("drawing.py", "svg.py", "titles.py", "settings.py", "orders.py")
_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
_TABLE = """
CREATE TABLE IF NOT EXISTS drawings
(digest TEXT PRIMARY KEY, used REAL NOT NULL, size INTEGER NOT NULL, content BLOB NOT NULL)
"""
_NAME = re.compile(rb"data-[0-9a-f]{32}")
"""See `charts.spec`."""
_LONG = re.compile(rb"-?[0-9]+\.[0-9]{9,}(?:[eE][-+]?[0-9]+)?")
# The drawings that were used last, as long as they fit.
_TRIM = """
DELETE FROM drawings WHERE digest IN (
    SELECT digest FROM (SELECT digest, sum(size) OVER (ORDER BY used DESC, digest) AS total FROM drawings)
    WHERE total > ?)
"""


class _Content(msgspec.Struct):
    """What a row holds."""

    files: dict[str, bytes]
    in_page: str


class KeptDrawings:
    """Drawings by digest. A file that cannot be read or written is as good as none.

    Mutable: what is put waits for `save`. Used by one thread.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._new: dict[str, OrderFiles] = {}
        self._used: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been kept yet."""
        return not self._path.exists()

    def get(self, digest: str) -> OrderFiles | None:
        """The files of this order, if they are kept."""
        if self.is_empty:
            return None
        with suppress(sqlite3.Error, msgspec.MsgspecError), closing(self._opened()) as file:
            row = file.execute("SELECT content FROM drawings WHERE digest = ?", [digest]).fetchone()
            if row is not None:
                content = msgspec.msgpack.decode(row[0], type=_Content)
                self._used.append(digest)
                return OrderFiles(files=content.files, in_page=content.in_page)
        return None

    def put(self, digest: str, files: OrderFiles) -> None:
        """Keep these files, once `save` is called."""
        self._new[digest] = files

    def save(self) -> None:
        """Write what is new, and note what was used."""
        try:
            self._save()
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # damaged, and not just busy or read-only
                with suppress(OSError):
                    self._path.unlink()

    def _save(self) -> None:
        now = time.time()
        rows = [(digest, now, *_packed(files)) for digest, files in self._new.items()]
        with closing(self._opened()) as file, file:
            file.execute(_TABLE)
            file.executemany("UPDATE drawings SET used = ? WHERE digest = ?", [(now, d) for d in self._used])
            file.executemany("INSERT OR REPLACE INTO drawings VALUES (?, ?, ?, ?)", rows)
            file.execute(_TRIM, [self._most_bytes])

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_S)


def _packed(files: OrderFiles) -> tuple[int, bytes]:
    content = msgspec.msgpack.encode(_Content(dict(files.files), files.in_page))
    return len(content), content


def digest_of(order: Order) -> str:
    """Equal for orders whose drawings are equal.

    DuckDB adds up in several threads, so the last bit of a mean may differ from one query to the next, and no
    coordinate of a drawing has that many digits. Names of data sets, which are digests of their rows, are
    numbered instead.
    """
    text = _LONG.sub(_rounded, msgspec.json.encode(order, enc_hook=_plain))
    names: dict[bytes, bytes] = {}
    text = _NAME.sub(lambda name: names.setdefault(name.group(), b"data-%d" % len(names)), text)
    return hashlib.sha256(_surroundings() + text).hexdigest()


def _rounded(number: "re.Match[bytes]") -> bytes:
    return b"%.12g" % float(number.group())


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


@cache
def _surroundings() -> bytes:
    """A digest of what draws, beside the order."""
    from importlib.metadata import version

    digest = hashlib.sha256(version("vl-convert-python").encode())
    for name in _CODE:
        digest.update((Path(__file__).parent / name).read_bytes())
    for name in _FONTS:
        for folder, _, files in os.walk(Path(name).expanduser()):
            digest.update(repr((folder, sorted(files))).encode())
    return digest.digest()
