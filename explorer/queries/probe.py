"""The probe batch: the same tokens, routed by the model at a few steps of its training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.queries._choices import in_order, runs_of
from explorer.queries._frames import Cursor, frame, shared_frame


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerProbe:
    """One layer's router on the T tokens of the probe; E experts, K slots.

    Equal to itself alone, so that what follows from it can be remembered.
    """

    logits: NDArray[np.float32]
    """[T, E]"""
    routes: NDArray[np.int64]
    """[T, K] as recorded, best first where tokens choose; E in an empty slot."""
    bias: NDArray[np.float32] | None
    """[E] bias used; None without a bias rule."""

    @property
    def num_experts(self) -> int:
        return int(self.logits.shape[1])


def probes(cur: Cursor, run_ids: Sequence[str], *, scored: bool = False) -> pl.DataFrame:
    """The probes of the runs that have a probe batch.

    scored: only those that keep the router's logits beside the routes. Columns: run_id, step (updates before
    the probe), has_bias (whether a bias was applied). Sorted.
    """
    # Joined and grouped here: SQL takes twice as long to plan that.
    first = shared_frame(cur, "SELECT run_id, coalesce(layers[1], 0)::INTEGER AS layer FROM runs")
    rows = frame(
        cur,
        "SELECT run_id, step, layer, expert_bias IS NOT NULL AS has_bias FROM probe_scores "
        "WHERE token = 0 AND list_contains($run_ids::VARCHAR[], run_id)"
        + (" AND router_logits IS NOT NULL" if scored else ""),
        run_ids=list(run_ids),
    )
    of_first = rows.join(first, on=["run_id", "layer"], how="semi")
    return of_first.group_by("run_id", "step").agg(pl.col("has_bias").any()).sort("run_id", "step")


def probed_steps(cur: Cursor, run_id: str, layer: int) -> list[int]:
    """Updates before each probe of a run that has this layer, ascending."""
    rows = frame(
        cur,
        "SELECT step FROM probe_scores WHERE run_id = $run_id AND layer = $layer AND token = 0 ORDER BY step",
        run_id=run_id,
        layer=layer,
    )
    return [int(step) for step in rows["step"]]


def layer_probe(cur: Cursor, run_id: str, step: int, layer: int) -> LayerProbe | None:
    """A layer's logits, experts and bias on the probe after `step` updates; None where not recorded."""
    return _probes(cur, run_id, (step,), layer).get(step, {}).get(layer)


def layer_probes(cur: Cursor, run_id: str, step: int) -> dict[int, LayerProbe]:
    """`layer_probe` of every layer that was recorded: layer -> probe."""
    return _probes(cur, run_id, (step,), None).get(step, {})


def layer_probes_at(cur: Cursor, run_id: str, steps: Sequence[int]) -> dict[int, dict[int, LayerProbe]]:
    """`layer_probes` of several probes: step -> layer -> probe."""
    return _probes(cur, run_id, steps, None)


def _probes(
    cur: Cursor, run_id: str, steps: Sequence[int], layer: int | None
) -> dict[int, dict[int, LayerProbe]]:
    # The bias is the same list in every row of a layer, so that of one token is enough.
    rows = _rows(
        cur,
        "router_logits, selected_experts, CASE WHEN token = 0 THEN expert_bias END AS expert_bias",
        "router_logits IS NOT NULL",
        run_id,
        steps,
        layer,
    )
    logits, routes = _matrix(rows["router_logits"]), _matrix(rows["selected_experts"])
    result: dict[int, dict[int, LayerProbe]] = {}
    for step, of_layer, part in _parts(rows):
        if not np.array_equal(rows["token"][part].to_numpy(), np.arange(part.stop - part.start)):
            continue
        of_part = logits[part] if logits is not None else _matrix(rows["router_logits"][part])
        if of_part is None:
            continue
        experts, bias = of_part.shape[1], rows["expert_bias"][part.start]
        ids = rows["selected_experts"][part] if routes is None else routes[part]
        result.setdefault(step, {})[of_layer] = LayerProbe(
            logits=of_part.astype(np.float32),
            routes=_slots(ids, experts),
            bias=None if bias is None else np.asarray(bias.to_list(), dtype=np.float32),
        )
    return result


def _rows(
    cur: Cursor, columns: str, where: str, run_id: str, steps: Sequence[int], layer: int | None
) -> pl.DataFrame:
    """The rows of these probes by step, layer and token. It sorts lists faster than SQL does."""
    params: dict[str, Any] = {"run_id": run_id}
    conditions = ["run_id = $run_id", where]
    if layer is not None:
        params["layer"] = layer
        conditions.append("layer = $layer")
    if len(steps) == 1:  # an equality skips the rows of other probes
        params["step"] = steps[0]
        conditions.append("step = $step")
    else:
        params["steps"] = list(steps)
        conditions.append("list_contains($steps::BIGINT[], step)")
    rows = frame(
        cur,
        f"SELECT step, layer, token, {columns} FROM probe_scores WHERE {' AND '.join(conditions)}",
        **params,
    )
    return in_order(rows, ("step", "layer", "token"))


def _parts(rows: pl.DataFrame) -> Iterator[tuple[int, int, slice]]:
    """Step, layer and place of every layer's rows."""
    step, layer = (rows[name].to_numpy().astype(np.int64) for name in ("step", "layer"))
    for part in runs_of(step, layer):
        yield int(step[part.start]), int(layer[part.start]), part


