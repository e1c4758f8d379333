"""Long tables: one row per (step, layer, expert), as CSV or Parquet, in batches of bounded size.

Two passes: the first determines layers, sizes and the order of steps, the second builds dense arrays
[S, L, E] of complete steps. Without a step column all rows are step 0; without a count column each row is
one activation.
Shapes: S steps of a batch, L layers, E experts.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from explorer.errors import ForeignFileError, shortened
from explorer.importers.arrays import LARGEST_COUNT
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import LoadStep, zeros
from explorer.recording.folder_schema import LARGEST_STEP, MAX_LAYERS
from explorer.recording.listing import is_fault_of_data

CHUNK_ROWS = 1 << 19
MOST_SORTED = 50_000_000
"""Maximum number of rows of an unsorted file to sort in memory."""
SHARE_UNIT = 1_000_000
"""Factor that turns shares into integers, as the tables hold."""
GATE_SHARES = "shares of gate weight"
"""Unit of numbers that add up gate weights: another quantity than a share of the tokens."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The file's name of each column; None: the file has no such column."""

    expert: str
    step: str | None = None
    layer: str | None = None
    tokens: str | None = None
    bias: str | None = None
    dropped: str | None = None
    loss: str | None = None

    def present(self) -> dict[str, str]:
        """Our name -> the file's."""
        return {name: column for name, column in vars(self).items() if column is not None}


TYPES = {"step": pl.Int64, "layer": pl.Int64, "expert": pl.Int64, "bias": pl.Float32}
"""Everything else is read as float64, which holds counts up to 2^53 exactly."""
LARGEST_KEYS = {"step": LARGEST_STEP, "layer": MAX_LAYERS - 1, "expert": 2**20 - 1}

_KEYS = [pl.col(name) for name in LARGEST_KEYS]
FIGURES = [
    pl.len().alias("rows"),
    *(key.min().name.suffix("_min") for key in _KEYS),
    *(key.max().name.suffix("_max") for key in _KEYS),
    *(key.null_count().name.suffix("_null") for key in _KEYS),
    pl.col("tokens").min().alias("tokens_min"),
    pl.col("tokens").max().alias("tokens_max"),
    pl.col("tokens").null_count().alias("tokens_null"),
    (~pl.col("tokens").is_finite()).sum().alias("infinite"),
    (pl.col("tokens") != pl.col("tokens").floor()).sum().alias("broken"),
]
"""What a pass checks in some rows, one row of numbers."""
MERGED = [
    pl.col("^.*_min$").min(),
    pl.col("^.*_max$").max(),
    pl.col("rows", "^.*_null$", "infinite", "broken").sum(),
]
"""The same of several such rows."""


@dataclass(kw_only=True)
class Shape:
    """Result of the first pass."""

    layers: tuple[int, ...]
    experts_seen: int
    """One more than the largest id: a lower bound of E."""
    rows: int
    is_sorted: bool
    is_share: bool
    totals: dict[int, float] = field(default_factory=dict)
    """Sum per layer, to find layers without an assignment."""


def mapped(frame: pl.LazyFrame, columns: Columns) -> pl.LazyFrame:
    """The file's columns under our names and types, without rows that hold none of them (blank lines)."""
    schema = frame.collect_schema()
    present = columns.present()
    expressions = [
        (_whole if name in LARGEST_KEYS else number)(column, schema[column])
        .cast(TYPES.get(name, pl.Float64))
        .alias(name)
        for name, column in present.items()
    ]
    if columns.layer is None:
        expressions.append(pl.lit(0, dtype=pl.Int64).alias("layer"))
    if columns.tokens is None:
        expressions.append(pl.lit(1.0).alias("tokens"))
    if columns.step is None:
        expressions.append(pl.lit(0, dtype=pl.Int64).alias("step"))
    keys = [present[name] for name in (*LARGEST_KEYS, "tokens") if name in present]
    is_blank = pl.all_horizontal(pl.col(key).is_null() for key in keys)
    return frame.filter(~is_blank).select(expressions)


