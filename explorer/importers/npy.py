"""Arrays in numpy's own format, memory-mapped: the size in the header must match the file."""

import math
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.source import Source

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000


def open_npy(source: Source) -> NDArray[Any]:
    """The array of a .npy file, as a read-only map. Raises ForeignFileError; objects are never unpickled."""
    with source.opened() as file:
        shape, is_fortran, dtype, offset = _header(file, source)
        file.seek(0, 2)
        _check_size(shape, dtype, file.tell() - offset, source)
    order = "F" if is_fortran else "C"
    return np.memmap(source.path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)  # type: ignore[call-overload, no-any-return]


def npy_from_bytes(data: bytes, source: Source) -> NDArray[Any]:
    """The array in the bytes of a .npy file, as some servers send them."""
    file = BytesIO(data)
    shape, is_fortran, dtype, offset = _header(file, source)
    _check_size(shape, dtype, len(data) - offset, source)
    array = np.frombuffer(data, dtype=dtype, offset=offset, count=math.prod(shape))
    return array.reshape(shape, order="F" if is_fortran else "C")


def _header(file: Any, source: Source) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    try:
        version = npy_format.read_magic(file)
        read = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read(file, max_header_size=LONGEST_HEADER)
    except Exception as error:  # the header is Python source, and its parsers raise any exception
        rule = f"has no header of a .npy file that can be read ({shortened(str(error))})"
        raise source.problem("", rule) from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise source.problem("", f"holds values of type {dtype}, which must be numbers of at most 8 bytes")
    return shape, is_fortran, dtype, file.tell()


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], num_bytes: int, source: Source) -> None:
    if min(shape, default=0) < 1 or math.prod(shape) * dtype.itemsize != num_bytes:
        raise source.problem(
            "", f"says that its shape is {shape} of {dtype}, but {num_bytes:,} bytes follow", "copy it again"
        )
