"""Checksums in a table file's own Parquet metadata, and their verification on reading.

Two kinds:

- `explorer.columns`: JSON, column name -> BLAKE2b of the column's *values*, 128 bits. It does not depend on
  chunks, row groups, compression, or the library that wrote or read them, so it identifies the damaged column
  and stays valid when other software rewrites the file.
- `explorer.file`: CRC-32 of the file's bytes, its own 8 digits read as zeros. It detects every flipped bit
and
  every burst of up to 32, and it covers bytes that are not values: statistics and page headers, by which
  one reader may skip rows that another one reads. Reading verifies this checksum: on 10⁷ rows of loads
  (120 MB) that takes a quarter of the CPU time of `read_part`. The digests are compared if it
  does not match. Both together double the CPU time of writing such a file.

Values in canonical form, for every block of `BLOCK_ROWS` rows: the number of rows, the type, the number of
nulls, one bit per row that marks them (if there are any), and the values, little-endian, zeros in place of
nulls. Text: the distinct values in byte order, then the index of every row's value. Lists: their lengths,
then type, nulls and values of the joined elements.
"""

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from explorer.errors import NotNowError, UnreadableRunError
from explorer.recording.damage import damaged, reading

COLUMNS_KEY = "explorer.columns"
FILE_KEY = "explorer.file"
BLOCK_ROWS = 1 << 18
"""Rows hashed at a time: a fixed number, so that the digest is the same however rows are read."""
DIGEST_BYTES = 16
PREFIX = b"crc32:"
BLANK = b"0" * 8
TAIL_BYTES = 1 << 20
"""The checksum is in the footer; most footers are shorter than this."""
PIECE = 1 << 22
"""Bytes read at a time."""
KINDS: dict[pl.DataType, tuple[str, str]] = {
    pl.Int64(): ("int64", "<i8"),
    pl.Int32(): ("int32", "<i4"),
    pl.Float64(): ("float64", "<f8"),
    pl.Float32(): ("float32", "<f4"),
}


class ColumnDigests:
    """Column digests of one table, computed block by block."""

    def __init__(self) -> None:
        self._hashes: dict[str, hashlib.blake2b] = {}

    def add(self, block: pl.DataFrame) -> None:
        """Add the next block: `BLOCK_ROWS` rows, except the last one, which may be shorter."""
        for series in block.iter_columns():
            digest = self._hashes.setdefault(series.name, hashlib.blake2b(digest_size=DIGEST_BYTES))
            digest.update(len(series).to_bytes(8, "little"))
            _hash_values(digest, series)

    def digests(self) -> dict[str, str]:
        """Column name -> digest of all added blocks."""
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}


def digest_columns(frame: pl.DataFrame) -> dict[str, str]:
    """Column name -> digest of its values."""
    digests = ColumnDigests()
    for start in range(0, max(1, frame.height), BLOCK_ROWS):
        digests.add(frame.slice(start, BLOCK_ROWS))
    return digests.digests()


def digest_files(paths: Sequence[Path], columns: Sequence[str] | None = None) -> dict[str, str]:
    """`digest_columns` of the rows of some files, one after another, in bounded memory."""
    rows = pl.scan_parquet(list(paths), glob=False)
    if columns is not None:
        rows = rows.select(columns)
    digests = ColumnDigests()
    for start in range(0, max(1, rows.select(pl.len()).collect().item()), BLOCK_ROWS):
        digests.add(rows.slice(start, BLOCK_ROWS).collect())
    return digests.digests()


def _hash_values(digest: hashlib.blake2b, series: pl.Series) -> None:
    dtype = series.dtype
    if isinstance(dtype, pl.List):
        kind = b"list"
    elif dtype == pl.String():
        kind = b"text"
    elif dtype in KINDS:
        kind = KINDS[dtype][0].encode()
    else:
        kind = str(dtype).encode()  # no table has such a column, so this matches no digest
    digest.update(kind)
    digest.update(series.null_count().to_bytes(8, "little"))
    if series.null_count():
        digest.update(np.packbits(series.is_null().to_numpy()).tobytes())
    if series.null_count() == len(series) and dtype in KINDS:
        digest.update(bytes(len(series) * np.dtype(KINDS[dtype][1]).itemsize))
    elif kind == b"list":
        lengths = series.list.len().fill_null(0).cast(pl.Int64)
        digest.update(_little(lengths, "<i8"))
        _hash_values(digest, series.filter(lengths > 0).explode())
    elif kind == b"text":
        values = series.drop_nulls().unique().sort()
        lengths = values.str.len_bytes().cast(pl.Int64)
        digest.update(_little(lengths, "<i8"))
        digest.update("".join(values.to_list()).encode())
        if len(values) < 2:  # e.g. run_id
            digest.update(bytes(4 * len(series)))
            return
        codes = series.cast(pl.Enum(values)).to_physical().cast(pl.Int64).fill_null(0)
        digest.update(_little(codes, "<u4"))
    elif dtype in KINDS:
        digest.update(_little(series.fill_null(0) if series.null_count() else series, KINDS[dtype][1]))


def _little(series: pl.Series, form: str) -> memoryview:
    """The values as little-endian bytes, without a copy if they already are."""
    return np.ascontiguousarray(series.to_numpy().astype(form, copy=False)).view(np.uint8).data


# --- The two entries of a file ---