def number(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column that is to be cast to numbers: text without the blanks around it, as after `, `."""
    return pl.col(column).str.strip_chars() if dtype == pl.String else pl.col(column)


def _whole(column: str, dtype: pl.DataType) -> pl.Expr:
    """The same of whole numbers: NULL where one is not, which a cast would round."""
    key = number(column, dtype)
    return pl.when(key == key.floor()).then(key) if dtype.is_float() else key


def summed_rows(rows: pl.LazyFrame, columns: Columns) -> pl.LazyFrame:
    """The rows of `mapped`; without a step column those of an expert added up, as activations are logged."""
    if columns.step is not None:
        return rows
    optional_columns = [name for name in ("bias", "dropped", "loss") if name in columns.present()]
    return rows.group_by("step", "layer", "expert").agg(
        pl.col("tokens").sum(), *(pl.col(name).last() for name in optional_columns)
    )


@contextmanager
def reading_table(source: Source) -> Iterator[None]:
    """Turn a Polars error on a damaged file into one sentence; its panics are not an Exception."""
    try:
        yield
    except ForeignFileError:
        raise
    except BaseException as error:
        if not isinstance(error, PolarsError) and not is_fault_of_data(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise source.problem("", f"cannot be read as a table ({shortened(lines[0])})") from error


def shape_of(frame: pl.LazyFrame, source: Source) -> Shape:
    """First pass over the rows of `mapped`. Raises ForeignFileError for values that are missing, negative or
    too large.
    """
    parts: list[pl.DataFrame] = []
    assignments, rows = np.zeros(MAX_LAYERS), np.zeros(MAX_LAYERS, dtype=np.int64)
    is_sorted, before = True, -1
    with reading_table(source):
        # Batch by batch: an expression on the order of all rows, or a group, takes a third of the pass.
        for batch in frame.collect_batches(chunk_size=CHUNK_ROWS, engine="streaming"):
            parts.append(batch.select(FIGURES))
            steps = batch["step"].to_numpy()
            is_sorted = is_sorted and before <= steps[0] and bool((steps[1:] >= steps[:-1]).all())
            before = steps[-1]
            if not _key_problem(parts[-1].row(0, named=True), source):
                layers = batch["layer"].to_numpy()
                rows += np.bincount(layers, minlength=MAX_LAYERS)
                assignments += np.bincount(layers, batch["tokens"].fill_null(0.0).to_numpy(), MAX_LAYERS)
        result = pl.concat(parts or [frame.select(FIGURES).collect()]).select(MERGED)
    row = result.row(0, named=True)
    if not row["rows"]:
        raise source.problem("", "has no row of data")
    if problem := _key_problem(row, source):
        raise problem
    if row["tokens_null"] or row["infinite"] or row["tokens_min"] < 0 or row["tokens_max"] > LARGEST_COUNT:
        rule = "must hold numbers from 0 to 2^48 in every row"
        raise source.problem("the column of counts", rule)
    layers_seen = np.flatnonzero(rows).tolist()
    return Shape(
        layers=tuple(layers_seen),
        experts_seen=row["expert_max"] + 1,
        rows=row["rows"],
        is_sorted=is_sorted,
        is_share=bool(row["broken"]),
        totals={layer: float(assignments[layer]) for layer in layers_seen},
    )


def _key_problem(row: Mapping[str, Any], source: Source) -> ForeignFileError | None:
    """What is wrong with the keys of some rows, from FIGURES of them."""
    for name, most in LARGEST_KEYS.items():
        if row[f"{name}_null"]:
            return source.problem(f"column {name}", f"is empty in {row[f'{name}_null']:,} rows")
        if row[f"{name}_min"] < 0 or row[f"{name}_max"] > most:
            span = f"{row[f'{name}_min']} to {row[f'{name}_max']}"
            return source.problem(f"column {name}", f"must lie between 0 and {most}, not {span}")
    return None


class LongReader:
    """Second pass: dense steps from long rows."""

    def __init__(
        self,
        frame: pl.LazyFrame,
        shape: Shape,
        layers: tuple[int, ...],
        num_experts: int,
        source: Source,
        report: Report,
    ) -> None:
        """layers: the file's layers to keep; rows of others are left out."""
        zeros(len(layers), num_experts)
        self._frame = frame.filter(pl.col("layer").is_in(list(layers)))
        if not shape.is_sorted:
            if shape.rows > MOST_SORTED:
                rule = f"has {shape.rows:,} rows that are not in order of their steps"
                raise source.problem("", rule, "sort the file by step")
            self._frame = self._frame.sort("step")
        self._scale = SHARE_UNIT if shape.is_share else 1
        self._layers = np.asarray(layers, dtype=np.int64)
        self._experts = num_experts
        self._source, self._report = source, report
        self._rows = shape.rows
        self._absent = self._repeated = self._steps = self._read = 0

    def steps(self) -> Iterator[LoadStep]:
        """Every step, ascending."""
        rest: pl.DataFrame | None = None
        with reading_table(self._source):
            # The last step of a batch may be incomplete and is carried over to the next batch.
            batches = iter(self._frame.collect_batches(chunk_size=CHUNK_ROWS, engine="streaming"))
        while True:
            with reading_table(self._source):
                batch = next(batches, None)
            if batch is None:
                break
            self._read += batch.height
            self._source.progressed(self._read, self._rows)
            rows = batch if rest is None else pl.concat([rest, batch])
            step_R = rows["step"].to_numpy()
            start = int(np.searchsorted(step_R, step_R[-1]))
            rest = rows.slice(start)
            yield from self._dense(rows.slice(0, start))
        if rest is not None:
            yield from self._dense(rest)
        self._finish()

    def _dense(self, rows: pl.DataFrame) -> Iterator[LoadStep]:
        """Dense steps, a few million cells at a time."""
        if rows.is_empty():
            return
        step_R = rows["step"].to_numpy()
        starts = np.flatnonzero(np.r_[True, step_R[1:] != step_R[:-1]])
        cells = len(self._layers) * self._experts
        most = max(1, 2**22 // cells)
        bounds = [*starts[::most].tolist(), len(rows)]
        for first, end in pairwise(bounds):
            yield from self._some(rows.slice(first, end - first), cells)

    def _some(self, rows: pl.DataFrame, cells: int) -> Iterator[LoadStep]:
        step_R = rows["step"].to_numpy()
        first_S = np.flatnonzero(np.r_[True, step_R[1:] != step_R[:-1]])
        steps = step_R[first_S]
        shape = (len(steps), len(self._layers), self._experts)
        self._steps += len(steps)
        cell_R = None if self._is_dense(rows, shape) else self._cells(rows, first_S, cells)
        tokens = self._summed(rows, "tokens", cell_R, shape)
        assert tokens is not None
        dropped = self._summed(rows, "dropped", cell_R, shape)
        bias = None
        if "bias" in rows.columns:
            flat = np.zeros(math.prod(shape), dtype=np.float32)
            flat[slice(None) if cell_R is None else cell_R] = rows["bias"].fill_null(0.0).to_numpy()
            bias = flat.reshape(shape)
        for n, step in enumerate(steps.tolist()):
            yield LoadStep(
                step=step,
                tokens_LE=tokens[n],
                expert_bias_LE=None if bias is None else bias[n],
                dropped_tokens_LE=None if dropped is None else dropped[n],
                scalars=self._scalars(rows, int(first_S[n])),
            )

    def _is_dense(self, rows: pl.DataFrame, shape: tuple[int, int, int]) -> bool:
        """Whether the rows are every expert of every layer of each step in order, as most files list them."""
        if rows.height != math.prod(shape):
            return False
        step, layer, expert = (rows[name].to_numpy().reshape(shape) for name in ("step", "layer", "expert"))
        return (
            bool((step == step[:, :1, :1]).all())
            and bool((layer == self._layers[:, None]).all())
            and bool((expert == np.arange(self._experts)).all())
        )

    def _cells(self, rows: pl.DataFrame, first_S: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
        """[R] the place of each row in the dense steps; notes cells without a row or with several."""
        place_R = np.repeat(np.arange(len(first_S)), np.diff(first_S, append=rows.height))
        layer_R = np.searchsorted(self._layers, rows["layer"].to_numpy())
        cell_R = place_R * cells + layer_R * self._experts + rows["expert"].to_numpy()
        seen = np.bincount(cell_R, minlength=len(first_S) * cells)
        self._absent += int((seen == 0).sum())
        self._repeated += int((seen > 1).sum())
        return np.asarray(cell_R)

    def _summed(
        self,
        rows: pl.DataFrame,
        name: str,
        cell_R: NDArray[np.int64] | None,
        shape: tuple[int, int, int],
    ) -> NDArray[np.int64] | None:
        """The numbers of a column, added up per cell; cell_R: None where the rows are the cells."""
        if name not in rows.columns:
            return None
        values = rows[name].fill_null(0.0).to_numpy()
        values = values if self._scale == 1 else values * self._scale
        # A NaN fails every comparison.
        if values.size and not (values.min() >= 0 and values.max() <= 2**53):
            raise self._source.problem(f"column {name}", "must hold numbers from 0 to 2^48")
        if cell_R is not None:
            values = np.bincount(cell_R, weights=values, minlength=math.prod(shape))
        return np.rint(values).astype(np.int64).reshape(shape)

    def _scalars(self, rows: pl.DataFrame, first: int) -> dict[str, float]:
        """The loss in the first row of a step."""
        if "loss" not in rows.columns:
            return {}
        value = rows["loss"][first]
        return {} if value is None else {"lm_loss": float(value)}

    def _finish(self) -> None:
        cells = self._steps * len(self._layers) * self._experts
        if self._absent:
            self._report.assumption(
                "absent_keys",
                f"{self._absent:,} of {cells:,} (step, layer, expert) have no row: they count as 0 tokens.",
                cells=self._absent,
            )
        if self._repeated:
            self._report.warning(
                "repeated_rows",
                f"{self._repeated:,} (step, layer, expert) have several rows, which are summed. That is "
                "right for ranks and micro-batches, and counts twice what was logged twice.",
                cells=self._repeated,
            )
