"""The numbers of the lesson on service, against the run folders themselves, slow and obvious."""

import numpy as np
import polars as pl
import pytest
from app_pages import Opener
from facts import fact
from shipped_tables import table

from explorer.routing import placement

pytestmark = pytest.mark.slow
RUN = "loss_free-seed0"


def last_quarter() -> np.ndarray:
    """[L, E]"""
    rows = table(RUN, "expert_loads").filter(pl.col("step") >= 600)
    sums = rows.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
    return sums["tokens"].to_numpy().reshape(4, 16)


def digits() -> np.ndarray:
    """[R, L, E] of batches of six held-out sequences."""
    rows = table(RUN, "sequence_loads").filter(split="held_out", domain="digits")
    batches = [rows.filter(pl.col("sequence") // 6 == batch) for batch in range(8)]
    sums = [part.group_by("layer", "expert").agg(pl.col("tokens").sum()) for part in batches]
    return np.stack([part.sort("layer", "expert")["tokens"].to_numpy().reshape(4, 16) for part in sums])


def max_vio(counts_LE: np.ndarray) -> float:
    return float(np.mean([max(row) / (sum(row) / len(row)) - 1 for row in counts_LE.tolist()]))


def slow_time(slots: list[list[int]], batches: np.ndarray) -> float:
    """Busiest over mean GPU of four GPUs, mean over layers."""
    times = []
    for layer, row in enumerate(slots):
        size = len(row) // 4
        longest = 0.0
        for counts in batches[:, layer].tolist():
            loads = [sum(counts[e] / row.count(e) for e in row[g * size : (g + 1) * size]) for g in range(4)]
            longest += max(loads)
        times.append(longest / (batches[:, layer].sum() / 4))
    return float(np.mean(times))


def test_the_facts_of_the_lesson_on_service(open_shipped: Opener) -> None:
    open_shipped("glossary")
    assert fact("served_max_vio[loss_free; 4]") == pytest.approx(max_vio(last_quarter()))
    assert fact("served_max_vio[loss_free; held-out digits]") == pytest.approx(max_vio(digits().sum(0)))
    contiguous = [list(range(16))] * 4
    planned = placement.plan(last_quarter(), slots=20, gpus=4).tolist()
    before, after = slow_time(contiguous, digits()), slow_time(planned, digits())
    named = "served_time[loss_free; 4; held-out digits; {}]"
    assert fact(named.format("before")) == pytest.approx(before)
    assert fact(named.format("after")) == pytest.approx(after)
    assert fact(named.format("saved")) == pytest.approx(1 - after / before)
