"""Loads as plain arrays: `.npy` [layers, experts] or [steps, layers, experts]; EPLB's `weight` is the former.

Other axis orders are specified by `--option axes=layer,step,expert`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ForeignFileError
from explorer.importers.arrays import LARGEST_COUNT, count_array, first_index
from explorer.importers.load_checks import live_layers
from explorer.importers.long_table import SHARE_UNIT
from explorer.importers.npy import MAGIC, open_npy
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import ASSIGNMENTS, ForeignRun, LoadStep, model_layers, zeros

AXES = ("step", "layer", "expert")
CHUNK_VALUES = 1 << 22
LARGEST_ROUTE = 32
"""Maximum experts per token of an array of routes."""
LOOKED_AT = 512


class NumpyLoads:
    """A `.npy` file of loads."""

    name = "npy"
    label = "array of loads"
    options = ("axes",)

    def matches(self, source: Source) -> bool:
        return source.head.startswith(MAGIC) and not looks_like_routes(open_npy(source))

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        yield array_run(open_npy(source), source, options, Report())


def array_run(array: NDArray[Any], source: Source, options: Options, report: Report) -> ForeignRun:
    """An array of loads as a run. Raises ForeignFileError for other shapes and values."""
    array_SLE = _ordered(array, source, options, report)
    experts = options.num_experts(array_SLE.shape[2])
    zeros(array_SLE.shape[1], experts)
    total_L = np.zeros(array_SLE.shape[1])
    is_share = False
    first = 0
    for part in _parts(array_SLE):
        if not (part.min() >= 0 and part.max() <= LARGEST_COUNT):
            raise _value_problem(part, first, source)
        is_share |= part.dtype.kind == "f" and bool((part != np.floor(part)).any())
        total_L += part.sum(axis=(0, 2), dtype=np.float64)
        first += len(part)
    in_file = range(len(total_L))
    live = live_layers(total_L, in_file, source, report)
    if is_share:
        report.assumption(
            "shares",
            f"The array holds fractions, not counts: they are stored times {SHARE_UNIT:,}, rounded. They are "
            "never to be added to counts.",
        )
    return ForeignRun(
        steps=_steps(array_SLE, live, is_share, source),
        layers=model_layers(options, in_file, live),
        num_experts=experts,
        top_k=options.top_k(),
        report=report,
        unit=f"shares × {SHARE_UNIT:,}" if is_share else ASSIGNMENTS,
    )


def _value_problem(part_SLE: NDArray[Any], first_step: int, source: Source) -> ForeignFileError:
    """The error that names the first bad load of some steps."""
    step, layer, expert = first_index(~((part_SLE >= 0) & (part_SLE <= LARGEST_COUNT)))
    place = f"step {first_step + step}, layer {layer}, expert {expert}"
    return source.problem(place, f"must be a load from 0 to 2^48, not {part_SLE[step, layer, expert]}")


def looks_like_routes(array: NDArray[Any]) -> bool:
    """Whether an integer array [tokens, layers, K] holds ids rather than counts: K different ones per row."""
    if array.ndim != 3 or array.dtype.kind not in "iu" or not 2 <= array.shape[2] <= LARGEST_ROUTE:
        return False
    rows = np.sort(np.asarray(array[:LOOKED_AT]).reshape(-1, array.shape[2]), axis=1)
    different = (rows[:, 1:] != rows[:, :-1]).all(axis=1)
    # Unfilled rows hold one id K times.
    constant = (rows[:, 1:] == rows[:, :-1]).all(axis=1)
    sums = rows.sum(axis=1)
    return bool((different | constant).all() and len(np.unique(sums)) > 1 and rows.max() < 2**16)


def _ordered(array: NDArray[Any], source: Source, options: Options, report: Report) -> NDArray[Any]:
    """As [S, L, E]."""
    axis_names = [name.strip() for name in options.text("axes").split(",") if name.strip()]
    axes = axis_names or list(AXES[3 - array.ndim :])
    if sorted(axes) not in ([*sorted(AXES)], [*sorted(AXES[1:])]) or array.ndim != len(axes):
        raise source.problem(
            "",
            f"has the shape {array.shape}, which must be [layers, experts] or [steps, layers, experts]",
            "name the axes, e.g. --option axes=layer,step,expert",
        )
    report.assumption("axes", f"The shape {array.shape} is read as [{', '.join(axes)}].")
    ordered = array.transpose([axes.index(name) for name in AXES if name in axes])
    return ordered[None] if ordered.ndim == 2 else ordered


def _parts(array_SLE: NDArray[Any]) -> Iterator[NDArray[Any]]:
    most = max(1, CHUNK_VALUES // (array_SLE.shape[1] * array_SLE.shape[2]))
    for first in range(0, len(array_SLE), most):
        yield np.asarray(array_SLE[first : first + most])


def _steps(array_SLE: NDArray[Any], live: list[int], is_share: bool, source: Source) -> Iterator[LoadStep]:
    step = 0
    for part in _parts(array_SLE):
        values = part[:, live].astype(np.float64) * SHARE_UNIT if is_share else part[:, live]
        counts = count_array(np.rint(values) if is_share else values, source, f"from step {step}")
        for tokens_LE in counts:
            yield LoadStep(step=step, tokens_LE=tokens_LE)
            step += 1
        source.progressed(step, len(array_SLE))


FORMATS = (NumpyLoads(),)
