"""Decoded JSON and foreign arrays as arrays of counts, with errors that name the violated rule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.source import Source
from explorer.recording.folder_schema import MAX_EXPERTS

LARGEST_COUNT = 2**48


def number_array(value: Any, dims: int, source: Source, place: str) -> NDArray[Any]:
    """Nested lists as an array with `dims` dimensions; rows of equal length, numbers only."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        rule = f"must be a list of numbers nested {dims} deep, with rows of one length"
        raise source.problem(place, f"{rule} ({shortened(str(error))})") from error
    if array.ndim != dims or array.dtype.kind not in "iuf" or array.size == 0:
        raise source.problem(place, f"must be a list of numbers nested {dims} deep, with rows of one length")
    return array


def count_array(array: NDArray[Any], source: Source, place: str) -> NDArray[np.int64]:
    """Counts: integers from 0 to 2^48, in any numeric type."""
    if array.dtype.kind not in "iuf":
        raise source.problem(place, f"must hold counts, not values of type {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise source.problem(place, "must hold finite counts")
    if array.size and (array.min() < 0 or array.max() > LARGEST_COUNT):
        span = f"{array.min()} to {array.max()}"
        raise source.problem(place, f"must hold counts from 0 to 2^48, not {span}")
    counts = array.astype(np.int64, copy=False)
    if array.dtype.kind == "f" and (counts != array).any():
        value = array[counts != array].flat[0]
        raise source.problem(
            place, f"must hold whole counts, not {value}", "give counts, or shares with --option unit=share"
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
        raise source.problem(
            place,
            f"names expert {int(ids.max())}, which must be below num_experts ({num_experts})",
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