def _matrix(lists: pl.Series) -> NDArray[Any] | None:
    """Lists of one length, not NULL, as an array; None for others."""
    lengths = lists.list.len()
    if lists.is_empty() or lengths.null_count() or not lengths[0] or (lengths != lengths[0]).any():
        return None
    return lists.explode().to_numpy().reshape(len(lists), -1)


def routes(
    cur: Cursor, run_id: str, step: int, num_experts: int, layer: int | None = None
) -> dict[int, NDArray[np.int64]]:
    """The experts of every probe token after `step` updates: layer -> [T, K], num_experts in an empty slot.

    layer: only this one. Layers whose tokens are not numbered 0 to T - 1 are left out.
    """
    return _routes(cur, run_id, (step,), num_experts, layer).get(step, {})


def routes_at(
    cur: Cursor, run_id: str, steps: Sequence[int], num_experts: int
) -> dict[int, dict[int, NDArray[np.int64]]]:
    """`routes` of several probes: step -> layer -> [T, K]."""
    return _routes(cur, run_id, steps, num_experts, None)


def _routes(
    cur: Cursor, run_id: str, steps: Sequence[int], num_experts: int, layer: int | None
) -> dict[int, dict[int, NDArray[np.int64]]]:
    result: dict[int, dict[int, NDArray[np.int64]]] = {}
    where = "selected_experts IS NOT NULL"
    rows = _rows(cur, "selected_experts", where, run_id, steps, layer)
    routes = _matrix(rows["selected_experts"])
    for step, of_layer, part in _parts(rows):
        if np.array_equal(rows["token"][part].to_numpy(), np.arange(part.stop - part.start)):
            ids = rows["selected_experts"][part] if routes is None else routes[part]
            result.setdefault(step, {})[of_layer] = _slots(ids, num_experts)
    return result


def biases_after(cur: Cursor, run_id: str, layer: int, step: int, updates: int) -> pl.DataFrame:
    """The recorded biases of a layer in the `updates` + 1 steps from `step` on.

    Columns: update (steps since), expert, bias; without rows where no bias is applied or recorded. Sorted.
    """
    return frame(
        cur,
        """
        SELECT step - $step AS update, expert, expert_bias AS bias FROM expert_loads
        WHERE run_id = $run_id AND layer = $layer AND step BETWEEN $step AND $step + $updates
          AND expert_bias IS NOT NULL
        ORDER BY step, expert
        """,
        run_id=run_id,
        layer=layer,
        step=step,
        updates=updates,
    )


def _slots(lists: "pl.Series | NDArray[Any]", experts: int) -> NDArray[np.int64]:
    """Lists of any length as one array, or an array of ids; invalid ids become empty slots (`experts`), which
    come last where lists differ in length.
    """
    if isinstance(lists, np.ndarray):
        ids = lists
    elif (matrix := _matrix(lists)) is not None:
        ids = matrix
    else:
        ids = _padded(lists, experts)
    ids = ids.astype(np.int64)
    return np.where((ids >= 0) & (ids < experts), ids, experts)


def _padded(lists: pl.Series, experts: int) -> NDArray[np.int64]:
    """The valid ids of each list, then empty slots up to the longest."""
    valid = [[e for e in one or () if 0 <= e < experts] for one in lists.to_list()]
    width = max(map(len, valid), default=0)
    rows = [[*one, *[experts] * (width - len(one))] for one in valid]
    return np.array(rows, dtype=np.int64).reshape(len(valid), width)


def expert_texts(routes: NDArray[np.int64], texts: Sequence[str], expert: int) -> pl.DataFrame:
    """The texts of the probe tokens that an expert receives; routes: [T, K], texts: T.

    Columns: text, tokens (received by the expert), occurrences (in the probe), share. Most tokens first.
    """
    taken = (np.asarray(routes) == expert).any(-1) if routes.size else np.zeros(len(texts), bool)
    rows = pl.DataFrame(
        {"text": list(texts), "taken": taken}, schema={"text": pl.String, "taken": pl.Boolean}
    )
    return (
        rows.group_by("text")
        .agg(tokens=pl.col("taken").sum().cast(pl.Int64), occurrences=pl.len().cast(pl.Int64))
        .filter(pl.col("tokens") > 0)
        .with_columns(share=pl.col("tokens") / pl.col("occurrences"))
        .sort("tokens", "share", "text", descending=[True, True, False])
    )


def expert_domains(
    routes: NDArray[np.int64], domains: Sequence[str], expert: int, num_experts: int
) -> pl.DataFrame:
    """An expert's share of every domain's probe tokens; domains: one per token, T.

    Columns: domain, tokens (received by the expert), assignments (of the domain), load_ratio (tokens over the
    domain's uniform load, assignments / E). In the order in which domains appear.
    """
    slots = np.asarray(routes)
    rows = pl.DataFrame(
        {
            "domain": list(domains),
            "tokens": (slots == expert).sum(-1).astype(np.int64),
            "assignments": (slots < num_experts).sum(-1).astype(np.int64),
        },
        schema={"domain": pl.String, "tokens": pl.Int64, "assignments": pl.Int64},
    )
    sums = rows.group_by("domain", maintain_order=True).agg(pl.col("tokens", "assignments").sum())
    ratio = pl.col("tokens") * num_experts / pl.col("assignments")
    return sums.with_columns(load_ratio=pl.when(pl.col("assignments") > 0).then(ratio))
