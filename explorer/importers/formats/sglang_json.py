"""SGLang's expert statistics as JSON: `{"logical_count": [L][E] or [N][L][E]}`, counts per layer and expert.

Every layer of the model has a row, dense ones a row of zeros. The recorder's own `.pt` files are read by
`sglang_recorder`.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from explorer.importers.arrays import count_array, number_array
from explorer.importers.load_checks import live_layers
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import Counts, ForeignRun, LoadStep, model_layers

PHASES = ("prefill", "decode")


class SglangJson:
    """The JSON form that SGLang publishes and loads."""

    name = "sglang"
    label = "SGLang expert statistics"
    options = ()

    def matches(self, source: Source) -> bool:
        return re.match(rb'\s*\{\s*"logical_count"\s*:', source.head) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        document = source.document()
        if not isinstance(document, Mapping) or "logical_count" not in document:
            raise source.problem("", 'must be an object with "logical_count"')
        value = document["logical_count"]
        is_series = _depth(value) == 3
        array = number_array(value, 3 if is_series else 2, source, "logical_count")
        counts = count_array(array, source, "logical_count")
        yield from snapshot_runs(counts if is_series else counts[None], source, options)


def snapshot_runs(counts_NLE: Counts, source: Source, options: Options) -> Iterator[ForeignRun]:
    """Counts [N passes, L layers of the model, E] as one run; passes without any count are left out."""
    report = Report()
    experts = options.num_experts(counts_NLE.shape[2])
    total_L = counts_NLE.sum(axis=(0, 2))
    in_file = range(counts_NLE.shape[1])
    live = live_layers(total_L, in_file, source, report)
    passes = np.flatnonzero(counts_NLE.any(axis=(1, 2)))
    if len(passes) < len(counts_NLE):
        empty = len(counts_NLE) - len(passes)
        report.left_out(
            "empty_passes", f"{empty:,} of {len(counts_NLE):,} forward passes without a count.", passes=empty
        )
    if len(counts_NLE) > 1:
        report.assumption(
            "order_of_passes",
            "The order of the file is taken as the order of time. A full ring buffer of the recorder starts "
            "anywhere, so steps may be rotated.",
            passes=len(passes),
        )
    else:
        report.note("one_snapshot", "One snapshot: the run has the single step 0.")
    yield ForeignRun(
        steps=(LoadStep(step=step, tokens_LE=counts_NLE[n][live]) for step, n in enumerate(passes.tolist())),
        layers=model_layers(options, in_file, live),
        num_experts=experts,
        top_k=options.top_k(),
        report=report,
        phase=_phase(source.name),
    )


def _depth(value: object) -> int:
    """Nesting depth of the first items of lists."""
    depth = 0
    while isinstance(value, list) and value and depth < 4:
        value, depth = value[0], depth + 1
    return depth


def _phase(name: str) -> str:
    phases = [phase for phase in PHASES if phase in name.lower()]
    return phases[0] if len(phases) == 1 else "serving"


FORMATS = (SglangJson(),)
