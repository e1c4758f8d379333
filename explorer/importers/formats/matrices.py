"""Matrices of loads without keys: EPLB's `weight` [layers, experts] as JSON, `torch.save` or CSV without a
header; count tensors printed by a training loop, `[(1, tensor([5295, …])), (2, tensor([…]))]`, one line
per step.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import shortened
from explorer.importers.arrays import count_array, number_array
from explorer.importers.formats.arrays import array_run
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.tensors import is_torch_file, load_tensors
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.wording import counted

NAMES = ("weight", "logical_count", "tokens_per_expert", "counts", "loads")
"""Keys of a document or dictionary that hold the matrix."""
NUMBERS = re.compile(rb"\s*[\d.eE+-]+(\s*[,;\t]\s*[\d.eE+-]+)+\s*")
PRINTED = re.compile(rb"\(\s*(\d{1,4})\s*,\s*tensor\(\[([\d.,\s]+)\]")
MOST_VALUES = 1 << 26


class Matrix:
    """Loads [layers, experts] or [steps, layers, experts]."""

    name = "eplb"
    label = "EPLB weight matrix"
    options = ("axes",)

    def matches(self, source: Source) -> bool:
        if is_torch_file(source):
            return True
        head = source.head.lstrip()
        is_json = (
            re.match(rb'(\{\s*"(weight|tokens_per_expert|counts|loads)"\s*:\s*)?\[\s*\[', head) is not None
        )
        return is_json or NUMBERS.fullmatch(head.split(b"\n", 1)[0]) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        yield array_run(self._array(source), source, options, Report())

    def _array(self, source: Source) -> NDArray[Any]:
        if is_torch_file(source):
            value = load_tensors(source)
            value = _named(value, source) if isinstance(value, Mapping) else value
            if not isinstance(value, np.ndarray) or value.ndim not in (2, 3) or not value.size:
                raise source.problem("", "must hold one tensor [layers, experts]")
            return value
        if source.head.lstrip()[:1] in b"[{":
            value = source.document()
            value = _named(value, source) if isinstance(value, Mapping) else value
            is_series = (
                bool(value) and isinstance(value[0], list) and value[0] and isinstance(value[0][0], list)
            )
            return number_array(value, 3 if is_series else 2, source, "")
        return _csv(source)


def _named(value: Mapping[str, Any], source: Source) -> Any:
    for name in NAMES:
        if isinstance(value.get(name), list | np.ndarray):
            return value[name]
    raise source.problem("", f"must hold the loads as one of {', '.join(NAMES)}")


def _csv(source: Source) -> NDArray[Any]:
    rows: list[NDArray[np.float64]] = []
    for number, line in source.lines():
        fields = re.split(rb"[,;\t]", line.strip())
        try:
            row = np.array(fields, dtype=np.float64)
        except ValueError as error:
            raise source.problem(f"line {number}", f"must hold numbers ({shortened(str(error))})") from error
        if rows and len(row) != len(rows[0]):
            raise source.problem(f"line {number}", f"has {len(row)} numbers, which must be {len(rows[0])}")
        rows.append(row)
        if len(rows) * len(row) > MOST_VALUES:
            raise source.problem(f"line {number}", f"is beyond {MOST_VALUES:,} numbers", "split the file")
    return np.stack(rows)


class PrintedTensors:
    """Counts as a training loop prints them."""

    name = "printed_tensors"
    label = "printed count tensors"
    options = ()

    def matches(self, source: Source) -> bool:
        return PRINTED.search(source.head) is not None

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        steps: list[dict[int, NDArray[np.int64]]] = []
        partial = 0
        for number, line in source.lines():
            rows = {int(layer): _row(text, source, number) for layer, text in PRINTED.findall(line)}
            if not rows:
                partial += b"tensor([" in line
                continue
            if steps and rows.keys() != steps[0].keys():
                partial += 1
                continue
            steps.append(rows)
        if not steps:
            raise source.problem("", "holds no printed tensor of counts")
        layers = sorted(steps[0])
        widths = {len(row) for rows in steps for row in rows.values()}
        if len(widths) > 1:
            raise source.problem("", f"has tensors of {sorted(widths)} experts, which must be one number")
        experts = options.num_experts(widths.pop())
        zeros(len(layers), experts)
        if partial:
            report.left_out(
                "unreadable_lines",
                f"{counted(partial, 'line')} with a tensor that is cut or has other layers than the rest.",
                lines=partial,
            )
        report.assumption("steps", f"Each of {counted(len(steps), 'line')} with tensors is one step, from 0.")
        yield ForeignRun(
            steps=[
                LoadStep(step=n, tokens_LE=np.stack([rows[layer] for layer in layers]))
                for n, rows in enumerate(steps)
            ],
            layers=model_layers(options, layers),
            num_experts=experts,
            top_k=options.top_k(),
            report=report,
            phase="training",
        )


def _row(text: bytes, source: Source, number: int) -> NDArray[np.int64]:
    try:
        values = np.array([field for field in text.split(b",") if field.strip()], dtype=np.float64)
    except ValueError as error:
        raise source.problem(f"line {number}", f"must hold counts ({shortened(str(error))})") from error
    return count_array(values, source, f"line {number}")


FORMATS = (PrintedTensors(), Matrix())
