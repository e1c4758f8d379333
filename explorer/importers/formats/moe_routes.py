"""`moe_routes.jsonl`: a log of routes that several patches of vLLM write, one JSON object per line.

`{"type": "meta", "model_id", "vllm_version", "layers_logged", "top_k", ["num_experts"]}`, then
`{"type": "route", "req_id", "token_idx", "layer", "topk_ids", "topk_weights"}`. `req_id` is often one
constant and `token_idx` restarts with every forward pass: neither is a request or a position.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from explorer.errors import shortened
from explorer.importers.arrays import checked_size, id_array
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.routes import LayerTally, report_routes
from explorer.importers.source import Source
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.recording.folder_schema import MAX_LAYERS
from explorer.wording import counted

CHUNK = 4096
"""Rows of a layer that are counted together."""
LEAST_ID = -(2**31)
"""Any negative id stands for one that is missing."""


class Meta(msgspec.Struct):
    """The first line."""

    type: str
    top_k: Any = None
    num_experts: Any = None
    model_id: Any = None
    vllm_version: Any = None
    device: Any = None


class Route(msgspec.Struct):
    """Every other line; fields that are not named here are passed over."""

    topk_ids: list[int]
    layer: int = 0
    topk_weights: list[float] = msgspec.field(default_factory=list)
    type: str = "route"


@dataclass
class _Rows:
    """Rows of one layer that wait to be counted."""

    ids: list[list[int]] = field(default_factory=list)
    first: int = 0


@dataclass
class _Weights:
    """What the gate weights add up to."""

    rows: int = 0
    total: float = 0.0
    equal: int = 0
    descending: int = 0

    def add(self, weights: list[float]) -> None:
        self.rows += 1
        self.total += sum(weights)
        self.equal += len(weights) > 1 and min(weights) == max(weights)
        self.descending += all(a >= b for a, b in pairwise(weights))


class MoeRoutes:
    """The format's reader."""

    name = "moe_routes"
    label = "vLLM route log"
    options = ("warm_up", "split", "tokens_per_step")

    def matches(self, source: Source) -> bool:
        return b'"topk_ids"' in source.head and b'"topk_experts"' not in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        meta, tallies, weights, top_k = self._count(source, options)
        for layer, tally in tallies.items():
            report_routes(tally, layer, top_k, source, report)
        _report_weights(weights, report)
        layers = sorted(tallies)
        known = {
            name: value for name in ("model_id", "vllm_version", "device")
            if isinstance(value := getattr(meta, name), str)
        }  # fmt: skip
        yield from tally_runs(
            [tallies[layer] for layer in layers], layers, top_k, options, report, known, phase="serving"
        )

    def _count(self, source: Source, options: Options) -> tuple[Meta, dict[int, LayerTally], _Weights, int]:
        meta, num_experts, top_k = Meta(type=""), 0, 0
        tallies: dict[int, LayerTally] = {}
        waiting: dict[int, _Rows] = {}
        weights = _Weights()
        route = msgspec.json.Decoder(Route)
        row = 0
        for number, line in source.lines():
            place = f"line {number}"
            if row == 0 and b'"meta"' in line[:200]:
                meta = _decoded(line, msgspec.json.Decoder(Meta), source, place)
                continue
            found = _decoded(line, route, source, place)
            if found.type != "route":
                continue
            if row == 0:
                stated = None if meta.top_k is None else checked_size(meta.top_k, "top_k", source, "meta")
                top_k = options.top_k(stated) or len(found.topk_ids)
                in_file = meta.num_experts
                stated = None if in_file is None else checked_size(in_file, "num_experts", source, "meta")
                num_experts = options.num_experts(stated)
            if len(found.topk_ids) != top_k or not 0 <= found.layer < MAX_LAYERS:
                rule = f"must have {top_k} topk_ids and a layer from 0 to {MAX_LAYERS - 1}"
                raise source.problem(place, rule)
            _check_ids(found.topk_ids, num_experts, source, place)
            if found.layer not in tallies:
                zeros(len(tallies) + 1, num_experts)
                tallies[found.layer] = make_tally(options, num_experts)
            rows = waiting.setdefault(found.layer, _Rows())
            rows.first = rows.first if rows.ids else tallies[found.layer].rows
            rows.ids.append(found.topk_ids)
            weights.add(found.topk_weights)
            if len(rows.ids) >= CHUNK:
                _add(tallies[found.layer], rows, num_experts, source, place)
            row += 1
        for layer, rows in waiting.items():
            _add(tallies[layer], rows, num_experts, source, "the last lines")
            tallies[layer].finish()
        if row == 0:
            raise source.problem("", "holds no line of type route")
        return meta, tallies, weights, top_k


