"""Small JSON reports: moewatch, plumb, and the trace of moe-routing-atlas."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from explorer.importers.arrays import checked_size, count_array, layer_number, number_array
from explorer.importers.kept_routes import KEPT_OPTIONS, KeptRoutes, LayerSample, keep_routes, most_tokens
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.token_names import LARGEST_TOKEN, TokenLog, token_id_list
from explorer.importers.trace import Counts, ForeignRun, LoadStep, model_layers, zeros

LoadRows = tuple[list[int], Counts]


class SmallJson:
    """One snapshot: a document with counts per layer and expert."""

    options: Sequence[str] = ()
    unit = "assignments"

    def __init__(self, name: str, label: str, signs: tuple[bytes, ...]) -> None:
        self.name, self.label, self._signs = name, label, signs

    def matches(self, source: Source) -> bool:
        return source.head.lstrip().startswith(b"{") and all(sign in source.head for sign in self._signs)

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        document = source.document()
        if not isinstance(document, Mapping):
            raise source.problem("", "must be an object")
        report = Report()
        in_file, tokens = self.rows(document, source, options, report)
        top_k = document.get("top_k")
        stated = None if top_k is None else checked_size(top_k, "top_k", source, "")
        model = document.get("model_id")
        routes = self.routes(document, in_file, options.top_k(stated), options, report)
        yield ForeignRun(
            steps=[LoadStep(step=0, tokens_LE=tokens, routes=routes)],
            layers=model_layers(options, in_file),
            num_experts=tokens.shape[1],
            top_k=options.top_k(stated),
            report=report,
            phase="serving",
            unit=self.unit,
            details={"model": model} if isinstance(model, str) else {},
        )

    def rows(self, document: Mapping[str, Any], source: Source, options: Options, report: Report) -> LoadRows:
        """Layer numbers, ascending, and counts [L, E]."""
        raise NotImplementedError

    def routes(
        self,
        document: Mapping[str, Any],
        in_file: list[int],
        top_k: int | None,
        options: Options,
        report: Report,
    ) -> KeptRoutes | None:
        """The routes of the first tokens, in the layers of the file that have any; None without them."""
        return None


class MoeWatch(SmallJson):
    """`utilization` {layer: {"n_experts", "token_counts"}}; only first choices are counted."""

    def rows(self, document: Mapping[str, Any], source: Source, options: Options, report: Report) -> LoadRows:
        table = document.get("utilization")
        if not isinstance(table, Mapping) or not table:
            raise source.problem("utilization", "must be an object of layers")
        rows = {}
        for key, value in table.items():
            place = f"utilization, layer {key}"
            counts = value.get("token_counts") if isinstance(value, Mapping) else None
            rows[layer_number(key, source)] = count_array(
                number_array(counts, 1, source, place), source, place
            )
        widths = {len(row) for row in rows.values()}
        if len(widths) > 1:
            raise source.problem("utilization", f"has layers of {sorted(widths)} experts")
        options.num_experts(widths.pop())
        report.assumption("first_choice", "The tool counts first choices only: K = 1 assignments per token.")
        return sorted(rows), np.stack([rows[layer] for layer in sorted(rows)])


class Plumb(SmallJson):
    """`layers` [{"layer_id", "experts" [{"expert_id", "token_count"}]}]; missing experts count as 0."""

    def rows(self, document: Mapping[str, Any], source: Source, options: Options, report: Report) -> LoadRows:
        experts = options.num_experts()
        table = document.get("layers")
        if not isinstance(table, list) or not table:
            raise source.problem("layers", "must be a list of layers")
        rows: dict[int, Counts] = {}
        named = 0
        for number, layer in enumerate(table):
            place = f"layers, entry {number}"
            key = layer.get("layer_id") if isinstance(layer, Mapping) else None
            if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < 10_000:
                raise source.problem(place, "layer_id must be a number from 0 to 9999")
            row = rows[key] = zeros(1, experts)[0]
            for entry in layer.get("experts") or []:
                expert, count = _pair(entry, "expert_id", "token_count", experts, source, place)
                row[expert] = count
                named += 1
        absent = len(rows) * experts - named
        if absent:
            report.assumption(
                "absent_keys", f"{absent:,} experts are not named: they count as 0 tokens.", cells=absent
            )
        return sorted(rows), np.stack([rows[layer] for layer in sorted(rows)])


class AtlasTrace(SmallJson):
    """`activations` [{"layer", "token_idx", "expert_idx", …}] with `num_layers`, `num_experts`, `top_k`."""

    options = KEPT_OPTIONS

    def rows(self, document: Mapping[str, Any], source: Source, options: Options, report: Report) -> LoadRows:
        experts = checked_size(document.get("num_experts"), "num_experts", source, "")
        experts = options.num_experts(experts)
        layers = checked_size(document.get("num_layers"), "num_layers", source, "", 10_000)
        tokens = zeros(layers, experts)
        table = document.get("activations")
        if not isinstance(table, list) or not table:
            raise source.problem("activations", "must be a list of activations")
        for number, entry in enumerate(table):
            layer, expert = _pair(entry, "layer", "expert_idx", layers, source, f"activation {number}")
            if expert >= experts:
                raise source.problem(f"activation {number}", f"expert_idx must be below {experts}")
            tokens[layer, expert] += 1
        live = np.flatnonzero(tokens.any(axis=1))
        if len(live) < layers:
            report.left_out(
                "dense_layers",
                f"{layers - len(live)} layers without an activation.",
                layers=layers - len(live),
            )
        return live.tolist(), tokens[live]

    def routes(
        self,
        document: Mapping[str, Any],
        in_file: list[int],
        top_k: int | None,
        options: Options,
        report: Report,
    ) -> KeptRoutes | None:
        """The experts of a token and layer, in the order of the file; `token_ids` names the tokens."""
        most, slots = most_tokens(options), defaultdict[tuple[int, int], list[int]](list)
        for entry in document["activations"]:
            token = entry.get("token_idx")
            if type(token) is int and 0 <= token < LARGEST_TOKEN:
                slots[entry["layer"], token].append(entry["expert_idx"])
        rows = 1 + max((token for _, token in slots), default=-1)
        samples = []
        for layer in in_file:
            tokens = [t for n, t in sorted(slots) if n == layer and len(slots[n, t]) == top_k][:most]
            slots_TK = np.asarray([slots[layer, t] for t in tokens], dtype=np.int64)
            ids = slots_TK.reshape(len(tokens), top_k or 0)
            samples.append(LayerSample(most, np.asarray(tokens, dtype=np.int64), ids))
        log = TokenLog()
        log.add(rows, token_id_list(document.get("token_ids")))
        return keep_routes(samples, log, rows, (), top_k, options, report)


def _pair(
    entry: Any, first: str, second: str, most_first: int, source: Source, place: str
) -> tuple[int, int]:
    """Two integers of an entry, the first below a limit, the second a count."""
    values = [entry.get(name) if isinstance(entry, Mapping) else None for name in (first, second)]
    for name, value, most in zip((first, second), values, (most_first - 1, 2**48), strict=True):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise source.problem(place, f"{name} must be a whole number from 0 to {most}")
    return values[0], values[1]  # type: ignore[return-value]


FORMATS = (
    MoeWatch("moewatch", "moewatch report", (b'"utilization"', b'"token_counts"')),
    Plumb("plumb", "plumb report", (b'"layers"', b'"expert_id"', b'"token_count"')),
    AtlasTrace("moe_routing_atlas", "moe-routing-atlas trace", (b'"activations"', b'"expert_idx"')),
)
