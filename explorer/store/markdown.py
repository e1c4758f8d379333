"""Generate docs/schema.md from the tables: `python -m explorer.store.markdown docs/schema.md`."""

import sys
from collections.abc import Iterable
from pathlib import Path

from explorer.files import write_whole
from explorer.records.tables import TABLES, Column
from explorer.store.pyramids import PYRAMIDS
from explorer.store.schema import DERIVED, INTERNAL, RUNS, WITH_ORDINAL, index_columns

HEAD = """# The tables

Printed from `explorer/records/tables.py` and `explorer/store/`; do not edit by hand, but run
`python -m explorer.store.markdown docs/schema.md`.

Raw integers are stored and ratios are derived on reading. `tokens` in a count always means
token-to-expert assignments. Steps count from 0: the row of step s holds the bias used in the forward pass of
s, before its update; an evaluation at s follows s updates and stores its own bias. Keys are **bold**.

## Recorded tables

They are the columns of the Parquet files of a run folder (`docs/run_format.md`) and tables of the index."""

INDEX = """## Tables of the index

The index is a DuckDB file in the user's cache folder, made of the run folders and rebuilt from them whenever
its schema changes or it is damaged. Inside, a run is a small number (`run_key`, schema `raw`); the views
named here show `run_id`."""

ORDINALS = "In the index, {tables} have one more column: `ordinal`, {meaning}."

BINS = """### Roll-ups

A bin of level k spans 4^k samples, that is recorded steps. Several rows with the same keys are one bin in
pieces: group by the keys, add sums and counts, take minima of minima and maxima of maxima, and of `last`
values the one with the largest `last_step`. Only the samples below `progress.rolled` are in the roll-ups, and
short runs have none. In `layer_bins` the layer -1 is the mean over layers of every sample."""


def schema_markdown() -> str:
    """The text of docs/schema.md."""
    bins = {pyramid.table: pyramid.columns for pyramid in PYRAMIDS}
    meaning = index_columns(WITH_ORDINAL[0])[-1].meaning
    blocks = [HEAD, *(_table(name, columns) for name, columns in TABLES.items()), INDEX]
    blocks.append(ORDINALS.format(tables=" and ".join(f"`{t}`" for t in WITH_ORDINAL), meaning=meaning))
    blocks.append(_table("runs", RUNS))
    blocks += [_table(name, columns) for name, columns in DERIVED.items() if name not in bins]
    blocks += [_table(name, columns) for name, columns in INTERNAL.items()]
    blocks += [BINS, *(_table(name, columns) for name, columns in bins.items())]
    return "\n\n".join(blocks) + "\n"


def _table(name: str, columns: Iterable[Column]) -> str:
    rows = (f"| {_name(c)} | {c.sql_type} | {c.meaning.replace('|', chr(92) + '|')} |" for c in columns)
    return "\n".join([f"### {name}", "", "| column | type | meaning |", "|---|---|---|", *rows])


def _name(column: Column) -> str:
    return f"**{column.name}**" if column.key else column.name


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), schema_markdown().encode())