def make_tally(options: Options, num_experts: int) -> LayerTally:
    """A tally that follows the options `warm_up`, `split` and `tokens_per_step`."""
    return LayerTally(
        num_experts,
        window=options.whole("tokens_per_step", least=1),
        keep_warm_up=options.choice("warm_up", ("leave_out", "keep")) == "keep",
        split_at_blocks=options.choice("split", ("no", "starts")) == "starts",
    )


def tally_runs(
    tallies: list[LayerTally],
    layers: list[int],
    top_k: int,
    options: Options,
    report: Report,
    known: dict[str, Any],
    phase: str,
) -> Iterator[ForeignRun]:
    """One run of finished tallies; one per engine start with `split=starts`."""
    num_experts = tallies[0].num_experts
    count = max(len(tally.windows) for tally in tallies)
    empty = np.zeros(num_experts, dtype=np.int64)
    steps = [
        np.stack([tally.windows[n] if n < len(tally.windows) else empty for tally in tallies])
        for n in range(count)
    ]
    is_split = tallies[0].split_at_blocks
    if not is_split and count == 1:
        report.note(
            "one_step",
            "A route log has no optimizer steps: all tokens are step 0; --option tokens_per_step=512 cuts it "
            "into steps.",
        )
    groups = [[step] for step in steps] if is_split else [steps]
    for number, group in enumerate(groups):
        own = Report()
        own.entries = list(report.entries)
        yield ForeignRun(
            steps=[LoadStep(step=n, tokens_LE=tokens) for n, tokens in enumerate(group)],
            layers=model_layers(options, layers),
            num_experts=num_experts,
            top_k=top_k,
            report=own,
            part=f"start{number + 1}" if len(groups) > 1 else "",
            phase=phase,
            known=known,
        )


def _check_ids(ids: list[int], num_experts: int, source: Source, place: str) -> None:
    if max(ids, default=0) >= num_experts or min(ids, default=0) < LEAST_ID:
        rule = f"names expert {max(ids)}, which must be below num_experts ({num_experts})"
        raise source.problem(place, rule, "correct --option num_experts or check the file")


def _add(tally: LayerTally, rows: _Rows, num_experts: int, source: Source, place: str) -> None:
    try:
        tally.add(id_array(np.asarray(rows.ids, dtype=np.int64), num_experts, source, place), rows.first)
    except ValueError as error:
        raise source.problem(place, f"{shortened(str(error))}", "give a larger tokens_per_step") from error
    rows.ids = []


def _decoded(line: bytes, decoder: "msgspec.json.Decoder[Any]", source: Source, place: str) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise source.problem(place, f"is no line of a route log ({shortened(str(error))})") from error


def _report_weights(weights: _Weights, report: Report) -> None:
    if not weights.total:
        return
    report.note(
        "gate_weights",
        f"The gate weights of a row add up to {weights.total / weights.rows:.3g} on average; "
        f"{counted(weights.rows - weights.descending, 'row')} are not in descending order.",
        mean_sum=weights.total / weights.rows,
        rows=weights.rows,
    )
    if weights.equal:
        report.warning(
            "constant_logits",
            f"{counted(weights.equal, 'row')} have equal gate weights in every slot: the "
            "logits were constant, so ties decided the route.",
            rows=weights.equal,
        )


FORMATS = (MoeRoutes(),)
