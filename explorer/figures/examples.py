"""The imbalance metrics of one set of counts: typed, of a known shape, or the last step of a run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer import metrics
from explorer.charts import definitions, loads
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.metrics.catalogue import OF_LOADS, Metric
from explorer.metrics.examples import SHAPES, parse_counts
from explorer.metrics.examples import example as example_counts
from explorer.queries import health
from explorer.wording import counted

MOST_BARS = 4
"""Bar charts of one example, at most."""
BARS_HOW = "The dashed line at 1 marks the uniform load."
SEVERITY_HOW = "Left: perfect balance. Right: the worst case for these counts."

Array = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Token counts of any shape, as a value that can be part of a key."""

    shape: tuple[int, ...]
    data: bytes
    """int64, row by row."""

    @classmethod
    def of(cls, array: Array) -> "Counts":
        """The counts of an array."""
        return cls(array.shape, np.ascontiguousarray(array, dtype=np.int64).tobytes())

    @property
    def array(self) -> Array:
        """The counts as an array of `shape`, read-only."""
        return np.frombuffer(self.data, dtype=np.int64).reshape(self.shape)


@dataclass(frozen=True, kw_only=True)
class Example:
    """The counts that the metrics are computed from."""

    counts: Counts
    """[R, L, E]: ranks, layers, experts."""
    top_k: int
    text: str
    """One or two sentences that describe the counts."""
    names: tuple[int, ...] | None = None
    """The numbers of the layers; None: from 0."""

    def layer_name(self, place: int) -> int:
        """The number of the layer at this place of the array."""
        return place if self.names is None else self.names[place]

    @property
    def layers(self) -> Array:
        """[L, E]: the counts of all ranks together."""
        return np.asarray(self.counts.array.sum(0))

    @property
    def num_experts(self) -> int:
        return self.counts.shape[-1]

    @property
    def tokens(self) -> float:
        """Tokens per layer, all ranks together; mean over layers."""
        return float(self.layers.sum(-1).mean()) / self.top_k

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """[L]: a metric of each layer."""
        return np.asarray(metric.function(self.layers), dtype=np.float64)


def example_of_shape(shape: str, num_experts: int, top_k: int, tokens: int) -> Example:
    """Counts of a known shape; raises ConfigError for an unknown one."""
    counts = example_counts(shape, num_experts, top_k, tokens)
    (text,) = (shape_option.text for shape_option in SHAPES if shape_option.key == shape)
    return Example(counts=Counts.of(counts), top_k=top_k, text=text)


def typed(text: str, top_k: int) -> Example:
    """Counts typed by a user, with a note if no top-K router can produce them; raises ConfigError."""
    counts = parse_counts(text)
    total, largest = int(counts.sum()), int(counts.max())
    note = f"{counted(counts.shape[-1], 'expert')} with {counted(total, 'assignment')}."
    if total % top_k:
        note += f" That is not a multiple of K = {top_k}: some tokens did not get all their experts."
    elif largest * top_k > total:
        note += (
            f" One expert has {largest:,}, more than the {total // top_k:,} tokens that K = {top_k} implies, "
            "so metrics lie beyond their worst case."
        )
    return Example(counts=Counts.of(counts), top_k=top_k, text=note)


def last_step(store: Store, run: Run) -> Example | None:
    """The counts of a run's last step; None where it has none yet.

    Of layers of different width, those that are as wide as the widest: metrics need one array.
    """
    frame = Trace(store).ask(health.counts_at, run, run.last_step)
    if frame.is_empty():
        return None
    width = pl.len().over("layer")
    frame = frame.filter(width == width.max())
    names = tuple(frame["layer"].unique(maintain_order=True).to_list())
    counts = frame["tokens"].to_numpy().reshape(1, len(names), -1)
    narrower = run.num_moe_layers - len(names)
    text = (
        f"Step {frame['step'][0]:,} of {run.label}: {counted(len(names), 'layer')} of "
        f"{counted(counts.shape[-1], 'expert')}, {counted(run.top_k, 'expert')} per token."
    )
    if narrower > 0:
        text += f" {counted(narrower, 'narrower layer')} {'are' if narrower > 1 else 'is'} left out."
    return Example(counts=Counts.of(counts), top_k=max(1, run.top_k), text=text, names=names)


