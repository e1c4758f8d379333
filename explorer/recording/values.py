"""Convert numbers from any training loop to plain Python and numpy values.

A loop passes Python numbers, numpy scalars and arrays, and tensors: 0-d, of bfloat16, with a
graph, on a device. Nothing here imports a tensor library: a tensor is an object with `detach` and `cpu`.
Results share no memory with their inputs. Every function raises `Refused` with the violated rule; the
caller adds the record, the field and the step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Up to 2^bits a float of that type represents every integer, so a count in it has not been rounded."""
REMEDY = "count in int64, e.g. with .to(torch.int64)"


class Refused(ValueError):
    """The rule that a value violates; `excerpt` is the offending part of the value, if only a part is."""

    def __init__(self, rule: str, excerpt: str | None = None) -> None:
        super().__init__(rule)
        self.excerpt = excerpt


class Ragged(Refused):
    """Rows of different lengths."""


def to_number(value: Any) -> float | int:
    """One number as a Python float or int; a tensor or an array of a single element counts as one."""
    plain = _item(value)
    if isinstance(plain, bool | np.bool_):
        raise Refused("must be a number, not a truth value")
    if isinstance(plain, int | float):
        return plain
    raise Refused(f"must be one number, not {_described(value)}")


def to_float(value: Any) -> float:
    """One number as a float. NaN and infinity are accepted."""
    try:
        return float(to_number(value))
    except OverflowError:
        raise Refused("must lie within the range of float64") from None


def to_whole(value: Any, largest: int, least: int = 0) -> int:
    """One integer of at most `largest`. A float is accepted if its type represents it unrounded."""
    number = to_number(value)
    if isinstance(number, float):
        limit = 2 ** EXACT_BITS.get(_type_name(value), 53)
        if not number.is_integer():
            raise Refused("must be a whole number")
        if abs(number) > limit:
            raise Refused(
                f"must be an integer: a {_type_name(value)} beyond {limit:,} may have been rounded; {REMEDY}"
            )
        number = int(number)
    if not least <= number <= largest:
        raise Refused(f"must be a whole number from {least} to {largest}")
    return number


def to_text(value: Any) -> str:
    """A text that can be encoded to a file."""
    if not isinstance(value, str):
        raise Refused(f"must be a text, not {_described(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("must be a text that UTF-8 can hold (it has half of a surrogate pair)") from None
    return str(value)


def to_array(value: Any) -> tuple[NDArray[Any], str]:
    """An array that may still share memory with `value`, and the name of its original type."""
    if isinstance(value, list | tuple) and any(not isinstance(v, int | float) for v in value):
        parts = [to_array(v) for v in value]
        shapes = {part.shape for part, _ in parts}
        if len(shapes) > 1:
            raise Ragged(f"must have rows of one length, not of the shapes {_listed(shapes)}")
        narrowest = min((name for _, name in parts), key=lambda name: EXACT_BITS.get(name, 64))
        return np.stack([part for part, _ in parts]), narrowest
    array, name = _as_numpy(value)
    if array.dtype.kind not in "fiu":
        raise Refused(f"must hold numbers, not {_described(value)}")
    return array, name


def whole_array(array: NDArray[Any], type_name: str) -> NDArray[np.int64]:
    """A copy as int64. Floats are accepted if they are integral and their type represents them unrounded."""
    if array.dtype.kind == "f":
        _refuse_rounded(array, type_name)
    largest = np.iinfo(np.int64).max
    # .item(): numpy would cast `largest` to float16 for an array of that type.
    if array.size and (array.min().item() < 0 or array.max().item() > largest):
        raise Refused(f"must lie between 0 and {largest}", f"{array.min()} to {array.max()}")
    return np.array(array, dtype=np.int64, order="C")


def float_array(array: NDArray[Any]) -> NDArray[np.float32]:
    """A copy as float32, which the tables hold. NaN and infinity are kept; overflow raises Refused."""
    with np.errstate(over="ignore"):
        result: NDArray[np.float32] = np.array(array, dtype=np.float32, order="C")
    if array.dtype.kind != "f" or array.dtype.itemsize <= result.itemsize:
        return result
    lost = np.isinf(result) & ~np.isinf(array)
    if lost.any():
        raise Refused("must lie within the range of float32 (3.4e38)", _cell(array, lost))
    return result


def _refuse_rounded(array: NDArray[Any], type_name: str) -> None:
    with np.errstate(invalid="ignore"):
        broken = array != np.floor(array)
    if broken.any():
        raise Refused(
            f"must hold integers, since ratios are derived on reading; {REMEDY}", _cell(array, broken)
        )
    limit = 2 ** EXACT_BITS.get(type_name, 53)
    large = np.abs(array) > limit
    if large.any():
        raise Refused(
            f"must hold integers, since a {type_name} beyond {limit:,} may have been rounded; {REMEDY}",
            _cell(array, large),
        )


def _item(value: Any) -> Any:
    """The Python value of a scalar; anything with more than one element stays unchanged."""
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else value
    if not hasattr(value, "item"):
        return value
    try:
        plain = value.item()
    except Exception as error:
        raise Refused(f"must be one number, not {_described(value)} ({_first_line(error)})") from error
    return float(plain) if isinstance(plain, np.floating) else plain


def _as_numpy(value: Any) -> tuple[NDArray[Any], str]:
    """A tensor, an array or a list as a numpy array, and the name of its type."""
    try:
        if not (hasattr(value, "detach") and hasattr(value, "cpu")):
            array = np.asarray(value)
            return array, str(array.dtype)
        tensor = value.detach().cpu()
        try:
            return np.asarray(tensor.numpy()), _type_name(value)
        except TypeError:  # numpy has no bfloat16 and none of the 8-bit floats; float32 holds them exactly
            return np.asarray(tensor.float().numpy()), _type_name(value)
    except Exception as error:
        raise Refused(f"must hold numbers, not {_described(value)} ({_first_line(error)})") from error


def _type_name(value: Any) -> str:
    """E.g. float32 for an array or a tensor, float64 for a Python float."""
    name = str(getattr(value, "dtype", "float64" if isinstance(value, float) else type(value).__name__))
    return name.rpartition(".")[2]


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if dtype is None:
        return f"{type(value).__name__}"
    return f"{type(value).__name__} of type {_type_name(value)} and shape {tuple(shape or ())}"


def _cell(array: NDArray[Any], where: NDArray[np.bool_]) -> str:
    """The first of these cells, with its place."""
    index = np.argwhere(where)[0].tolist()
    return f"{array[tuple(index)].item()!r} at {index}"


def _listed(shapes: set[tuple[int, ...]]) -> str:
    return " and ".join(map(str, sorted(shapes)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def preview(value: Any, limit: int = 60) -> str:
    """A value as short text, truncated at `limit` characters."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > limit:
        return f"{type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
