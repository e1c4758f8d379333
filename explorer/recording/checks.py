"""Validate records before they are kept, and copy everything in them.

A training loop may hand over views of buffers that it reuses in the next step, so every number and
every array is converted and copied on arrival, and rejected there if that is impossible: at the next flush
the step and the field would no longer be known. Shapes: L MoE layers, E experts,
B sequences, R ranks, P tokens, K experts per token; C cells of layers of different width (`Layout`).
"""

from dataclasses import fields
from types import NoneType
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from explorer.errors import RunFolderError
from explorer.recording.folder_schema import LARGEST_STEP
from explorer.recording.layout import Layout
from explorer.recording.values import (
    Ragged,
    Refused,
    float_array,
    preview,
    to_array,
    to_float,
    to_text,
    to_whole,
    whole_array,
)
from explorer.records.records import (
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
from explorer.records.tables import TABLES

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
REPEATABLE = ("events",)
"""Tables that may hold several rows per key: a step can have several events."""
LARGEST = {"BIGINT": 2**63 - 1, "INTEGER": 2**31 - 1}
R = TypeVar("R", bound=Record)


def checked(record: R, layout: Layout) -> R:
    """A copy that shares nothing with the caller. Raises RunFolderError, naming field and step."""
    kind = type(record)
    if kind not in TABLE_OF:
        raise RunFolderError(
            f"record() was given {kind.__name__}, which is not a record; "
            "use one of the classes of explorer.records."
        )
    values = {name: _scalar(record, name) for name in SCALARS[kind]}
    for name, dims in ARRAY_FIELDS[kind]:
        value = getattr(record, name)
        if value is not None or not _is_optional(kind, name):
            values[name] = _array(record, name, value, dims, layout)
        else:
            values[name] = None
    if isinstance(record, SequenceLoadRecord):
        values["domains_B"] = _domains(record, len(values["tokens_BLE"]))
    if isinstance(record, LayerRecord):
        if values["num_layers"] not in (0, layout.num_layers):
            raise _broken(record, "num_layers", values["num_layers"], f"must be {layout.num_layers}")
        values["num_layers"] = layout.num_layers
    for name, dims in ARRAY_FIELDS[kind]:
        if _is_count(name) and dims.endswith("LE") and values[name] is not None:
            _check_sums(record, name, values[name], layout)
    if isinstance(record, ProbeRecord) and not layout.is_even:
        _check_choices(record, values["selected_experts_PLK"], layout)
    return kind(**values)


def key_of(record: Record) -> tuple[Any, ...] | None:
    """The key columns of a record, which must be unique; None for tables that allow repeats."""
    kind = type(record)
    table = TABLE_OF[kind]
    return None if table in REPEATABLE else tuple(getattr(record, name) for name in KEY_FIELDS[kind])


def given_twice(record: Record) -> RunFolderError:
    """The error for a second record with the same key."""
    kind = type(record)
    parts = [f"{name} {getattr(record, name)}" for name in KEY_FIELDS[kind] if name != "step"]
    where = ", ".join([f"step {record.step}", *parts])
    remedy = (
        "record each of them once"
        if parts
        else "record a step once: add up its micro-batches and ranks before"
    )
    return RunFolderError(f"{kind.__name__} of {where} was given already; {remedy}.")


def _array_fields(kind: Any) -> list[tuple[str, str]]:
    """(field, dimensions) of each array: the capital letters after the last underscore of its name."""
    named = [(f.name, f.name.rpartition("_")[2]) for f in fields(kind)]
    return [(name, dims) for name, dims in named if dims.isupper() and name != "domains_B"]


def _types(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The types that each field may have."""
    return {f.name: get_args(f.type) or (f.type,) for f in fields(kind)}


def _scalar_fields(kind: Any) -> dict[str, tuple[Any, int]]:
    """Field -> its type and, for integers, the largest value of its column."""
    arrays = {name for name, _ in ARRAY_FIELDS[kind]} | {"domains_B"}
    sizes = {column.name: LARGEST.get(column.sql_type, 0) for column in TABLES[TABLE_OF[kind]]}
    sizes["step"] = LARGEST_STEP
    return {
        name: (types[0], sizes.get(name, LARGEST["INTEGER"]))
        for name, types in FIELD_TYPES[kind].items()
        if name not in arrays
    }


ARRAY_FIELDS = {kind: _array_fields(kind) for kind in TABLE_OF}
FIELD_TYPES = {kind: _types(kind) for kind in TABLE_OF}
SCALARS = {kind: _scalar_fields(kind) for kind in TABLE_OF}
KEY_FIELDS = {
    kind: [column.name for column in TABLES[table] if column.key and column.name in SCALARS[kind]]
    for kind, table in TABLE_OF.items()
}


def _is_optional(kind: Any, name: str) -> bool:
    return NoneType in FIELD_TYPES[kind][name]


def _scalar(record: Record, name: str) -> Any:
    kind, value = type(record), getattr(record, name)
    expected, largest = SCALARS[kind][name]
    if value is None and _is_optional(kind, name):
        return None
    try:
        if expected is int:
            return to_whole(value, largest)
        return to_float(value) if expected is float else to_text(value)
    except Refused as error:
        raise _refused(record, name, value, error) from error


def _array(record: Record, name: str, value: Any, dims: str, layout: Layout) -> NDArray[Any]:
    lengths = layout.lengths
    try:
        if dims.endswith("LE") and not layout.is_even:
            return _uneven(name, value, dims, layout)
        array, type_name = to_array(value)
    except Ragged as error:
        rule = str(error)
        if dims.endswith("LE") and layout.is_even:
            rule += ", or be described by RunInfo.experts_per_layer"
        elif dims.endswith("LE"):
            rule = f"must be one array per layer, with {preview(list(layout.widths))} experts"
        raise _broken(record, name, preview(value), rule) from error
    except Refused as error:
        raise _refused(record, name, value, error) from error
    if "K" in dims and array.ndim == len(dims) and array.shape[dims.index("K")] == layout.num_experts:
        # One slot per expert: the routing gives tokens varying numbers of experts.
        lengths = {**lengths, "K": layout.num_experts}
    if not _fits(array, dims, lengths):
        raise _broken(record, name, f"shape {array.shape}", f"must have the shape ({_shape(dims, lengths)})")
    try:
        return _converted(name, array, type_name)
    except Refused as error:
        raise _refused(record, name, value, error) from error


def _uneven(name: str, value: Any, dims: str, layout: Layout) -> NDArray[Any]:
    """[…, C] of one array […, E of that layer] per layer, or of an array padded to the widest layer."""
    if isinstance(value, list | tuple) and len(value) == layout.num_layers:
        parts = [to_array(part) for part in value]
        if all(a.ndim == len(dims) - 1 for a, _ in parts) and [a.shape[-1] for a, _ in parts] == list(
            layout.widths
        ):
            return np.concatenate([_converted(name, array, kind) for array, kind in parts], axis=-1)
    array, type_name = to_array(value)
    if not _fits(array, dims, layout.lengths):
        raise Refused(
            f"must be one array per layer, with {preview(list(layout.widths))} experts, or one padded array "
            f"of the shape ({_shape(dims, layout.lengths)}), not {array.shape}"
        )
    if _is_count(name) and array[..., ~layout.is_there_LE].any():
        raise Refused(f"must be 0 beyond the experts of each layer ({preview(list(layout.widths))})")
    return _converted(name, array[..., layout.is_there_LE], type_name)


def _fits(array: NDArray[Any], dims: str, lengths: dict[str, int]) -> bool:
    return array.ndim == len(dims) and all(
        lengths.get(letter, length) == length for letter, length in zip(dims, array.shape, strict=True)
    )


def _shape(dims: str, lengths: dict[str, int]) -> str:
    return ", ".join(f"{letter} = {lengths[letter]}" if letter in lengths else letter for letter in dims)


def _is_count(name: str) -> bool:
    return name.startswith(("tokens", "dropped", "switched", "selected"))


def _converted(name: str, array: NDArray[Any], type_name: str) -> NDArray[Any]:
    return whole_array(array, type_name) if _is_count(name) else float_array(array)


def _domains(record: SequenceLoadRecord, count: int) -> list[str]:
    names = record.domains_B
    if not isinstance(names, list | tuple) or len(names) != count:
        size = f"{len(names)} names" if isinstance(names, list | tuple) else preview(names)
        raise _broken(record, "domains_B", size, f"must name each of the {count} sequences")
    try:
        return [to_text(name) for name in names]
    except Refused as error:
        raise _refused(record, "domains_B", names, error) from error


def _check_sums(record: Record, name: str, counts: NDArray[np.int64], layout: Layout) -> None:
    """A layer's total count must also fit into a column of the index."""
    most = LARGEST["BIGINT"]
    if counts.max(initial=0) <= most // max(1, layout.num_experts):
        return
    rows = counts.reshape(-1, sum(layout.widths))
    for layer, cells in layout.slices():
        total = max(sum(row) for row in rows[:, cells].tolist())
        if total > most:
            raise _broken(record, name, total, f"the counts of layer {layer} must add up to at most {most}")


def _check_choices(record: ProbeRecord, chosen_PLK: NDArray[Any], layout: Layout) -> None:
    """A token of a narrow layer can't choose an expert that only wider ones have."""
    widths_L1 = np.asarray(layout.widths)[:, None]
    broken = (chosen_PLK >= widths_L1) & (chosen_PLK < layout.num_experts)
    if broken.any():
        token, layer, slot = np.argwhere(broken)[0].tolist()
        rule = f"must be below {layout.widths[layer]} in layer {layout.layers[layer]}"
        raise _broken(record, "selected_experts_PLK", int(chosen_PLK[token, layer, slot]), rule)


def _refused(record: Record, name: str, value: Any, error: Refused) -> RunFolderError:
    return _broken(record, name, error.excerpt or preview(value), str(error))


def _broken(record: Record, name: str, text: object, rule: str) -> RunFolderError:
    where = f" of step {preview(record.step)}" if name != "step" else ""
    return RunFolderError(
        f"{type(record).__name__}.{name}{where} = {text}: {rule}; correct what is recorded."
    )
