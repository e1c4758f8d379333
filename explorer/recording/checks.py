"""What a record must be before it is kept, and a private copy of its arrays.

A training loop may hand over views of buffers that it reuses in the next step, so every array is
copied. Shapes: L mixture layers, E experts, B sequences, P tokens, K experts per token.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from explorer.errors import RunFolderError
from explorer.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    RankLoadRecord,
    Record,
    SequenceLoadRecord,
    StepRecord,
)

TABLE_OF: dict[type, str] = {
    StepRecord: "steps",
    LoadRecord: "expert_loads",
    LayerRecord: "layer_steps",
    SequenceLoadRecord: "sequence_loads",
    RankLoadRecord: "rank_loads",
    EvalRecord: "evals",
    EvalLoadRecord: "eval_loads",
    ProbeRecord: "probe_scores",
    EventRecord: "events",
}
LARGEST = np.iinfo(np.int64).max
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Sizes:
    """L, E and K that every record of the run must have."""

    num_layers: int
    num_experts: int
    top_k: int

    @cached_property
    def of(self) -> dict[str, int]:
        """Letter of a dimension -> its length."""
        return {"L": self.num_layers, "E": self.num_experts, "K": self.top_k}


def checked(record: R, sizes: Sizes) -> R:
    """A copy that shares no array with the caller. Raises RunFolderError, naming the field."""
    if type(record) not in TABLE_OF:
        raise RunFolderError(
            f"record() was given {type(record).__name__}, which is not a record; "
            "use one of the classes of explorer.records."
        )
    step = record.step
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise _broken(record, "step", repr(step), "must be a whole number of at least 0")
    copies: dict[str, Any] = {}
    for name, dims in ARRAY_FIELDS[type(record)]:
        value = getattr(record, name)
        if value is not None:
            copies[name] = _array(record, name, value, dims, sizes)
    if isinstance(record, SequenceLoadRecord) and len(record.domains_B) != len(copies["tokens_BLE"]):
        raise _broken(
            record,
            "domains_B",
            f"{len(record.domains_B)} names",
            f"must name each of the {len(copies['tokens_BLE'])} sequences",
        )
    if isinstance(record, SequenceLoadRecord):
        copies["domains_B"] = list(record.domains_B)
    if isinstance(record, LayerRecord):
        if record.num_layers not in (0, sizes.num_layers):
            raise _broken(record, "num_layers", str(record.num_layers), f"must be {sizes.num_layers}")
        copies["num_layers"] = sizes.num_layers
    return replace(record, **copies) if copies else record


def _array_fields(kind: Any) -> list[tuple[str, str]]:
    """(field, dimensions) of each array: the capitals after the last underscore of its name."""
    named = [(f.name, f.name.rpartition("_")[2]) for f in fields(kind)]
    return [(name, dims) for name, dims in named if dims.isupper() and name != "domains_B"]


ARRAY_FIELDS = {kind: _array_fields(kind) for kind in TABLE_OF}


def _array(record: Record, name: str, value: Any, dims: str, sizes: Sizes) -> NDArray[Any]:
    array = np.asarray(value)
    known = sizes.of
    if "K" in dims and array.ndim == len(dims) and array.shape[dims.index("K")] == sizes.num_experts:
        # One slot an expert: a routing that gives some tokens fewer experts than others.
        known = {**known, "K": sizes.num_experts}
    if array.ndim != len(dims) or any(
        known.get(letter, length) != length for letter, length in zip(dims, array.shape, strict=True)
    ):
        rule = ", ".join(f"{letter} = {known[letter]}" if letter in known else letter for letter in dims)
        raise _broken(record, name, f"shape {array.shape}", f"must have the shape ({rule})")
    if name.startswith(("tokens", "dropped", "switched", "selected")):
        return _whole(record, name, array)
    if array.dtype.kind not in "fiu":
        raise _broken(record, name, f"type {array.dtype}", "must hold numbers")
    return np.array(array, dtype=np.float32, order="C")


def _whole(record: Record, name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise _broken(
            record, name, f"type {array.dtype}", "must hold integers: ratios are derived on reading"
        )
    if array.size and (array.min() < 0 or array.max() > LARGEST):
        raise _broken(record, name, f"{array.min()} to {array.max()}", f"must lie between 0 and {LARGEST}")
    return np.array(array, dtype=np.int64, order="C")


def _broken(record: Record, name: str, value: str, rule: str) -> RunFolderError:
    kind = type(record).__name__
    where = f" of step {record.step}" if name != "step" else ""
    return RunFolderError(f"{kind}.{name}{where} = {value}: {rule}; correct what is recorded.")
