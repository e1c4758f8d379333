"""Fingerprints of GPT-OSS (AmanPriyanshu/GPT-OSS-MoE-ExpertFingerprinting): per layer and expert, its
selections per token, separately for reasoning and answer tokens. Experts without a token are absent keys.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from explorer.importers.arrays import expert_row, layer_number
from explorer.importers.long_table import GATE_SHARES, SHARE_UNIT
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros

PARTS = {"think_expert_analytics": "reasoning", "answer_expert_analytics": "answer"}
TOLERANCE = 0.005


class Fingerprint:
    """One JSON file: two runs, of the reasoning and of the answer tokens."""

    name = "gpt_oss_fingerprint"
    label = "GPT-OSS expert fingerprint"
    options = ("values",)

    def matches(self, source: Source) -> bool:
        return b'_expert_analytics"' in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        document = source.document()
        if not isinstance(document, Mapping) or not any(key in document for key in PARTS):
            raise source.problem("", f"must have {' or '.join(PARTS)}")
        options.num_experts()
        for key, part in PARTS.items():
            if key in document:
                yield self._run(document, key, part, source, options)

    def _run(
        self, document: Mapping[str, Any], key: str, part: str, source: Source, options: Options
    ) -> ForeignRun:
        report = Report()
        value = options.choice("values", ("count_frequency", "prob_density"))
        experts = options.num_experts()
        table = document[key]
        if not isinstance(table, Mapping) or not table:
            raise source.problem(key, "must be an object of layers")
        by_layer = sorted((layer_number(name, source), row) for name, row in table.items())
        shares = zeros(len(by_layer), experts)
        absent, sums = 0, []
        for place, (layer, row) in enumerate(by_layer):
            where = f"{key}, layer {layer}"
            values, missing = expert_row(_values_of(row, value, source, where), experts, source, where)
            shares[place] = np.rint(values * SHARE_UNIT)
            absent += missing
            sums.append(float(values.sum()))
        top_k = options.top_k() or 4
        self._report(report, value, absent, shares.size, sums, top_k, "top_k" in options.values)
        details = {
            name: document[name]
            for name in ("sample_count", "num_think_tokens", "num_answer_tokens")
            if isinstance(document.get(name), int | float)
        }
        return ForeignRun(
            steps=[LoadStep(step=0, tokens_LE=shares, num_tokens=SHARE_UNIT)],
            layers=model_layers(options, [layer for layer, _ in by_layer]),
            num_experts=experts,
            top_k=top_k,
            report=report,
            part=part,
            phase=part,
            unit=f"{'shares' if value == 'count_frequency' else GATE_SHARES} × {SHARE_UNIT:,}",
            details=details,
        )

    def _report(
        self,
        report: Report,
        value: str,
        absent: int,
        cells: int,
        sums: list[float],
        top_k: int,
        is_given: bool,
    ) -> None:
        if not is_given:
            report.assumption("top_k", f"K = {top_k}, as GPT-OSS has it.", top_k=top_k)
        report.assumption(
            "shares",
            f"{value} is a share of tokens: stored times {SHARE_UNIT:,}, rounded, as if of {SHARE_UNIT:,} "
            "tokens. They are never to be added to counts.",
        )
        if absent:
            report.assumption(
                "absent_keys",
                f"{absent:,} of {cells:,} experts are absent keys: they count as 0 tokens.",
                cells=absent,
            )
        expected = top_k if value == "count_frequency" else 1
        if abs(min(sums) - expected) > TOLERANCE or abs(max(sums) - expected) > TOLERANCE:
            ends = dict.fromkeys(f"{end:.2f}" for end in (min(sums), max(sums)))
            report.warning(
                "sum_of_frequencies",
                f"The frequencies of a layer add up to {' to '.join(ends)} instead of "
                f"{expected}: some assignments are missing in the file. They are kept as they are; MaxVio "
                "does not depend on the sum.",
                least=min(sums),
                most=max(sums),
                expected=expected,
            )


def _values_of(row: Any, value: str, source: Source, place: str) -> dict[str, Any]:
    """{expert: value} of one of the values stored per expert."""
    if not isinstance(row, Mapping) or not all(isinstance(v, Mapping) and value in v for v in row.values()):
        raise source.problem(place, f"must be an object of experts with {value}")
    return {expert: numbers[value] for expert, numbers in row.items()}


FORMATS = (Fingerprint(),)
