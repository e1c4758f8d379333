"""Expert scores of ESFT (deepseek-ai/ESFT, `results/expert_scores`): routes of one layer as text, and the
summary.

`expert_weights_{layer}.txt`: one line per sequence: T·K expert ids, an empty field, T·K gate weights,
separated by tabs. Slots are not always in order of preference. `summary.json`: `token_scores` and
`gate_scores`, shares per layer and expert.
"""

import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.arrays import expert_row, id_array, layer_number
from explorer.importers.formats.moe_routes import ROUTE_OPTIONS, make_tally, tally_runs
from explorer.importers.long_table import GATE_SHARES
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.routes import Ids, report_routes
from explorer.importers.source import Source
from explorer.importers.token_names import TokenLog
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.wording import counted

LINE = re.compile(rb"\d{1,7}(\t\d{1,7})+\t\t[\d.eE+-]+\t")
Weights = NDArray[np.float64]
LAYER = re.compile(r"expert_weights_(\d{1,5})")
SUMMARY_UNIT = 10_000
"""The summary has four decimals."""


class EsftRoutes:
    """`expert_weights_{layer}.txt`."""

    name = "esft"
    label = "ESFT expert weights"
    options = (*ROUTE_OPTIONS, "layer")

    def matches(self, source: Source) -> bool:
        line = source.head.split(b"\n", 1)[0]
        return LINE.match(line) is not None or re.fullmatch(rb"\d{1,7}(\t\d{1,7})+", line[:2000]) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        layer = self._layer(source, options, report)
        num_experts = options.num_experts()
        zeros(1, num_experts)
        top_k = options.top_k() or self._inferred_top_k(source, report)
        tally = make_tally(options, num_experts)
        sequences = ascending = 0
        log = TokenLog()
        for ids, weights in _rows(source, num_experts, top_k):
            if weights is not None:
                ascending += int((np.diff(weights, axis=1) > 0).any(axis=1).sum())
            log.add(len(ids))
            tally.add(ids, tally.rows)
            sequences += 1
        tally.finish()
        report_routes(tally, layer, top_k, source, report)
        report.note(
            "sequences",
            f"{counted(sequences, 'line')}, one per sequence, with {tally.rows * top_k:,} expert ids: "
            f"{tally.rows:,} tokens of {top_k}; {ascending:,} of them do not list their experts in order of "
            "their weights.",
            sequences=sequences,
            tokens=tally.rows,
            unordered_rows=ascending,
        )
        yield from tally_runs([tally], [layer], top_k, options, report, {}, "prefill", log)

    def _layer(self, source: Source, options: Options, report: Report) -> int:
        layer = options.integer("layer", most=9999)
        if layer is not None:
            return layer
        match = LAYER.search(source.name)
        if match is None:
            report.assumption("layer", "Neither the file nor its name says which layer this is: 0.")
            return 0
        report.assumption("layer", f"Layer {int(match[1])}, by the name of the file.", layer=int(match[1]))
        return int(match[1])

    def _inferred_top_k(self, source: Source, report: Report) -> int:
        """The largest K that divides every line and gives no token an expert twice."""
        common, lines = 0, []
        for number, line in source.lines():
            ids = _ids(line, source, number)
            common = math.gcd(common, len(ids))
            lines.append(ids)
            if len(lines) == 64:
                break
        for k in range(min(common, 64), 0, -1):
            if common % k:
                continue
            rows = [np.sort(ids.reshape(-1, k), axis=1) for ids in lines]
            if all((row[:, 1:] != row[:, :-1]).all() for row in rows):
                report.assumption(
                    "top_k",
                    f"The file does not say how many experts a token takes: K = {k} is the largest number "
                    "that divides every line and gives no token an expert twice (--option top_k=… "
                    "overrides it).",
                    top_k=k,
                )
                return k
        return 1


class EsftSummary:
    """`summary.json`."""

    name = "esft_summary"
    label = "ESFT summary of expert scores"
    options = ("scores",)

    def matches(self, source: Source) -> bool:
        return re.match(rb'\s*\{\s*"(token|gate)_scores"\s*:\s*\{', source.head) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        kind = options.choice("scores", ("token_scores", "gate_scores"))
        document = source.document()
        table = document.get(kind) if isinstance(document, dict) else None
        if not isinstance(table, dict) or not table:
            raise source.problem(kind, "must be an object of layers")
        report = Report()
        experts = options.num_experts()
        by_layer = sorted((layer_number(key, source), row) for key, row in table.items())
        shares = zeros(len(by_layer), experts)
        for place, (layer, row) in enumerate(by_layer):
            values, _ = expert_row(row, experts, source, f"{kind}, layer {layer}")
            shares[place] = np.rint(values * SUMMARY_UNIT)
        report.assumption(
            "shares",
            f"{kind} are shares with four digits: stored times {SUMMARY_UNIT:,}. They are never to be added "
            "to counts.",
        )
        in_file = [layer for layer, _ in by_layer]
        yield ForeignRun(
            steps=[LoadStep(step=0, tokens_LE=shares)],
            layers=model_layers(options, in_file),
            num_experts=experts,
            top_k=options.top_k(),
            report=report,
            phase="prefill",
            unit=f"{'shares' if kind == 'token_scores' else GATE_SHARES} × {SUMMARY_UNIT:,}",
        )


def _rows(source: Source, num_experts: int, top_k: int) -> Iterator[tuple[Ids, Weights | None]]:
    """(ids [T, K], weights [T, K] or None) per line."""
    for number, line in source.lines():
        place = f"line {number}"
        ids = _ids(line, source, number)
        if len(ids) % top_k:
            rule = f"has {len(ids)} ids, which must be a multiple of top_k ({top_k})"
            raise source.problem(place, rule, "correct --option top_k")
        weights = _weights(line, len(ids), source, place)
        checked = id_array(ids, num_experts, source, place).reshape(-1, top_k)
        yield checked, None if weights is None else weights.reshape(-1, top_k)


def _ids(line: bytes, source: Source, number: int) -> Ids:
    head = line.split(b"\t\t", 1)[0].strip(b"\t")
    try:
        return np.array(head.split(b"\t"), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        rule = f"must begin with expert ids, separated by tabs ({shortened(str(error))})"
        raise source.problem(f"line {number}", rule) from error


def _weights(line: bytes, count: int, source: Source, place: str) -> Weights | None:
    _, gap, tail = line.partition(b"\t\t")
    if not gap:
        return None
    try:
        weights = np.array(tail.strip(b"\t").split(b"\t"), dtype=np.float64)
    except ValueError as error:
        raise source.problem(place, f"must end with gate weights ({shortened(str(error))})") from error
    if len(weights) != count:
        raise source.problem(place, f"has {count} ids and {len(weights)} weights: must be as many of both")
    return weights


FORMATS = (EsftRoutes(), EsftSummary())
