"""Logs of scalars: TensorBoard events, CSV exports and histories of Weights & Biases, JSON lines of a
training loop.

Keys of single experts become loads; losses, gradient norms and learning rates become those of the steps;
metrics of whole layers (a coefficient of variation, an imbalance) cannot be stored in a run and are
listed in the report.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.arrays import LARGEST_COUNT, first_index
from explorer.importers.csv_scalars import csv_scalars
from explorer.importers.long_table import SHARE_UNIT
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.tfevents import Scalar, scalars
from explorer.importers.trace import ASSIGNMENTS, ForeignRun, LoadStep, model_layers, zeros
from explorer.recording.folder_schema import LARGEST_STEP, MAX_EXPERTS, MAX_LAYERS
from explorer.wording import counted

STEP_KEYS = ("step", "_step", "global_step", "iteration", "iter")
EXPERT_KEYS = (
    re.compile(r"moe-expert/[\w-]+_layer(?P<layer>\d{1,5})_expert(?P<expert>\d{1,7})"),
    re.compile(r"moe_expert_utilization/layer_(?P<layer>\d{1,5})_expert_(?P<expert>\d{1,7})"),
    re.compile(r"(train/)?moe/(load|top\d+)/e(?P<expert>\d{1,7})"),
    re.compile(
        r".*layer[_ ./-]?(?P<layer>\d{1,5}).*(load|tokens|count|util)\w*.*expert[_ ./-]?(?P<expert>\d{1,7})"
    ),
    re.compile(
        r".*layer[_ ./-]?(?P<layer>\d{1,5}).*expert[_ ./-]?(?P<expert>\d{1,7}).*(load|tokens|count|util)\w*"
    ),
)
BIAS_KEYS = (
    re.compile(r"moe/r(?P<layer>\d{1,5})_e(?P<expert>\d{1,7})_bias"),
    re.compile(r".*layer[_ ./-]?(?P<layer>\d{1,5}).*bias.*expert[_ ./-]?(?P<expert>\d{1,7})"),
    re.compile(r".*layer[_ ./-]?(?P<layer>\d{1,5}).*expert[_ ./-]?(?P<expert>\d{1,7}).*bias"),
)
STEP_FIELDS = {
    "lm_loss": ("lm loss", "lm_loss", "loss", "train/loss", "train_loss", "train/lm_loss", "train/ce loss"),
    "aux_loss": ("load_balancing_loss", "aux_loss", "train/load balancing loss", "moe/aux_loss"),
    "z_loss": ("z_loss", "train/z_loss", "moe/z_loss", "router_z_loss"),
    "grad_norm": ("grad-norm", "grad_norm", "train/grad_norm", "optim/total grad norm"),
    "learning_rate": ("learning-rate", "learning_rate", "lr", "train/lr", "train/learning_rate"),
}
FIELD_OF = {key: name for name, keys in STEP_FIELDS.items() for key in keys}
MOST_VALUES = 50_000_000
Cell = tuple[int, int]


@dataclass
class _Column:
    """One key over steps."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


@dataclass
class _Log:
    """Content of a log, by meaning."""

    loads: dict[Cell, _Column] = field(default_factory=dict)
    biases: dict[Cell, _Column] = field(default_factory=dict)
    fields: dict[str, _Column] = field(default_factory=dict)
    unused: dict[str, int] = field(default_factory=dict)
    values: int = 0

    def add(self, step: int, key: str, value: float, source: Source) -> None:
        """Add one scalar."""
        if not 0 <= step <= LARGEST_STEP:
            raise source.problem(
                f"key {shortened(key)}", f"step {step} must lie between 0 and {LARGEST_STEP}"
            )
        self.values += 1
        if self.values > MOST_VALUES:
            raise source.problem("", f"holds more than {MOST_VALUES:,} scalars", "export fewer keys")
        column = self._column(key, source)
        if column is not None:
            column.steps.append(step)
            column.values.append(value)

    def _column(self, key: str, source: Source) -> _Column | None:
        name = FIELD_OF.get(key.strip().lower())
        if name is not None:
            return self.fields.setdefault(name, _Column())
        for patterns, table in ((BIAS_KEYS, self.biases), (EXPERT_KEYS, self.loads)):
            match = next((m for pattern in patterns if (m := pattern.fullmatch(key))), None)
            if match:
                fields = match.groupdict()
                cell = int(fields.get("layer") or 0), int(fields["expert"])
                if cell[0] >= MAX_LAYERS or cell[1] >= MAX_EXPERTS:
                    raise source.problem(f"key {shortened(key)}", "names a layer or expert beyond all limits")
                return table.setdefault(cell, _Column())
        if len(self.unused) < 100_000:
            self.unused[key] = self.unused.get(key, 0) + 1
        return None


