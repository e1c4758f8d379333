"""Roll-ups answer as the rows themselves would: any length, any part boundaries, any sparsity."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st
from slow_examples import slow_examples
from store_runs import make_info

from explorer import metrics
from explorer.queries import _frames, balance, biases, loads, losses
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord
from explorer.store import Index, cluster, rollup

L, E = 2, 3


@dataclass(frozen=True)
class Case:
    """A run and how it was recorded."""

    steps: np.ndarray
    """[S] recorded steps, increasing."""
    counts: np.ndarray
    """[S, L, E]"""
    bias: np.ndarray
    """[S, L, E], NaN rows: a step without a bias rule."""
    cuts: tuple[int, ...]
    """Samples after which a part ends; the index looks in after each."""
    max_bins: int

    @property
    def losses(self) -> np.ndarray:
        """Every seventh step's is NaN where the run has an even number of samples, and infinite elsewhere."""
        odd = np.nan if len(self.steps) % 2 == 0 else np.inf
        return np.where(self.steps % 7 == 3, odd, np.cos(self.steps) + 2)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    samples = draw(st.integers(1, 90))
    gap = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = np.cumsum(rng.integers(1, gap + 1, samples)) - 1
    counts = rng.integers(0, draw(st.sampled_from([2, 60])), (samples, L, E))
    bias = rng.normal(size=(samples, L, E)).astype(np.float32)
    bias[rng.random(bias.shape) < draw(st.sampled_from([0, 0, 0.2, 1]))] = np.inf
    bias[: draw(st.integers(0, samples))] = np.nan
    # A first part, one between and a last one are all that parts can be.
    cuts = draw(st.lists(st.integers(1, samples), max_size=3, unique=True).map(sorted))
    return Case(
        steps=steps,
        counts=counts,
        bias=bias,
        cuts=(*cuts, samples),
        max_bins=draw(st.integers(1, 40)),
    )


def edge(samples: int, *cuts: int, max_bins: int = 40, biased: int = 0) -> Case:
    """A run with every step recorded, and a bias in its last `biased` steps."""
    rng = np.random.default_rng(samples)
    bias = rng.normal(size=(samples, L, E)).astype(np.float32)
    bias[: samples - biased] = np.nan
    counts = rng.integers(0, 2, (samples, L, E))
    return Case(np.arange(samples), counts, bias, (*cuts, samples), max_bins)


# A single step, a run in one bin, steps and bins that come out even, parts of one step.
EDGES = (edge(1), edge(64, max_bins=1, biased=64), edge(32, 16, max_bins=8), edge(17, 1, 16, biased=1))


def with_edges(test: Callable[..., None]) -> Callable[..., None]:
    for case in EDGES:
        test = example(case=case)(test)
    return test


