"""safetensors without its library: eight bytes of length, a JSON header, then the values. Only integer and
float types of numpy; every offset is checked against the size of the file before anything is read."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.source import Source

MOST_HEADER = 64 * 2**20
DTYPES = {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "U16": "<u2", "U32": "<u4",
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
}  # fmt: skip


class Entry(msgspec.Struct):
    """Location of a tensor in the file."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class Tensors:
    """The tensors of one file, read one at a time."""

    def __init__(self, source: Source) -> None:
        """Read the header. Raises ForeignFileError."""
        self._source = source
        with source.opened() as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= min(MOST_HEADER, source.num_bytes - 8):
                raise source.problem(
                    "the first 8 bytes", f"claim a header of {size:,} bytes", "copy it again"
                )
            header = file.read(size)
        self._start = 8 + size
        try:
            fields = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
            fields.pop("__metadata__", None)
            self.entries = {name: msgspec.json.decode(raw, type=Entry) for name, raw in fields.items()}
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise source.problem("the header", f"cannot be read ({shortened(str(error))})") from error
        for name, entry in self.entries.items():
            self._check(name, entry)

    def _check(self, name: str, entry: Entry) -> None:
        first, end = entry.data_offsets
        fits = 0 <= first <= end <= self._source.num_bytes - self._start
        if entry.dtype not in DTYPES or not fits or min(entry.shape, default=0) < 0:
            rule = "must be of a known type and lie inside the file"
            raise self._source.problem(f"tensor {shortened(name)}", rule, "copy it again")
        if math.prod(entry.shape) * np.dtype(DTYPES[entry.dtype]).itemsize != end - first:
            raise self._source.problem(f"tensor {shortened(name)}", "has another size than its shape says")

    def read(self, name: str, file: Any) -> NDArray[Any]:
        """One tensor, from the opened file."""
        entry = self.entries[name]
        first, end = entry.data_offsets
        file.seek(self._start + first)
        data = file.read(end - first)
        if len(data) != end - first:
            raise self._source.problem(f"tensor {shortened(name)}", "is cut short", "copy it again")
        return np.frombuffer(data, dtype=DTYPES[entry.dtype]).reshape(entry.shape)