class ScalarLog:
    """Base class of the three forms."""

    options = ()

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report, log = Report(), _Log()
        for step, key, value in self.scalars(source, report):
            log.add(step, key, value, source)
        _report_unused(log, report)
        if not log.loads and not log.fields:
            raise source.problem(
                "",
                "holds neither loads of single experts nor losses of steps"
                f" (its keys are {shortened(', '.join(list(log.unused)[:20]))})",
                "log one scalar or one row per expert",
            )
        if log.loads:
            yield _run_with_loads(log, source, options, report)
        else:
            yield _run_of_losses(log, options, report)

    def scalars(self, source: Source, report: Report) -> Iterable[Scalar]:
        """Every scalar of the file; what is left out is reported."""
        raise NotImplementedError


class TensorBoard(ScalarLog):
    """Event files."""

    name = "tensorboard"
    label = "TensorBoard events"

    def matches(self, source: Source) -> bool:
        return "tfevents" in source.name

    def scalars(self, source: Source, report: Report) -> Iterable[Scalar]:
        return scalars(source)


class JsonScalars(ScalarLog):
    """One JSON object per line, with the step among its keys."""

    name = "scalar_jsonl"
    label = "scalars as JSON lines"

    def matches(self, source: Source) -> bool:
        line = source.head.split(b"\n", 1)[0]
        keys = b"|".join(key.encode() for key in STEP_KEYS)
        return re.match(
            rb"\s*\{.*\"(" + keys + rb")\"\s*:\s*\d", line
        ) is not None and line.rstrip().endswith(b"}")

    def scalars(self, source: Source, report: Report) -> Iterator[Scalar]:
        for number, line in source.lines():
            record = source.decoded(line, f"line {number}")
            if not isinstance(record, dict):
                raise source.problem(f"line {number}", "must be an object")
            step = next((record[key] for key in STEP_KEYS if key in record), None)
            if isinstance(step, bool) or not isinstance(step, int):
                raise source.problem(
                    f"line {number}", f"must have a whole number in one of {', '.join(STEP_KEYS)}"
                )
            for key, value in record.items():
                if key not in STEP_KEYS and isinstance(value, int | float) and not isinstance(value, bool):
                    yield step, key, float(value)


class CsvScalars(ScalarLog):
    """A column of steps and one column per key, as Weights & Biases exports them (`run - key`)."""

    name = "scalar_csv"
    label = "scalars as CSV"

    def matches(self, source: Source) -> bool:
        header = source.head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
        return any(name.strip(' "\r').lower() in STEP_KEYS for name in header.split(","))

    def scalars(self, source: Source, report: Report) -> Iterable[Scalar]:
        return csv_scalars(source, STEP_KEYS, report)


def _report_unused(log: _Log, report: Report) -> None:
    if log.unused:
        names = ", ".join(list(log.unused)[:12])
        report.left_out(
            "unused_keys",
            f"{counted(len(log.unused), 'key')} not shown, since they speak neither of single experts nor "
            f"of a step's losses: {shortened(names)}.",
            keys=len(log.unused),
        )


