"""What is wrong with a run's router, from the rows of the index; of a large run computed once, at ingest.

Examining 10 million loads takes seconds of processor time, too long for a page to wait.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from explorer.health import Finding, RunRows, diagnose
from explorer.health.rows import (
    LAYER_STEPS,
    LOADS,
    SEQUENCE_STEPS,
    SEQUENCES,
    STEPS,
    kept_steps,
    last_evaluation,
)
from explorer.recording import RunFolder, RunInfo

STEPS_OF_LOADS = "SELECT DISTINCT step FROM layer_metrics WHERE run_id = $run_id ORDER BY step"
LARGE_ROWS = 200_000
"""Rows of loads from which findings are stored; a smaller run is diagnosed when it is looked at."""


def store_findings(cur: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> None:
    """Diagnose a complete run if it is large, inside the open transaction, whose rows are all in the index.

    row: its row of the table `runs`.
    """
    size = cur.execute(
        "SELECT run_key, samples * num_moe_layers * num_experts "
        "FROM raw.runs JOIN raw.progress USING (run_key) WHERE run_id = ? AND table_name = 'expert_loads'",
        [row["run_id"]],
    ).fetchone()
    if row["state"] == "running" or size is None or size[1] < LARGE_ROWS:
        return
    try:
        findings = diagnose(run_rows(cur, RunFolder(Path(row["path"])).info))
    except duckdb.Error:
        raise
    except Exception:  # an error of a check is no reason to refuse the run; the page shows it
        return
    cur.execute("INSERT INTO raw.diagnoses VALUES (?, ?)", [size[0], _encoded(findings)])


def discard_findings(cur: duckdb.DuckDBPyConnection, run_key: int) -> None:
    """Forget the findings of a run, whose rows are about to change."""
    cur.execute("DELETE FROM raw.diagnoses WHERE run_key = ?", [run_key])


def _encoded(findings: Sequence[Finding]) -> str:
    return json.dumps([finding.to_dict() for finding in findings])


def decoded(text: str) -> list[Finding]:
    """The findings of a row of the table `diagnoses`."""
    return [Finding(**values) for values in json.loads(text)]


def run_rows(cur: duckdb.DuckDBPyConnection, info: RunInfo) -> RunRows:
    """The rows of a run that the checks look at."""
    steps = _frame(cur, f"SELECT {', '.join(STEPS)} FROM steps WHERE run_id = $run_id ORDER BY step", info)
    # The first portions of a run may hold loads alone, and a run of any length must not be read as a whole.
    recorded = steps if len(steps) else _frame(cur, STEPS_OF_LOADS, info)
    steps_to_read = kept_steps(recorded["step"].to_numpy(), sum(info.layer_widths))
    some = {} if steps_to_read is None else {"steps": steps_to_read.tolist()}
    loads = f"SELECT {', '.join(LOADS)} FROM expert_loads WHERE run_id = $run_id"
    if steps_to_read is not None:
        loads += " AND step IN (SELECT unnest($steps::BIGINT[]))"
    return RunRows(
        info=info,
        loads=_frame(cur, loads, info, **some),
        steps=steps,
        layer_steps=_frame(
            cur, f"SELECT {', '.join(LAYER_STEPS)} FROM layer_steps WHERE run_id = $run_id", info
        ),
        sequence_loads=_frame(
            cur,
            f"""
            SELECT {", ".join(SEQUENCES)} FROM sequence_loads
            WHERE run_id = $run_id AND split = 'train' AND step IN (
                SELECT DISTINCT step FROM sequence_loads WHERE run_id = $run_id AND split = 'train'
                ORDER BY step DESC LIMIT {SEQUENCE_STEPS}
            )
            """,
            info,
        ),
        domain_loads=last_evaluation(
            _frame(
                cur,
                "SELECT step, domain, layer, expert, tokens, split FROM eval_loads WHERE run_id = $run_id",
                info,
            )
        ),
        is_sampled=steps_to_read is not None,
    )


def _frame(cur: duckdb.DuckDBPyConnection, sql: str, info: RunInfo, **params: Any) -> pl.DataFrame:
    return cur.execute(sql, {"run_id": info.run_id, **params}).pl()
