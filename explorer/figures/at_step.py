"""One step of a run in sentences: loads, biases and loss."""

import math

import polars as pl

from explorer.charts import captions
from explorer.figures.arms import Run
from explorer.figures.store import Store, Trace
from explorer.queries import loads as load_queries
from explorer.queries import steps as queries
from explorer.wording import counted, signed


def sentences(store: Store, run: Run, layer: int, step: int) -> list[str]:
    """What is recorded at or before a step: the busiest expert, the biases (if any) and the loss."""
    trace = Trace(store)
    loads = trace.ask(load_queries.loads_at, run, layer, step)
    return [captions.load_bars(loads), *_biases(loads), _loss(trace, run, step)]


def _biases(loads: pl.DataFrame) -> list[str]:
    """The highest and the lowest bias; nothing without a bias rule. loads: columns of `queries.loads_at`."""
    biased = loads.drop_nulls("expert_bias")
    if biased.is_empty():
        return []
    at = f"At step {loads['step'][0]}"
    is_finite = pl.col("expert_bias").is_finite()
    odd = captions.experts(biased.filter(~is_finite)["expert"].sort().to_list())
    ranked = biased.filter(is_finite).sort("expert_bias")
    tail = f" Not finite (NaN or infinite): the bias of {odd}." if odd else ""
    if ranked.is_empty():
        return [f"{at} no bias is finite."]
    low, high = ranked.row(0, named=True), ranked.row(-1, named=True)
    if low["expert_bias"] == high["expert_bias"]:
        which = "all other biases" if odd else "all biases"
        return [f"{at} {which} are equal{'.' if odd else ': no update has moved them yet.'}{tail}"]
    return [
        f"{at}, expert {high['expert']} has the highest bias ({signed(high['expert_bias'], 3)}) and "
        f"expert {low['expert']} the lowest ({signed(low['expert_bias'], 3)}).{tail}"
    ]


def _loss(trace: Trace, run: Run, step: int) -> str:
    """The language loss of the step, or of the last recorded one before it."""
    row = trace.ask(queries.step_row, run, step)
    if row.is_empty():
        nearest = trace.ask(queries.nearest_step, run, step)
        row = row if nearest is None else trace.ask(queries.step_row, run, nearest)
    if row.is_empty() or row["lm_loss"][0] is None:
        return f"No loss was recorded for step {step}."
    loss, tokens, at = float(row["lm_loss"][0]), int(row["tokens_seen"][0]), int(row["step"][0])
    if not math.isfinite(loss):
        return f"At step {at}, after {counted(tokens, 'token')}, the language loss is not finite ({loss})."
    return f"At step {at}, after {counted(tokens, 'token')}, the language loss is {loss:.2f} nats per token."