@contextmanager
def indexed(index: Index, case: Case) -> Iterator[duckdb.DuckDBPyConnection]:
    """The run in an index whose roll-ups and segments begin early, taken in part by part."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(rollup, "ROLL_FROM", 0),
        mock.patch.object(rollup, "ALIGN", 4),
        mock.patch.object(rollup, "GROUP_ROWS", 50),
        mock.patch.object(cluster, "SEGMENT_ROWS", 100),
        mock.patch.object(_frames, "READ_ROWS", 20 * E),
    ):
        recorder = RunWriter.create(Path(folder) / "runs", make_info(layers=L, experts=E))
        start = 0
        for cut in case.cuts:
            for i in range(start, cut):
                record(recorder, case, i)
            start = cut
            recorder.flush()
            assert not index.ingest([Path(folder) / "runs"]).problems
        with index.cursor() as cur:
            yield cur


def record(recorder: RunWriter, case: Case, i: int) -> None:
    step = int(case.steps[i])
    bias = None if np.isnan(case.bias[i]).any() else case.bias[i]
    recorder.record(
        StepRecord(step=step, tokens_seen=step + 1, lm_loss=float(case.losses[i]), wall_time_s=step * 2.0)
    )
    recorder.record(LoadRecord(step=step, tokens_LE=case.counts[i], expert_bias_LE=bias))
    recorder.step_done(step)


def bins_of(frame: Any, case: Case) -> list[slice]:
    """The samples of each bin of an answer, checked to cover the run without gaps."""
    spans = frame.select("first_step", "last_step").unique(maintain_order=True).sort("first_step").rows()
    result = [
        slice(int(np.searchsorted(case.steps, a)), int(np.searchsorted(case.steps, b)) + 1) for a, b in spans
    ]
    assert 0 < len(result) <= case.max_bins
    assert [s.start for s in result] == [0, *(s.stop for s in result[:-1])]
    assert result[-1].stop == len(case.steps)
    return result


@slow_examples
@with_edges
@given(case=cases())
def test_every_view_equals_direct_aggregation_however_often_the_index_looked(
    reused_index: Index, case: Case
) -> None:
    with indexed(reused_index, case) as cur:
        check_loads(cur, case)
        check_biases(cur, case)
        check_max_vio(cur, case)
        check_losses(cur, case)
        looked_often = balance.max_vio_series(cur, ["run"], max_bins=case.max_bins)
    if len(case.cuts) > 1:
        with indexed(reused_index, replace(case, cuts=(len(case.steps),))) as cur:
            check_same(looked_often, balance.max_vio_series(cur, ["run"], max_bins=case.max_bins))


def check_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    bins = ["bin", "first_step", "last_step", "samples"]
    assert one.select(bins).equals(other.select(bins))
    np.testing.assert_allclose(
        one["max_vio_mean100"].fill_null(np.nan), other["max_vio_mean100"].fill_null(np.nan)
    )


def check_loads(cur: duckdb.DuckDBPyConnection, case: Case) -> None:
    frame = loads.load_heatmap(cur, "run", 1, max_bins=case.max_bins)
    for number, span in enumerate(bins_of(frame, case)):
        part = frame.filter(frame["bin"] == number).sort("expert")
        counts = case.counts[span, 1]
        assert part["tokens"].to_list() == counts.sum(0).tolist()
        assert part["is_dead"].to_list() == (counts.sum(0) == 0).tolist()
        with np.errstate(invalid="ignore"):
            ratio = counts.sum(0) * E / counts.sum()
            each = counts * E / counts.sum(1, keepdims=True)
        np.testing.assert_allclose(part["load_ratio"].fill_null(np.nan), ratio)
        routed = ~np.isnan(each).any(1)
        if routed.any():
            np.testing.assert_allclose(part["min_ratio"], each[routed].min(0))
            np.testing.assert_allclose(part["max_ratio"], each[routed].max(0))


def check_biases(cur: duckdb.DuckDBPyConnection, case: Case) -> None:
    frame = biases.bias_trajectories(cur, "run", 0, max_bins=case.max_bins)
    matrix = loads.load_matrix(cur, "run", 0, max_columns=case.max_bins)
    seen = ~np.isnan(case.bias[:, 0, 0])
    assert frame.is_empty() == (not seen.any())
    for _, first, last, expert, mean, low, high, end, odd in frame.rows():
        span = slice(int(np.searchsorted(case.steps, first)), int(np.searchsorted(case.steps, last)) + 1)
        values = case.bias[span, 0, expert][seen[span]]
        finite = values[np.isfinite(values)]
        assert odd == len(values) - len(finite)
        np.testing.assert_allclose(end, values[-1])
        if not len(finite):
            assert (mean, low, high) == (None, None, None)
            continue
        np.testing.assert_allclose([mean, low, high], [finite.mean(dtype=float), finite.min(), finite.max()])
    starts = np.searchsorted(case.steps, matrix.steps)
    np.testing.assert_array_equal(matrix.tokens, np.add.reduceat(case.counts[:, 0], starts))
    assert (matrix.bias is None) == (not np.isfinite(case.bias[:, 0]).any())


def check_max_vio(cur: duckdb.DuckDBPyConnection, case: Case) -> None:
    violation = metrics.max_vio(case.counts)
    mean = violation.mean(1)
    whole = balance.max_vio_series(cur, ["run"], max_bins=case.max_bins)
    one = balance.max_vio_series(cur, ["run"], layer=1, max_bins=case.max_bins, x="tokens")
    for frame, values in ((whole, mean), (one, violation[:, 1])):
        for row, span in zip(frame.sort("bin").to_dicts(), bins_of(frame, case), strict=True):
            part = values[span][~np.isnan(values[span])]
            assert row["samples"] == span.stop - span.start
            if not len(part):
                assert row["max_vio"] is None
                continue
            figures = [row["max_vio"], row["max_vio_min"], row["max_vio_max"]]
            np.testing.assert_allclose(figures, [part.mean(), part.min(), part.max()], atol=1e-12)
    assert one["x"].to_list() == [last + 1 for last in one["last_step"].to_list()]


def check_losses(cur: duckdb.DuckDBPyConnection, case: Case) -> None:
    frame = losses.loss_series(cur, ["run"], max_bins=case.max_bins, x="time")
    finite = np.flatnonzero(np.isfinite(case.losses))
    odd_tail = case.steps[finite[-1] + 1 if len(finite) else 0 :]
    odd_from = odd_tail[0] if len(odd_tail) else None
    for row, span in zip(frame.sort("bin").to_dicts(), bins_of(frame, case), strict=True):
        part = case.losses[span][np.isfinite(case.losses[span])]
        figures = [row["lm_loss"], row["lm_loss_min"], row["lm_loss_max"]]
        assert row["lm_loss_not_finite"] == span.stop - span.start - len(part)
        assert row["not_finite_from"] == odd_from
        if not len(part):
            assert figures == [None] * 3
            continue
        np.testing.assert_allclose(figures, [part.mean(), part.min(), part.max()])
        np.testing.assert_allclose(row["perplexity"], np.exp(part.mean()))
        assert row["x"] == row["last_step"] * 2.0
        assert row["samples"] == span.stop - span.start
