"""Schema and keys: each key once, in range, and every step complete."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.recording.schema import KEYS
from explorer.records.tables import TABLES
from explorer.verify.data import RunData
from explorer.verify.findings import Check, Difference, Findings, at, first_row

WITHOUT_UNIQUE_KEYS = ("events",)
"""A step may have several events."""


def check_keys(run: RunData) -> Check:
    """Every table: keys unique and not NULL, valid layers and experts, no missing rows."""
    findings = Findings("keys")
    for table in TABLES:
        rows = run.frame(table)
        findings.compared += rows.height
        keys = [name for name in KEYS[table] if name != "run_id"]
        if rows.height:
            _check_nulls(findings, table, rows, keys)
            if table not in WITHOUT_UNIQUE_KEYS:
                _check_once(findings, table, rows, keys)
            _check_range(findings, table, rows, run)
            if "layer" in keys:
                _check_complete(findings, table, rows, keys, run)
    _check_steps(findings, run)
    for sentence in run.unreadable.values():
        findings.skip(sentence)
    return findings.check()


def _check_nulls(findings: Findings, table: str, rows: pl.DataFrame, keys: list[str]) -> None:
    for name in keys:
        if rows[name].null_count():
            row = first_row(rows.filter(pl.col(name).is_null()))
            findings.differ(at(row, table, column=name, expected="a key"), rows[name].null_count())


def _check_once(findings: Findings, table: str, rows: pl.DataFrame, keys: list[str]) -> None:
    counts = rows.group_by(keys).agg(rows=pl.len()).filter(pl.col("rows") > 1)
    if counts.height:
        row = first_row(counts)
        findings.differ(
            at(row, table, column="rows of this key:", recorded=row["rows"], expected=1), counts.height
        )


def _check_range(findings: Findings, table: str, rows: pl.DataFrame, run: RunData) -> None:
    low = rows.filter(pl.col("step") < 0)
    if low.height:
        row = first_row(low)
        findings.differ(at(row, table, column="step", recorded=row["step"], expected="0 or more"), low.height)
    for name, cells in (("layer", run.cells.select("layer").unique()), ("expert", run.cells)):
        if name not in rows.columns:
            continue
        on = ["layer", "expert"] if name == "expert" else ["layer"]
        strange = rows.filter(pl.all_horizontal(pl.col(on).is_not_null())).join(cells, on=on, how="anti")
        if strange.height:
            row = first_row(strange)
            expected = (
                f"one of the run's {len(run.widths)} layers" if name == "layer" else "an expert of the layer"
            )
            findings.differ(
                at(row, table, column=name, recorded=row[name], expected=expected), strange.height
            )
            return  # an unknown layer is reported only once, not per expert


def _check_complete(
    findings: Findings, table: str, rows: pl.DataFrame, keys: list[str], run: RunData
) -> None:
    """Every group of rows (per step, sequence, domain, rank or token) has all layers and experts."""
    cell = [name for name in ("layer", "expert") if name in keys]
    group = [name for name in keys if name not in cell]
    cells = run.cells.select(cell).unique()
    run_rows = rows.join(cells, on=cell, how="semi")
    sizes = run_rows.group_by(group).agg(cells=pl.struct(cell).n_unique())
    lacking = sizes.filter(pl.col("cells") < cells.height)
    if lacking.height:
        groups = lacking.select(group)
        missing = groups.join(cells, how="cross").join(run_rows, on=keys, how="anti")
        findings.differ(at(first_row(missing), table, expected="a row"), missing.height)


def _check_steps(findings: Findings, run: RunData) -> None:
    """This project's trainer records every step, in `steps` and in `expert_loads`."""
    if run.config is None:
        return
    tables = ["steps", *(["expert_loads"] if run.info.num_moe_layers else [])]
    expected = np.setdiff1d(np.arange(run.status.last_step + 1), _gaps(run))
    for table in tables:
        if table in run.unreadable:
            continue
        missing = np.setdiff1d(expected, run.frame(table)["step"].to_numpy())
        if len(missing):
            findings.differ(Difference(table=table, step=int(missing[0]), expected="a row"), len(missing))


def _gaps(run: RunData) -> NDArray[np.int64]:
    """Steps trained but never recorded, which an event marks where the run resumed."""
    recorded = run.frame("steps")["step"].unique().sort().to_numpy()
    gaps = [np.empty(0, dtype=np.int64)]
    for step in run.frame("events").filter(pl.col("kind") == "recording_gap")["step"].unique():
        before = recorded[recorded < step]
        gaps.append(np.arange(before[-1] + 1 if len(before) else 0, step))
    return np.concatenate(gaps)
