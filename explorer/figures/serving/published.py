"""DeepSeek-R1 in serving: MaxVio against input length, from SGLang's published expert statistics.

Drawn from the files where they have been imported, else from the means that follow from them.
"""

import json
import re
from collections.abc import Iterable

import numpy as np
import polars as pl

from explorer import metrics
from explorer.charts import serving as charts
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.serving.windows import windows
from explorer.figures.store import Store, Trace

MEANS = {512: 5.11, 1024: 5.53, 4096: 7.12}
"""Input tokens -> MaxVio, mean of 58 MoE layers of 256 experts, prefill.

From `attachment_ep_statistics/prefill_in*.json` of GeneratedRandomly/SGLang-reproduce at c79682c, published
with sgl-project/sglang#6017; every layer has 67,108,864 assignments.
"""
SOURCE = (
    "Expert statistics published with sgl-project/sglang#6017; 67,108,864 assignments per layer and length."
)
_PREFILL = re.compile(r"prefill_in(\d+)\.json$")
_SIZES = (58, 256)


def imported(runs: Iterable[Run]) -> list[Run]:
    """Those of the runs that are the published prefill files, by the length of their input."""
    by_length = {length: run for run in runs if (length := _input_tokens(run)) in MEANS}
    return [by_length[length] for length in sorted(by_length)] if set(by_length) == set(MEANS) else []


def _input_tokens(run: Run) -> int:
    """Input tokens of a prefill file of DeepSeek-R1; 0 for any other run."""
    if not run.has_loads or (run.num_moe_layers, run.num_experts) != _SIZES:
        return 0
    try:
        name = _PREFILL.search(str(json.loads(run.config)["import"]["file"]))
    except (ValueError, KeyError, TypeError):
        return 0
    return int(name[1]) if name else 0


def by_input_length(store: Store, arms: ArmSet, _settings: object) -> Panel:
    """MaxVio of every layer and their mean; the published means without arms. arms: of `imported`."""
    trace = Trace(store)
    rows = []
    for arm in arms:
        counts = next(iter(windows(trace, arm.first, 1).values())).counts
        for layer, value in zip(arm.first.layers, metrics.max_vio(counts).tolist(), strict=True):
            rows.append({"input_tokens": _input_tokens(arm.first), "layer": layer, "max_vio": value})
    by_layer = pl.DataFrame(rows, schema={"input_tokens": pl.Int64, "layer": pl.Int64, "max_vio": pl.Float64})
    means = {length: float(np.mean(part)) for length, part in _parts(by_layer).items()} or MEANS
    table = pl.DataFrame({"input_tokens": list(means), "max_vio": list(means.values())})
    values = ", ".join(f"{value:.2f} at {length:,}" for length, value in means.items())
    how = "Bold: mean of 58 MoE layers; faint: each layer, where the files have been imported. "
    return Panel(
        subject="MaxVio of DeepSeek-R1 in serving, by input length",
        finding=f"DeepSeek-R1 in prefill: mean MaxVio {values} input tokens.",
        how=how + SOURCE,
        spec=specs.make(charts.input_lengths(table, by_layer)),
        table=table if by_layer.is_empty() else by_layer,
        statements=trace.statements,
    )


def _parts(by_layer: pl.DataFrame) -> dict[int, list[float]]:
    return {
        length: by_layer.filter(input_tokens=length)["max_vio"].to_list()
        for length in by_layer["input_tokens"].unique().sort().to_list()
    }
