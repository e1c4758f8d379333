"""Files of OLMoE's routing analysis (allenai/OLMoE, `scripts/routing_output`).

`expert_counts/{domain}.pkl`: a list of Counters {expert: count}, one each for the layers 0, 7 and 15; read by
`explorer.importers.pickles`, never unpickled. `c4_results.jsonl`: `exp_ids` [tokens][slots][layers] and
`input_ids` [tokens] per line.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from explorer.importers.arrays import id_array, number_array
from explorer.importers.formats.moe_routes import ROUTE_OPTIONS, make_tally, tally_runs
from explorer.importers.options import Options
from explorer.importers.pickles import read_counters
from explorer.importers.report import Report
from explorer.importers.routes import LayerTally, report_routes
from explorer.importers.source import Source
from explorer.importers.token_names import TokenLog, token_id_list
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.wording import counted, listed

LAYERS = (0, 7, 15)


class OlmoeCounts:
    """Counters as a pickle."""

    name = "olmoe_counts"
    label = "OLMoE expert counts"
    options = ()

    def matches(self, source: Source) -> bool:
        return re.match(rb"\x80[\x02-\x05]", source.head) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        counters = read_counters(source)
        experts = options.num_experts()
        if not isinstance(counters, list) or not counters or not all(isinstance(c, dict) for c in counters):
            raise source.problem("", "must hold a list of counters, one per layer")
        report = Report()
        tokens = zeros(len(counters), experts)
        absent = 0
        for place, counter in enumerate(counters):
            for expert, count in counter.items():
                self._check(expert, count, experts, source, place)
                tokens[place, expert] = count
            absent += experts - len(counter)
        if absent:
            report.assumption(
                "absent_keys",
                f"{absent:,} of {tokens.size:,} experts are absent keys: they count as 0 tokens.",
                cells=absent,
            )
        in_file = LAYERS if len(counters) == len(LAYERS) else tuple(range(len(counters)))
        report.assumption(
            "layers",
            f"The {counted(len(counters), 'counter')} are taken as those of the layers {listed(in_file)}.",
        )
        yield ForeignRun(
            steps=[LoadStep(step=0, tokens_LE=tokens)],
            layers=model_layers(options, in_file),
            num_experts=experts,
            top_k=options.top_k(),
            report=report,
            phase="evaluation",
        )

    def _check(self, expert: Any, count: Any, experts: int, source: Source, place: int) -> None:
        if not isinstance(expert, int) or not 0 <= expert < experts:
            rule = f"names expert {expert!r}, which must be below num_experts ({experts})"
            raise source.problem(f"counter {place}", rule, "correct --option num_experts")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 2**48:
            raise source.problem(f"counter {place}, expert {expert}", "must be a count from 0 to 2^48")


class OlmoeRoutes:
    """`c4_results.jsonl`: routes of whole texts."""

    name = "olmoe_routes"
    label = "OLMoE routes"
    options = ROUTE_OPTIONS

    def matches(self, source: Source) -> bool:
        return b'"exp_ids"' in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        experts = options.num_experts()
        tallies: list[LayerTally] = []
        log = TokenLog()
        top_k = 0
        for number, line in source.lines():
            place = f"line {number}, exp_ids"
            record = source.decoded(line, place)
            value = record.get("exp_ids") if isinstance(record, dict) else None
            ids = id_array(number_array(value, 3, source, place), experts, source, place)
            if not tallies:
                top_k = options.top_k(ids.shape[1]) or 1
                zeros(ids.shape[2], experts)
                tallies = [make_tally(options, experts) for _ in range(ids.shape[2])]
            if ids.shape[1:] != (top_k, len(tallies)):
                rule = f"has the shape {ids.shape}, which must be [tokens, {top_k}, {len(tallies)}]"
                raise source.problem(place, rule)
            log.add(len(ids), token_id_list(record.get("input_ids")))
            for layer, tally in enumerate(tallies):
                tally.add(np.ascontiguousarray(ids[:, :, layer]))
        for layer, tally in enumerate(tallies):
            tally.finish()
            report_routes(tally, layer, top_k, source, report)
        if not tallies:
            raise source.problem("", "holds no line")
        layers = list(range(len(tallies)))
        yield from tally_runs(tallies, layers, top_k, options, report, {}, "evaluation", log)


FORMATS = (OlmoeCounts(), OlmoeRoutes())
