"""Compare the metrics of a fresh index with independently computed ones; the only check that needs DuckDB."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from explorer.recording.files import plain
from explorer.verify.data import Loads, RunData
from explorer.verify.figures import (
    WINDOW,
    Floats,
    final_rows,
    held_out_counts,
    is_same,
    layer_figures,
    low_streak,
    near,
    running_mean,
)
from explorer.verify.findings import Check, Difference, Findings

if TYPE_CHECKING:
    from explorer.store import Index

NO_DUCKDB = (
    "DuckDB is not installed, so there is no index to compare with; install moe-routing-explorer[app]."
)


class FreshIndex:
    """A separate index that holds one run at a time, for a folder at any path."""

    def __init__(self, index: "Index", folder: Path) -> None:
        self._index, self._folder = index, folder

    def take(self, run: RunData) -> "tuple[str | None, pl.DataFrame, pl.DataFrame]":
        """Ingest the run. Returns the error or None, its `layer_metrics` and `layer_summary`."""
        from explorer.queries.verification import layer_metrics, layer_summary

        run_id = run.folder.run_id
        link = self._folder / run_id
        link.symlink_to(run.folder.path.resolve(), target_is_directory=True)
        try:
            problem = self._index.ingest([self._folder]).problems.get(run_id)
            with self._index.cursor() as cur:
                metrics, summary = layer_metrics(cur, run_id), layer_summary(cur, run_id)
        finally:
            link.unlink()
        named = None if problem is None else problem.replace(str(link), str(run.folder.path))
        return named, metrics, summary


@contextmanager
def fresh_index() -> "Iterator[FreshIndex | None]":
    """An index in a temporary folder; None where DuckDB is not installed."""
    try:
        from explorer.store import Index
    except ModuleNotFoundError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="explorer-verify-") as folder:
        runs = Path(folder) / "runs"
        runs.mkdir()
        with Index.open(Path(folder) / "index.duckdb") as index:
            yield FreshIndex(index, runs)


def check_index(run: RunData, index: FreshIndex | None) -> Check:
    """Ingest the run, and compare every layer metric that the index derives."""
    findings = Findings("figures")
    if index is None:
        findings.skip(NO_DUCKDB)
        return findings.check()
    problem, metrics, summary = index.take(run)
    if problem is not None:
        findings.differ(Difference(table="index", recorded="refused", expected="the run", note=problem))
        return findings.check()
    if "expert_loads" in run.unreadable:
        findings.skip(run.unreadable["expert_loads"])
        return findings.check()
    if run.status.state == "running":
        findings.skip("The run is being written, and its index may be further than the rows that were read.")
        return findings.check()
    steps = _per_step(run)
    _compare_steps(findings, run, metrics, steps)
    _compare_summary(findings, run, summary, steps)
    return findings.check()


def _per_step(run: RunData) -> dict[str, Floats]:
    """[S, L] per metric of `layer_metrics`."""
    loads = run.loads
    figures = layer_figures(loads.tokens, loads.present)
    widths = loads.present.sum(-1)
    return {
        **figures,
        "bias_spread": bias_spread(loads),
        "max_vio_mean100": running_mean(figures["max_vio"]),
        "low_streak": low_streak(figures["effective_experts"], widths),
    }


def bias_spread(loads: Loads) -> Floats:
    """[S, L] largest minus smallest bias of a layer, ignoring NULLs; NaN if there are only NULLs.

    As in the index, where NaN is greater than every number, so that one NaN makes the spread NaN.
    """
    is_number = loads.has_bias & ~np.isnan(loads.bias)
    bias = loads.bias.astype(np.float64)
    with np.errstate(invalid="ignore"):
        largest = np.where(is_number, bias, -np.inf).max(-1, initial=-np.inf)
        spread = largest - np.where(is_number, bias, np.inf).min(-1, initial=np.inf)
    return np.where((is_number == loads.has_bias).all(-1) & loads.has_bias.any(-1), spread, np.nan)


def _compare_steps(findings: Findings, run: RunData, metrics: pl.DataFrame, steps: dict[str, Floats]) -> None:
    loads = run.loads
    routed = loads.present.any(-1)
    step_X = np.broadcast_to(loads.steps[:, None], routed.shape)[routed]
    layer_X = np.broadcast_to(np.array(loads.layers, dtype=np.int64), routed.shape)[routed]
    if metrics.height != len(step_X) or not (
        np.array_equal(metrics["step"].to_numpy(), step_X)
        and np.array_equal(metrics["layer"].to_numpy(), layer_X)
    ):
        findings.differ(
            Difference(
                table="layer_metrics",
                column="rows",
                recorded=metrics.height,
                expected=len(step_X),
                note="one row per recorded step and layer",
            )
        )
        return
    for name, values in steps.items():
        expected_X = values[routed]
        has_value = loads.has_bias.any(-1) if name == "bias_spread" else ~np.isnan(values)
        is_null_X = ~np.asarray(has_value)[routed]
        recorded_X = metrics[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        findings.compared += len(expected_X)
        wrong = ~near(recorded_X, expected_X) | (metrics[name].is_null().to_numpy() != is_null_X)
        for place in np.flatnonzero(wrong)[:1]:
            findings.differ(
                Difference(
                    table="layer_metrics",
                    column=name,
                    step=int(step_X[place]),
                    layer=int(layer_X[place]),
                    recorded=metrics[name][int(place)],
                    expected=None if is_null_X[place] else float(expected_X[place]),
                ),
                int(wrong.sum()),
            )


def _compare_summary(
    findings: Findings, run: RunData, summary: pl.DataFrame, steps: dict[str, Floats]
) -> None:
    rows = {row["layer"]: row for row in summary.to_dicts()}
    for layer, expected in _summary(run, steps).items():
        row = rows.get(layer, {})
        for name, value in expected.items():
            findings.compared += 1
            recorded = row.get(name)
            recorded = float(recorded) if isinstance(recorded, bool) else recorded
            if not is_same(recorded, value):
                findings.differ(
                    Difference(
                        table="layer_summary",
                        column=name,
                        layer=layer,
                        recorded=recorded,
                        expected=plain(value),
                    )
                )


def _summary(run: RunData, steps: dict[str, Floats]) -> dict[int, dict[str, Any]]:
    """Layer -> the metrics of `layer_summary`."""
    result: dict[int, dict[str, Any]] = {layer: {} for layer in run.loads.layers}
    number = len(run.loads.steps)
    last = final_rows(number)
    held_out = {}
    if run.held_out.height and "eval_loads" not in run.unreadable:
        held_out = dict(zip(run.loads.layers, layer_figures(*held_out_counts(run))["max_vio"], strict=True))
    for place, layer in enumerate(run.loads.layers if number else ()):
        result[layer] = {
            "samples": last,
            "max_vio_batch": float(steps["max_vio"][-last:, place].mean()),
            "effective_experts": float(steps["effective_experts"][-last:, place].mean()),
            "idle_experts": float(steps["idle_experts"][-last:, place].mean()),
            "collapsed": float(steps["low_streak"][:, place].max() >= WINDOW),
        }
    for layer, value in held_out.items():
        result[layer]["max_vio_global"] = float(value)
    return result
