"""The recorded experts of the probe tokens as arrays; comparing lists in SQL takes ten times as long.

Shapes: R rows, one per step, layer and token; T tokens, K slots, E experts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._frames import Cursor, frame, run_row

Ids = NDArray[np.int64]
NO_EXPERT = -1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a run."""

    num_experts: int
    top_k: int | None
    layers: Sequence[int] | None
    experts_per_layer: Sequence[int] | None

    def width(self, layer: int) -> int:
        """The number of experts of a layer."""
        if self.experts_per_layer is None:
            return self.num_experts
        places = self.layers if self.layers is not None else range(len(self.experts_per_layer))
        place = list(places).index(layer) if layer in places else layer
        inside = 0 <= place < len(self.experts_per_layer)
        return self.experts_per_layer[place] if inside else self.num_experts


def sizes_of(cur: Cursor, run_id: str) -> Sizes:
    """Sizes of a run; zero experts for an unknown one."""
    row = run_row(
        cur,
        "SELECT num_experts, top_k, layers, experts_per_layer FROM runs WHERE run_id = $run_id",
        run_id=run_id,
    )
    experts, k, layers, widths = row or (0, None, None, None)
    return Sizes(num_experts=experts or 0, top_k=k, layers=layers, experts_per_layer=widths)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The distinct experts of some tokens in one layer at one step."""

    step: int
    layer: int
    tokens: Ids
    """[T] token numbers, ascending."""
    ids: Ids
    """[T, K], NO_EXPERT in an empty slot."""
    is_known: NDArray[np.bool_]
    """[T] whether anything was recorded."""

    @property
    def sizes(self) -> Ids:
        """[T] experts per token."""
        return filled(self.ids)


def choices(
    cur: Cursor, run_id: str, num_experts: int, step: int | None = None, layers: Sequence[int] | None = None
) -> Iterator[Choices]:
    """The recorded choices of a run, by layer and step; of one probe or all, of these layers or all."""
    conditions, params = ["run_id = $run_id"], {"run_id": run_id}
    if step is not None:
        conditions.append("step = $step")
        params |= {"step": step}  # type: ignore[dict-item]
    if layers is not None:
        conditions.append("list_contains($layers::INTEGER[], layer)")
        params |= {"layers": list(layers)}  # type: ignore[dict-item]
    rows = frame(
        cur,
        f"SELECT layer, step, token, selected_experts FROM probe_scores WHERE {' AND '.join(conditions)}",
        **params,
    )
    rows = in_order(rows, ("layer", "step", "token"))
    ids = distinct(padded(rows["selected_experts"]), num_experts)
    is_known = rows["selected_experts"].is_not_null().to_numpy()
    layer, at, token = (rows[name].to_numpy().astype(np.int64) for name in ("layer", "step", "token"))
    for part in runs_of(layer, at):
        yield Choices(
            step=int(at[part.start]),
            layer=int(layer[part.start]),
            tokens=token[part],
            ids=ids[part],
            is_known=is_known[part],
        )


def in_order(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The rows sorted by these keys; they nearly always are, and SQL sorts lists slowly."""
    values = [rows[name].to_numpy() for name in keys]
    is_less, is_equal = (
        np.zeros(max(0, rows.height - 1), np.bool_),
        np.ones(max(0, rows.height - 1), np.bool_),
    )
    for column in values:
        is_less |= is_equal & (column[:-1] > column[1:])
        is_equal &= column[:-1] == column[1:]
    return rows[np.lexsort(values[::-1])] if is_less.any() else rows


def runs_of(*keys: NDArray[np.int64]) -> Iterator[slice]:
    """Stretches of rows with equal keys."""
    if not len(keys[0]):
        return
    changes = np.zeros(len(keys[0]) - 1, dtype=np.bool_)
    for key in keys:
        changes |= key[:-1] != key[1:]
    ends = [*(np.flatnonzero(changes) + 1).tolist(), len(keys[0])]
    yield from (slice(first, end) for first, end in zip([0, *ends[:-1]], ends, strict=True))


def padded(lists: pl.Series) -> Ids:
    """Lists of any length as one array, [R, K], NO_EXPERT where a list is shorter or NULL."""
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    width = int(lengths.max(initial=0))
    flat = (
        lists.explode(empty_as_null=False, keep_nulls=False).fill_null(NO_EXPERT).to_numpy().astype(np.int64)
    )
    if len(flat) == width * len(lengths):
        return flat.reshape(len(lengths), width)
    result = np.full((len(lengths), width), NO_EXPERT, dtype=np.int64)
    result[np.arange(width) < lengths[:, None]] = flat
    return result


def distinct(ids: Ids, num_experts: int) -> Ids:
    """The same with every expert of a row once and NO_EXPERT for an invalid id."""
    result = np.where((ids >= 0) & (ids < num_experts), ids, NO_EXPERT)
    for slot in range(1, result.shape[1]):
        for earlier in range(slot):
            result[result[:, slot] == result[:, earlier], slot] = NO_EXPERT
    return result


def shared(first: Ids, second: Ids) -> Ids:
    """[T] experts in both, of arrays of `distinct` [T, K] and [T, K']."""
    result = np.zeros(len(first), dtype=np.int64)
    for ids in second.T:  # slot by slot: reducing a short axis takes several times as long
        is_expert = ids >= 0
        for others in first.T:
            result += (ids == others) & is_expert
    return result


def filled(ids: Ids) -> Ids:
    """[T] the slots with an expert, of [T, K]."""
    result = np.zeros(len(ids), dtype=np.int64)
    for slot in ids.T:
        result += slot >= 0
    return result


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What changed in one layer since the previous probe of each token."""

    earlier: int | None
    """The first of those probes; None at the first one."""
    common: int
    """Assignments in both."""
    slots: int
    """Assignments of the probe that has more, token by token."""

    @property
    def churn(self) -> float | None:
        """`metrics.churn`; None without a slot."""
        return 1 - self.common / self.slots if self.slots else None

    @classmethod
    def between(cls, probes: Sequence[Choices]) -> "list[Changes]":
        """The changes at every probe of a layer, by step, since the previous probe of each token."""
        tokens = probes[0].tokens
        if any(not np.array_equal(one.tokens, tokens) for one in probes):
            tokens = np.unique(np.concatenate([one.tokens for one in probes]))
        before = np.full((len(tokens), probes[0].ids.shape[1]), NO_EXPERT, dtype=np.int64)
        steps = np.full(len(tokens), NO_EXPERT, dtype=np.int64)
        result = []
        for one in probes:
            at = np.searchsorted(tokens, one.tokens)
            has_before = steps[at] >= 0
            old, now = before[at[has_before]], one.ids[has_before]
            slots = np.maximum(filled(old), filled(now)).sum()
            earlier = int(steps[at[has_before]].min()) if has_before.any() else None
            result.append(cls(earlier=earlier, common=int(shared(now, old).sum()), slots=int(slots)))
            before[at] = one.ids
            steps[at] = np.where(one.is_known, one.step, NO_EXPERT)
        return result
