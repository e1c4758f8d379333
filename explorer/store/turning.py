"""Windows of samples in which bias updates reverse their direction (the episode `turning`).

Differences along the samples are taken in numpy: a window function of SQL would sort every row by expert, a
third of what an ingest costs. S samples, W windows, P samples of a window, C cells (experts of all layers).
"""

from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from explorer import metrics

STEPS = metrics.OSCILLATION_STEPS

TURNING = f"""
CREATE OR REPLACE TEMP TABLE turning AS
SELECT w.layer, w.place, min(m.step) AS first_step, max(m.step) AS last_step, any_value(w.value) AS value
FROM (
    SELECT unnest($layers::INTEGER[]) AS layer, unnest($places::INTEGER[]) AS place,
           unnest($shares::DOUBLE[]) AS value
) w
JOIN raw.layer_metrics m ON m.layer = w.layer AND m.ordinal // {STEPS} = w.place
WHERE m.run_key = $run_key GROUP BY w.layer, w.place
"""


@dataclass(frozen=True)
class _Biases:
    """Biases of some samples, with every row in its place."""

    bias_SC: NDArray[np.float64]
    """NaN where NULL or without a row."""
    is_present_SC: NDArray[np.bool_]
    layer_C: NDArray[np.int32]


def collect_turning(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int) -> None:
    """Make the temporary table `turning`: layer, place (number of the window), first_step, last_step, value
    (share of reversed updates), one row per layer and window that oscillates.

    start, stop: ordinals, multiples of the window's length.
    """
    biases = _read(cur, run_key, start, stop)
    windows = biases.bias_SC.reshape(-1, STEPS, len(biases.layer_C))
    with np.errstate(invalid="ignore", over="ignore"):
        moves_WPC = np.diff(windows, axis=1)
        turns_WPC = moves_WPC[:, 1:] * moves_WPC[:, :-1]
    is_known_WPC: NDArray[np.bool_] = np.asarray(np.isfinite(turns_WPC) & (turns_WPC != 0))
    known_WC = is_known_WPC.sum(axis=1)
    reversed_WC = (is_known_WPC & (turns_WPC < 0)).sum(axis=1)
    present_WC: NDArray[np.bool_] = np.asarray(biases.is_present_SC.reshape(windows.shape).any(axis=1))
    layers: list[int] = []
    places: list[int] = []
    shares: list[float] = []
    for layer in np.unique(biases.layer_C).tolist():
        cells = biases.layer_C == layer
        known_W = known_WC[:, cells].sum(axis=1)
        share_W = reversed_WC[:, cells].sum(axis=1) / np.maximum(known_W, 1)
        possible_W = present_WC[:, cells].sum(axis=1) * (STEPS - 2)
        is_turning_W = (share_W >= metrics.OSCILLATION_SHARE) & (known_W > 0)
        is_turning_W &= known_W >= metrics.OSCILLATION_MOVES * possible_W
        for window in np.flatnonzero(is_turning_W).tolist():
            layers.append(layer)
            places.append(start // STEPS + window)
            shares.append(float(share_W[window]))
    cur.execute(TURNING, {"run_key": run_key, "layers": layers, "places": places, "shares": shares})


def _read(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int) -> _Biases:
    rows = cur.execute(
        "SELECT layer, expert, ordinal, expert_bias FROM raw.expert_loads "
        "WHERE run_key = ? AND ordinal >= ? AND ordinal < ?",
        [run_key, start, stop],
    ).pl()
    layers, row_layer = np.unique(rows["layer"].to_numpy(), return_inverse=True)
    width = int(rows["expert"].max()) + 1 if len(rows) else 1  # type: ignore[arg-type]
    cell = (rows["ordinal"].to_numpy() - start) * (len(layers) * width)
    cell = cell + row_layer * width + rows["expert"].to_numpy()
    bias = np.full((stop - start, len(layers) * width), np.nan)
    is_present = np.zeros(bias.shape, dtype=np.bool_)
    bias.reshape(-1)[cell] = rows["expert_bias"].cast(float).fill_null(np.nan).to_numpy()
    is_present.reshape(-1)[cell] = True
    return _Biases(bias, is_present, np.repeat(layers, width).astype(np.int32))
