"""Tables with one row per expert, as CSV or Parquet: custom tables, the CSV that older SGLang versions wrote,
the family of CSVs of llama.cpp, and CSVs of training loops that log the bias of every expert.

A column is identified by its usual names or by an option: `--option tokens=my_count`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import polars as pl
from polars.exceptions import PolarsError

from explorer.errors import ForeignFileError
from explorer.importers.bad_rows import row_problem
from explorer.importers.load_checks import live_layers
from explorer.importers.long_table import (
    SHARE_UNIT,
    Columns,
    LongReader,
    Shape,
    mapped,
    reading_table,
    shape_of,
    summed_rows,
)
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.table_files import TableFile, header_of, names_in
from explorer.importers.trace import ASSIGNMENTS, UNKNOWN_PHASE, ForeignRun, LoadStep, model_layers
from explorer.wording import counted

USUAL = {
    "step": ("step", "iter", "iteration", "global_step", "train_step", "forward_pass_id"),
    "layer": ("layer", "layer_id", "layer_idx"),
    "expert": ("expert", "expert_id", "expert_idx"),
    "tokens": ("tokens", "count", "token_count", "num_tokens", "n_tokens", "load", "tokens_per_expert"),
    "bias": ("expert_bias", "bias", "e_score_correction_bias"),
    "dropped": ("dropped_tokens", "token_dropped", "dropped"),
    "loss": ("lm_loss", "loss", "train_loss"),
}
"""Our name of a column -> its usual names elsewhere."""
SHARES = ("token_distr", "share", "fraction", "frac", "prob", "frequency", "freq", "frac_of_layer")
"""Names of a column of shares, used if there is no column of counts."""
OPTIONS = (*USUAL, "columns")


class Table:
    """One flavour of the long table."""

    options: Sequence[str] = OPTIONS

    def __init__(self, name: str, label: str, headers: Sequence[str], phase: str) -> None:
        """headers: first lines that identify this flavour; none: any with a column of experts."""
        self.name, self.label, self._headers, self._phase = name, label, headers, phase

    def matches(self, source: Source) -> bool:
        first = header_of(source)
        if self._headers:
            return first.replace(" ", "").lower() in self._headers
        return source.head.startswith(b"PAR1") or any(name in names_in(first) for name in USUAL["expert"])

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        table = TableFile(source, options)
        with reading_table(source):
            frame = table.scan()
            names = frame.collect_schema().names()
        columns = _columns(names, options, source)
        _report_columns(columns, names, report)
        num_experts = options.num_experts(largest_id=partial(_largest_id, frame, columns))
        with _rows_named(table, columns, num_experts):
            rows = mapped(frame, columns)
            shape = shape_of(rows, source)
            if shape.experts_seen > num_experts:
                rule = (
                    f"names expert {shape.experts_seen - 1}, which must be below num_experts ({num_experts})"
                )
                raise source.problem(f"column {columns.expert}", rule, "correct --option num_experts")
        live = live_layers([shape.totals[layer] for layer in shape.layers], shape.layers, source, report)
        _report_shape(shape, columns, report)
        layers = tuple(shape.layers[position] for position in live)
        reader = LongReader(summed_rows(rows, columns), shape, layers, num_experts, source, report)
        yield ForeignRun(
            steps=_steps(reader, table, columns),
            layers=model_layers(options, shape.layers, live),
            num_experts=num_experts,
            top_k=options.top_k(),
            report=report,
            phase=self._phase,
            unit=f"shares × {SHARE_UNIT:,}" if shape.is_share else ASSIGNMENTS,
        )


def _largest_id(frame: pl.LazyFrame, columns: Columns) -> int | None:
    """The largest expert id of a table; None where it cannot be read, which another error will say."""
    try:
        largest = mapped(frame, columns).select(pl.col("expert").max()).collect(engine="streaming").item()
    except PolarsError:
        return None
    return None if largest is None else int(largest)


@contextmanager
def _rows_named(table: TableFile, columns: Columns, num_experts: int) -> Iterator[None]:
    """Name the first bad row in an error on the whole file."""
    try:
        yield
    except ForeignFileError as error:
        named = row_problem(table, columns) or row_problem(table, columns, num_experts)
        raise named or error from error


def _steps(reader: LongReader, table: TableFile, columns: Columns) -> Iterator[LoadStep]:
    try:
        yield from reader.steps()
    except ForeignFileError as error:
        raise row_problem(table, columns) or error from error


def _columns(names: Sequence[str], options: Options, source: Source) -> Columns:
    lower = {name.strip().lower(): name for name in reversed(names)}
    columns: dict[str, str] = {}
    for ours, usual in USUAL.items():
        requested = options.text(ours)
        if requested and requested not in names:
            raise source.problem(
                "",
                f"has no column {requested}",
                f"name one of {', '.join(names[:30])} with --option {ours}=…",
            )
        column = requested or next((lower[name] for name in usual if name in lower), "")
        if column:
            columns[ours] = column
    if "tokens" not in columns:
        share = next((lower[name] for name in SHARES if name in lower), "")
        if share:
            columns["tokens"] = share
    if "expert" not in columns:
        raise source.problem(
            "",
            f"has no column of experts (its columns are {', '.join(names[:30])}), so loads of experts, "
            "biases and MaxVio cannot be shown",
            "name the column with --option expert=…, or import a file with one row per expert",
        )
    return Columns(**columns)


def _report_columns(columns: Columns, names: Sequence[str], report: Report) -> None:
    present = columns.present()
    text = ", ".join(f"{column} as {name}" for name, column in present.items())
    report.assumption("mapping", f"Columns are read so: {text}.")
    unused = [name for name in names if name not in present.values()]
    if unused:
        report.left_out(
            "unused_columns",
            f"{counted(len(unused), 'column')} not used: {', '.join(unused[:20])}.",
            columns=len(unused),
        )
    if columns.step is None:
        report.assumption("one_step", "The file has no column of steps: all rows are step 0.")
    if columns.layer is None:
        report.assumption("one_layer", "The file has no column of layers: all rows are layer 0.")
    if columns.tokens is None:
        report.assumption("one_activation", "The file has no column of counts: each row is one activation.")


def _report_shape(shape: Shape, columns: Columns, report: Report) -> None:
    if shape.is_share:
        report.assumption(
            "shares",
            f"Column {columns.tokens} holds shares, not counts: they are stored times {SHARE_UNIT:,}, "
            "rounded. They are never to be added to counts.",
        )
    if not shape.is_sorted:
        report.note("sorted", "The rows were not in order of their steps; they are sorted.")


FORMATS = (
    Table("sglang_csv", "SGLang's early CSV", ("layer_id,expert_id,count",), "serving"),
    Table(
        "training_csv",
        "training CSV with experts",
        (
            "step,layer,expert,prob",
            "step,layer,expert,token_distr,expert_imp,token_dropped,expert_bias",
        ),
        "training",
    ),
    Table(
        "llama_cpp",
        "llama.cpp activation CSV",
        ("layer,expert", "layer,expert,count", "layer,expert,count,frac_of_layer"),
        "serving",
    ),
    Table("table", "table with one row per expert", (), UNKNOWN_PHASE),
)