@dataclass(frozen=True, kw_only=True)
class CountBars:
    """One bar chart of an example."""

    name: str
    counts: Counts
    """[E]"""
    height: int
    """Pixels."""


def bar_charts(example: Example) -> Iterator[CountBars]:
    """The ranks, or the one or two layers, or the most imbalanced of more layers."""
    ranks, layers, _ = example.counts.shape
    array = example.counts.array
    if ranks > 1:
        parts = [(f"Rank {rank}", array[rank, 0]) for rank in range(min(ranks, MOST_BARS))]
    elif layers == 1:
        parts = [("The counts", example.layers[0])]
    elif layers == 2:
        parts = [(f"Layer {example.layer_name(place)}", example.layers[place]) for place in range(layers)]
    else:
        worst, _ = metrics.worst_layer(example.layers)
        parts = [(f"Layer {example.layer_name(worst)}, the most imbalanced", example.layers[worst])]
    height = 240 if len(parts) == 1 else 150
    for name, counts in parts:
        yield CountBars(name=name, counts=Counts.of(counts), height=height)


def load_bars(_store: Store, _arms: ArmSet, settings: CountBars) -> Panel:
    """Load of every expert as bars."""
    counts = settings.counts.array
    total = int(counts.sum())
    frame = pl.DataFrame(
        {
            "expert": np.arange(len(counts)),
            "tokens": counts,
            "load_ratio": counts * len(counts) / total if total else np.full(len(counts), np.nan),
        }
    )
    return Panel(
        subject=f"Expert load: {settings.name}",
        finding=f"Counts: {', '.join(map(str, counts))}.",
        how=BARS_HOW,
        spec=specs.make(loads.load_bars(frame, height=settings.height)),
        table=frame,
    )


def severity(_store: Store, _arms: ArmSet, settings: Example) -> Panel:
    """Every metric between its value at balance and its worst case, means over layers."""
    table = pl.DataFrame(
        [(metric.title, *_position(settings, metric)) for metric in OF_LOADS],
        schema={"figure": pl.String, "position": pl.Float64, "value": pl.String},
        orient="row",
    )
    return Panel(
        subject="Imbalance according to each metric",
        finding="; ".join(f"{row[0]} {row[2]}" for row in table.rows()) + ".",
        how=SEVERITY_HOW,
        spec=specs.make(definitions.severity(table)),
        table=table,
    )


def _position(example: Example, metric: Metric) -> tuple[float | None, str]:
    """How far a metric lies from balance (0) to the worst case (1), and its value as text."""
    best, worst = ends(example, metric)
    value = float(example.values(metric).mean())
    if best == worst or math.isnan(value):
        return None, number(value)
    return (value - best) / (worst - best), number(value)


def ends(example: Example, metric: Metric) -> tuple[float, float]:
    """The values of a metric at balance and when all tokens take the same K experts."""
    assert metric.balance is not None
    assert metric.worst is not None
    sizes = example.num_experts, example.top_k
    return metric.balance(*sizes), metric.worst(*sizes)


def number(value: float | None) -> str:
    """A metric as text, four digits.

    >>> number(0.33333), number(12345.6), number(1e-6), number(None)
    ('0.3333', '12,346', '0', 'not determined by counts')
    """
    if value is None:
        return "not determined by counts"
    if math.isnan(value):
        return "NaN (0/0)"
    if abs(value) < 5e-5:
        return "0"
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"


def random_baseline(example: Example) -> str:
    """MaxVio of random routing with these sizes, as a sentence."""
    experts, tokens, layers = example.num_experts, round(example.tokens), len(example.layers)
    if example.top_k >= experts or tokens < 1:
        return "With K = N every token goes to all experts, so loads are always even."
    mean, high = metrics.uniform_reference(experts, example.top_k, tokens, layers)
    guide = metrics.uniform_guide(experts, example.top_k, tokens)
    averaged = f", averaged over {layers} layers" if layers > 1 else ""
    return (
        f"Random-routing baseline: {tokens:,} tokens with {example.top_k} of {experts} experts at random "
        f"give a MaxVio of {mean:.3f} on average and {high:.3f} at the 95th percentile{averaged} "
        f"(closed-form guide {guide:.3f}). Worst case: all tokens take the same {example.top_k}."
    )