def _run_of_losses(log: _Log, options: Options, report: Report) -> ForeignRun:
    report.warning(
        "no_loads",
        "The file has no loads of single experts: losses are shown; loads, biases, MaxVio and everything "
        "that follows from them cannot be shown.",
    )
    steps = sorted({step for column in log.fields.values() for step in column.steps})
    empty = np.zeros((0, 0), dtype=np.int64)
    scalars_of = _step_scalars(log)
    return ForeignRun(
        steps=(
            LoadStep(step=step, tokens_LE=empty, num_tokens=0, scalars=scalars_of.get(step, {}))
            for step in steps
        ),
        layers=(),
        num_experts=0,
        top_k=0,
        report=report,
        phase="training",
    )


def _run_with_loads(log: _Log, source: Source, options: Options, report: Report) -> ForeignRun:
    num_experts = options.num_experts()
    layers = sorted({layer for layer, _ in log.loads})
    place = {layer: number for number, layer in enumerate(layers)}
    zeros(len(layers), num_experts)
    steps = np.unique(np.concatenate([np.asarray(column.steps) for column in log.loads.values()]))
    cells = len(steps) * len(layers) * num_experts
    if cells > MOST_VALUES * 4:
        raise source.problem("", f"has {cells:,} loads, too many to be held at once", "export fewer steps")
    loads = _dense(log.loads, steps, place, num_experts, source)
    finite = int(np.isfinite(loads).sum())
    loads = np.nan_to_num(loads)
    if loads.min() < 0 or loads.max() > LARGEST_COUNT:
        n, position, expert = first_index((loads < 0) | (loads > LARGEST_COUNT))
        at = f"step {steps[n]}, layer {layers[position]}, expert {expert}"
        raise source.problem(at, f"must be a load from 0 to 2^48, not {loads[n, position, expert]:g}")
    is_share = bool((loads != np.floor(loads)).any())
    if finite < loads.size:
        report.assumption(
            "absent_keys",
            f"{loads.size - finite:,} of {loads.size:,} (step, layer, expert) have no value: they count "
            "as 0.",
            cells=loads.size - finite,
        )
    if is_share:
        report.assumption(
            "shares",
            f"The loads are fractions, not counts: they are stored times {SHARE_UNIT:,}, rounded. They are "
            "never to be added to counts.",
        )
    tokens = np.rint(loads * (SHARE_UNIT if is_share else 1)).astype(np.int64)
    biases = {cell: column for cell, column in log.biases.items() if cell[0] in place}
    bias = _dense(biases, steps, place, num_experts, source).astype(np.float32) if biases else None
    scalars_of = _step_scalars(log)
    return ForeignRun(
        steps=(
            LoadStep(
                step=step,
                tokens_LE=tokens[n],
                expert_bias_LE=None if bias is None else bias[n],
                scalars=scalars_of.get(step, {}),
            )
            for n, step in enumerate(steps.tolist())
        ),
        layers=model_layers(options, layers),
        num_experts=num_experts,
        top_k=options.top_k(),
        report=report,
        phase="training",
        unit=f"shares × {SHARE_UNIT:,}" if is_share else ASSIGNMENTS,
    )


def _dense(
    table: dict[Cell, _Column],
    steps: NDArray[np.int64],
    place: dict[int, int],
    num_experts: int,
    source: Source,
) -> NDArray[np.float64]:
    """[S, L, E]; NaN where a step has no value. Of duplicate values for a step the later one counts."""
    dense = np.full((len(steps), len(place), num_experts), np.nan)
    for (layer, expert), column in table.items():
        if expert >= num_experts:
            rule = f"names expert {expert}, which must be below num_experts ({num_experts})"
            raise source.problem(f"layer {layer}", rule, "correct --option num_experts")
        positions = np.searchsorted(steps, np.asarray(column.steps))
        inside = (positions < len(steps)) & (
            steps[np.minimum(positions, len(steps) - 1)] == np.asarray(column.steps)
        )
        dense[positions[inside], place[layer], expert] = np.asarray(column.values)[inside]
    return dense


def _step_scalars(log: _Log) -> dict[int, dict[str, float]]:
    result: dict[int, dict[str, Any]] = {}
    for name, column in log.fields.items():
        for step, value in zip(column.steps, column.values, strict=True):
            result.setdefault(step, {})[name] = value
    return result


FORMATS = (TensorBoard(), JsonScalars(), CsvScalars())
