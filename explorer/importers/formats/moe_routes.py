"""`moe_routes.jsonl`: a log of routes written by several patches of vLLM, one JSON object per line.

`{"type": "meta", "model_id", "vllm_version", "layers_logged", "top_k", ["num_experts"]}` (again at each start
of an engine that appends to the file), then
`{"type": "route", "req_id", "token_idx", "layer", "topk_ids", "topk_weights"}`. `req_id` is often one
constant and `token_idx` restarts with every forward pass: neither is a request or a position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.arrays import checked_size
from explorer.importers.kept_routes import KEPT_OPTIONS, LayerSample, common_spans, keep_routes, most_tokens
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.routes import LayerTally, report_routes
from explorer.importers.source import Source
from explorer.importers.token_names import TokenLog
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.recording.folder_schema import MAX_LAYERS
from explorer.wording import counted

ROUTE_OPTIONS = ("warm_up", "split", "tokens_per_step", *KEPT_OPTIONS)
"""Options of every format of routes that is counted by tallies."""
CHUNK = 4096
"""Number of lines decoded and counted together."""


class Meta(msgspec.Struct):
    """The first line of an engine."""

    type: str
    top_k: Any = None
    num_experts: Any = None
    model_id: Any = None
    vllm_version: Any = None
    device: Any = None


class Route(msgspec.Struct):
    """Every other line; unknown fields are ignored."""

    topk_ids: list[int]
    layer: int = 0
    topk_weights: list[float] = msgspec.field(default_factory=list)
    type: str = "route"


@dataclass
class _Weights:
    """Sums of the gate weights."""

    rows: int = 0
    total: float = 0.0
    equal: int = 0
    descending: int = 0

    def add(self, weights_TK: NDArray[np.float64]) -> None:
        """Add the weights of some rows."""
        self.rows += len(weights_TK)
        self.total += float(weights_TK.sum())
        if weights_TK.shape[1] > 1:
            self.equal += int((weights_TK.max(axis=1) == weights_TK.min(axis=1)).sum())
        self.descending += int((np.diff(weights_TK, axis=1) <= 0).all(axis=1).sum())


@dataclass
class _Log:
    """State of reading a log."""

    meta: Meta = field(default_factory=lambda: Meta(type=""))
    tallies: dict[int, LayerTally] = field(default_factory=dict)
    weights: _Weights = field(default_factory=_Weights)
    num_experts: int = 0
    top_k: int = 0


META, ROUTE = msgspec.json.Decoder(Meta), msgspec.json.Decoder(Route)


class MoeRoutes:
    """The reader of the format."""

    name = "moe_routes"
    label = "vLLM route log"
    options = ROUTE_OPTIONS

    def matches(self, source: Source) -> bool:
        return b'"topk_ids"' in source.head and b'"topk_experts"' not in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        log = self._count(source, options)
        for layer, tally in log.tallies.items():
            report_routes(tally, layer, log.top_k, source, report)
        _report_weights(log.weights, report)
        layers = sorted(log.tallies)
        values = {name: getattr(log.meta, name) for name in ("model_id", "vllm_version", "device")}
        details = {name: value for name, value in values.items() if isinstance(value, str)}
        tallies = [log.tallies[layer] for layer in layers]
        yield from tally_runs(tallies, layers, log.top_k, options, report, details, phase="serving")

    def _count(self, source: Source, options: Options) -> _Log:
        log = _Log()
        lines: list[tuple[int, bytes]] = []
        for number, line in source.lines():
            if b'"meta"' in line[:200] and _is_meta(line, log, source, f"line {number}"):
                continue
            lines.append((number, line))
            if len(lines) >= CHUNK:
                _add(lines, log, source, options)
                lines = []
        _add(lines, log, source, options)
        if not log.tallies:
            raise source.problem("", "holds no line of type route")
        for tally in log.tallies.values():
            tally.finish()
        return log


def _is_meta(line: bytes, log: _Log, source: Source, place: str) -> bool:
    """Whether a line describes the routes after it; every start of an engine writes one. The first counts."""
    meta: Meta = _decoded(line, META, source, place)
    if meta.type != "meta":
        return False
    if not log.meta.type:
        log.meta = meta
    elif (meta.model_id, meta.top_k) != (log.meta.model_id, log.meta.top_k):
        rule = f"starts routes of a different model ({meta.model_id}, top_k {meta.top_k})"
        raise source.problem(place, rule, "split the file at this line")
    return True


def make_tally(options: Options, num_experts: int, splits: Sequence[str] = ("no", "starts")) -> LayerTally:
    """A tally that follows the options ROUTE_OPTIONS. Runs of a part of the file keep no routes.

    splits: what the option `split` can be for the format.
    """
    split = options.choice("split", splits)
    return LayerTally(
        num_experts,
        window=options.integer("tokens_per_step", least=1),
        keep_warm_up=options.choice("warm_up", ("leave_out", "keep")) == "keep",
        split_at_blocks=split == "starts",
        sample=LayerSample(0 if split != "no" else most_tokens(options)),
    )


def tally_runs(
    tallies: list[LayerTally],
    layers: list[int],
    top_k: int,
    options: Options,
    report: Report,
    details: dict[str, Any],
    phase: str,
    log: TokenLog | None = None,
) -> Iterator[ForeignRun]:
    """One run of finished tallies; one per engine start with `split=starts`. log: the sequences of the rows,
    in every layer alike."""
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
    rows = max(tally.rows for tally in tallies)
    spans = common_spans([tally.left_out for tally in tallies])
    routes = keep_routes([t.sample for t in tallies], log or TokenLog(), rows, spans, top_k, options, report)
    groups = [[step] for step in steps] if is_split else [steps]
    for number, group in enumerate(groups):
        own = Report()
        own.entries = list(report.entries)
        yield ForeignRun(
            steps=[
                LoadStep(step=n, tokens_LE=tokens, routes=None if n else routes)
                for n, tokens in enumerate(group)
            ],
            layers=model_layers(options, layers),
            num_experts=num_experts,
            top_k=top_k,
            report=own,
            part=f"start{number + 1}" if len(groups) > 1 else "",
            phase=phase,
            details=details,
        )


def _add(lines: list[tuple[int, bytes]], log: _Log, source: Source, options: Options) -> None:
    """Count some lines, decoded together; if one is invalid, they are decoded one by one to find its
    number."""
    try:
        routes = ROUTE.decode_lines(b"\n".join(line for _, line in lines))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        routes = [_decoded(line, ROUTE, source, f"line {number}") for number, line in lines]
    numbered = [(number, one) for (number, _), one in zip(lines, routes, strict=True) if one.type == "route"]
    if not numbered:
        return
    if not log.top_k:
        _open(log, numbered[0][1], source, options)
    for number, one in numbered:
        if len(one.topk_ids) != log.top_k or not 0 <= one.layer < MAX_LAYERS:
            rule = f"must have {log.top_k} topk_ids and a layer from 0 to {MAX_LAYERS - 1}"
            raise source.problem(f"line {number}", rule)
    weights = [one.topk_weights for _, one in numbered if len(one.topk_weights) == log.top_k]
    if weights:
        log.weights.add(np.asarray(weights, dtype=np.float64))
    try:
        ids_TK = np.asarray([one.topk_ids for _, one in numbered], dtype=np.int64)
    except OverflowError:
        ids_TK = np.asarray([[min(i, log.num_experts) for i in one.topk_ids] for _, one in numbered])
    wrong = np.flatnonzero(ids_TK.max(axis=1) >= log.num_experts)
    if len(wrong):
        number, one = numbered[int(wrong[0])]
        rule = f"names expert {max(one.topk_ids)}, which must be below num_experts ({log.num_experts})"
        raise source.problem(f"line {number}", rule, "correct --option num_experts or check the file")
    layer_T = np.asarray([one.layer for _, one in numbered])
    for layer in np.unique(layer_T).tolist():
        if layer not in log.tallies:
            zeros(len(log.tallies) + 1, log.num_experts)
            log.tallies[layer] = make_tally(options, log.num_experts)
        log.tallies[layer].add(ids_TK[layer_T == layer])


def _open(log: _Log, first: Route, source: Source, options: Options) -> None:
    """K and E, from the line of sizes or the options."""
    k, experts = log.meta.top_k, log.meta.num_experts
    stated = None if k is None else checked_size(k, "top_k", source, "meta")
    log.top_k = options.top_k(stated) or max(1, len(first.topk_ids))
    stated = None if experts is None else checked_size(experts, "num_experts", source, "meta")
    log.num_experts = options.num_experts(stated)


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
