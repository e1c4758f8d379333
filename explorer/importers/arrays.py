"""Decoded JSON and foreign arrays as arrays of counts, with errors that name the violated rule."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.source import Source
from explorer.recording.folder_schema import MAX_EXPERTS

LARGEST_COUNT = 2**48


def number_array(value: Any, dims: int, source: Source, place: str) -> NDArray[Any]:
    """Nested lists as an array with `dims` dimensions; rows of equal length, numbers only."""
    rule = f"must be a list of numbers nested {dims} deep, with rows of one length"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise source.problem(_odd_item(value, dims, place), rule) from error
    if array.ndim != dims or array.dtype.kind not in "iuf" or array.size == 0:
        raise source.problem(_odd_item(value, dims, place), rule)
    return array


def _odd_item(value: Any, dims: int, place: str) -> str:
    """Where nested lists are first something else than lists of one length or, innermost, numbers."""
    rows: list[tuple[tuple[int, ...], Any]] = [((), value)]
    for _ in range(dims):
        length = len(rows[0][1]) if isinstance(rows[0][1], list) else 0
        for index, row in rows:
            if not isinstance(row, list) or not row or len(row) != length:
                return value_place(place, index)
        rows = [((*index, n), item) for index, row in rows for n, item in enumerate(row)]
    odd = (at for at, item in rows if isinstance(item, bool) or not isinstance(item, int | float))
    return value_place(place, next(odd, ()))


def value_place(place: str, index: Sequence[int]) -> str:
    """`logical_count, value [3][17]`; without an index the place itself.

    >>> value_place("logical_count", (3, 17))
    'logical_count, value [3][17]'
    """
    at = "".join(f"[{n}]" for n in index)
    return ", ".join(part for part in (place, f"value {at}" if at else "") if part)


def first_index(is_bad: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first value that is bad."""
    return tuple(int(n) for n in np.unravel_index(int(is_bad.argmax()), is_bad.shape))


def count_array(array: NDArray[Any], source: Source, place: str) -> NDArray[np.int64]:
    """Counts: integers from 0 to 2^48, in any numeric type. `place` names the array in an error."""
    if array.dtype.kind not in "iuf":
        raise source.problem(place, f"must hold counts, not values of type {array.dtype}")
    if array.size and not (array.min() >= 0 and array.max() <= LARGEST_COUNT):
        index = first_index(~((array >= 0) & (array <= LARGEST_COUNT)))
        raise source.problem(value_place(place, index), f"must be a count from 0 to 2^48, not {array[index]}")
    counts = array.astype(np.int64, copy=False)
    if array.dtype.kind == "f" and (counts != array).any():
        index = first_index(counts != array)
        raise source.problem(
            value_place(place, index),
            f"must be a whole count, not {array[index]}",
            "give counts, or shares as .npy, CSV or Parquet",
        )
    return counts


def id_array(array: NDArray[Any], num_experts: int, source: Source, place: str) -> NDArray[np.int64]:
    """Expert ids below `num_experts`; every negative one becomes -1 (missing)."""
    if array.dtype.kind not in "iu":
        raise source.problem(place, f"must hold expert ids, not values of type {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize < 8:  # -1 cast to an unsigned type
        all_ones = np.iinfo(array.dtype).max
        array = np.where(array == all_ones, -1, array.astype(np.int64)) if all_ones >= num_experts else array
    ids = np.maximum(array.astype(np.int64), -1)
    if ids.size and int(ids.max()) >= num_experts:
        index = first_index(ids >= num_experts)
        raise source.problem(
            value_place(place, index),
            f"names expert {ids[index]}, which must be below num_experts ({num_experts})",
            "correct --option num_experts or check the file",
        )
    return ids


def expert_row(value: Any, num_experts: int, source: Source, place: str) -> tuple[NDArray[np.float64], int]:
    """An object {expert: number} as [E], and how many experts are absent from it (0 there)."""
    if not isinstance(value, Mapping):
        raise source.problem(place, "must be an object with one number per expert")
    row = np.zeros(num_experts)
    for key, number in value.items():
        if not key.isdecimal() or len(key) > 7 or int(key) >= num_experts:
            raise source.problem(
                place,
                f"names expert {shortened(key)}, which must be a number below num_experts ({num_experts})",
                "correct --option num_experts or check the file",
            )
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float)
            or not 0 <= number <= LARGEST_COUNT
        ):
            raise source.problem(f"{place}, expert {key}", "must be a number of at least 0")
        row[int(key)] = number
    return row, num_experts - len(value)


def layer_number(key: str, source: Source) -> int:
    """`3` or `layer_3` as 3."""
    digits = key.rpartition("_")[2]
    if not digits.isdecimal() or len(digits) > 7:
        raise source.problem(f"key {shortened(key)}", "must be the number of a layer")
    return int(digits)


def checked_size(value: Any, name: str, source: Source, place: str, most: int = MAX_EXPERTS) -> int:
    """An integer from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise source.problem(place, f"{name} must be a whole number from 1 to {most}")
    return value
