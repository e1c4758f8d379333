"""TensorBoard event files without TensorFlow: TFRecords of `Event` messages, of which only scalars are read.

A record is eight bytes of length, four of checksum, the message, four of checksum. Lengths are checked
against the file before memory is allocated; a killed run leaves a truncated last record.
"""

import struct
from collections.abc import Iterator

from explorer.importers.source import Source

MOST_RECORD = 64 * 2**20
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Scalar = tuple[int, str, float]
"""step, tag, value."""


def scalars(source: Source) -> Iterator[Scalar]:
    """Every scalar of the file, in its order. Raises ForeignFileError if it is not an event file."""
    with source.opened() as file:
        place = 0
        while True:
            head = file.read(12)
            if len(head) < 12:
                return
            length = int.from_bytes(head[:8], "little")
            if length > min(MOST_RECORD, source.num_bytes):
                raise source.problem(f"byte {place}", f"claims a record of {length:,} bytes")
            record = file.read(length + 4)
            if len(record) < length + 4:
                return
            try:
                yield from _event(record[:length])
            except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
                rule = f"is no event of TensorBoard ({error})"
                raise source.problem(f"the record at byte {place}", rule) from error
            place += 16 + length


def _event(data: bytes) -> Iterator[Scalar]:
    """`Event`: step = 2, summary = 5."""
    step, summary = 0, b""
    for number, kind, value in _fields(data):
        if number == 2 and kind == VARINT and isinstance(value, int):
            step = value
        elif number == 5 and kind == BYTES and isinstance(value, bytes):
            summary = value
    for number, kind, value in _fields(summary):
        if number == 1 and kind == BYTES and isinstance(value, bytes):
            scalar = _value(value)
            if scalar is not None:
                yield step, *scalar


def _value(data: bytes) -> tuple[str, float] | None:
    """`Summary.Value`: tag = 1, simple_value = 2, tensor = 8 (a scalar in it: float_val = 5, tensor_content
    = 4)."""
    tag, number_found = "", None
    for number, kind, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode()
        elif number == 2 and kind == FIXED32 and isinstance(value, bytes):
            number_found = struct.unpack("<f", value)[0]
        elif number == 8 and isinstance(value, bytes):
            number_found = _tensor(value)
    return None if number_found is None or not tag else (tag, float(number_found))


def _tensor(data: bytes) -> float | None:
    for number, _, value in _fields(data):
        if number in (4, 5) and isinstance(value, bytes) and len(value) == 4:
            return float(struct.unpack("<f", value)[0])
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) of a protobuf message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            yield key >> 3, kind, value
            continue
        if kind == BYTES:
            size, place = _varint(data, place)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if size < 0 or place + size > len(data):
            raise ValueError("a field reaches beyond its message")
        yield key >> 3, kind, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        byte = data[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
        shift += 7
    raise ValueError("a number of more than ten bytes")