def parquet_bytes(frame: pl.DataFrame, *, level: int) -> bytearray:
    """The content of a Parquet file with both checksums."""
    buffer, blank = BytesIO(), dict.fromkeys(frame.columns, "0" * 2 * DIGEST_BYTES)
    with _digests_beside(frame) as digests:
        frame.write_parquet(buffer, compression="zstd", compression_level=level, metadata=metadata(blank))
    content = bytearray(buffer.getbuffer())
    _fill(content, json.dumps(blank).encode(), json.dumps(digests or digest_columns(frame)).encode())
    place = content.rindex(PREFIX + BLANK) + len(PREFIX)
    content[place : place + len(BLANK)] = f"{zlib.crc32(content):08x}".encode()
    return content


@contextmanager
def _digests_beside(frame: pl.DataFrame) -> Iterator[dict[str, str]]:
    """`digest_columns`, filled in at the end of the block; empty where a thread is not worth it or fails.

    The digests take as long as the encoding, and both leave the interpreter to others.
    """
    digests: dict[str, str] = {}
    thread = threading.Thread(target=lambda: digests.update(digest_columns(frame)), name="digests")
    if frame.height <= BLOCK_ROWS:
        yield digests
        return
    with suppress(RuntimeError):  # at the end of the interpreter no thread starts
        thread.start()
    try:
        yield digests
    finally:
        if thread.ident is not None:
            thread.join()


def _fill(content: bytearray, blank: bytes, text: bytes) -> None:
    """Put a text of the same length over the last `blank` of a file."""
    place = content.rindex(blank)
    content[place : place + len(blank)] = text


def metadata(columns: dict[str, str]) -> dict[str, str]:
    """The metadata of a file whose own digest is not yet computed."""
    return {COLUMNS_KEY: json.dumps(columns), FILE_KEY: (PREFIX + BLANK).decode()}


def seal(path: Path) -> None:
    """Fill in the digest of a file that was written with `metadata`, and fsync it. Raises OSError."""
    place = _place(path, PREFIX + BLANK)
    if place is None:
        raise OSError(f"{path.name} was written without the place for its checksum")
    digest = _digest_bytes(path, place)
    with path.open("rb+") as file:
        file.seek(place)
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())


def _place(path: Path, text: bytes) -> int | None:
    """Offset of a digest's digits in a file, or None."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for tail in (min(size, TAIL_BYTES), size):
            file.seek(size - tail)
            position = file.read(tail).rfind(text)
            if position >= 0:
                return size - tail + position + len(PREFIX)
    return None


def _digest_bytes(path: Path, place: int) -> str:
    """The CRC-32 of a file's bytes, the digits at `place` read as zeros."""
    with path.open("rb") as file:
        crc = zlib.crc32(BLANK, _crc_of(file, place))
        file.seek(place + len(BLANK))
        return f"{_crc_of(file, None, crc):08x}"


def _crc_of(file: BinaryIO, number: int | None, crc: int = 0) -> int:
    """The CRC-32 of the next `number` bytes (None: of all remaining), continued from `crc`."""
    while block := file.read(PIECE if number is None else min(number, PIECE)):
        crc = zlib.crc32(block, crc)
        number = None if number is None else number - len(block)
    return crc


# --- The check ---


def check_file(path: Path, *, values_are_enough: bool = False) -> bool:
    """Verify a file's checksums; returns whether it has any. Raises UnreadableRunError if one does not match.

    A file without any (recorded before there were checksums, or written by other software) returns False.
    `values_are_enough`: accept a file with different bytes whose columns hold the values that were written.
    Raises FileNotFoundError when the file is gone.
    """
    with reading(path):
        entries = pl.read_parquet_metadata(path)
        file_digest = entries.get(FILE_KEY, "")
        columns_text = entries.get(COLUMNS_KEY)
        if columns_text is None and not file_digest:
            return False
        place = _place(path, file_digest.encode()) if file_digest.startswith(PREFIX.decode()) else None
        if place is not None and _digest_bytes(path, place) == file_digest[len(PREFIX) :]:
            return True
    wrong = wrong_columns(path, columns_text)
    if wrong:
        raise damaged(path, f"its checksum does not fit the values of {', '.join(wrong)}")
    if not values_are_enough:
        raise damaged(path, "its checksum does not fit its bytes, although the values of its columns do")
    return True


def check_values(path: Path) -> None:
    """Compare the digest of every column of a file with checksums, independently of its CRC.

    Raises UnreadableRunError naming the columns.
    """
    with reading(path):
        columns_text = pl.read_parquet_metadata(path).get(COLUMNS_KEY)
    wrong = wrong_columns(path, columns_text)
    if wrong:
        raise damaged(path, f"its checksum does not fit the values of {', '.join(wrong)}")


def wrong_columns(path: Path, columns_text: str | None) -> list[str]:
    """Columns whose values do not match their digest, or that are missing; all if none can be read."""
    try:
        digests = json.loads(columns_text or "")
        if not isinstance(digests, dict):
            raise ValueError("no object")
    except ValueError:
        raise damaged(path, "its list of checksums cannot be read") from None
    with reading(path):
        present = pl.scan_parquet(path, glob=False).collect_schema().names()
    return [
        name
        for name, digest in digests.items()
        if name not in present or _digest_of_one(path, name) != digest
    ]


def _digest_of_one(path: Path, name: str) -> str | None:
    """The digest of one column; None if its values cannot be read at all."""
    try:
        with reading(path):
            return digest_files([path], [name]).get(name)
    except NotNowError:
        raise
    except UnreadableRunError:
        return None
