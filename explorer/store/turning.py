"""Windows of samples in which bias updates reverse their direction (the episode `turning`).

Differences along the samples are taken in numpy: a window function of SQL would sort every row by expert, a
third of what an ingest costs. L layers, S samples, W windows, P samples of a window, E experts.
"""

import duckdb
import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.store.load_grid import LoadGrid, read_grid

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


def collect_turning(cur: duckdb.DuckDBPyConnection, run_key: int, start: int, stop: int) -> None:
    """Make the temporary table `turning`: layer, place (number of the window), first_step, last_step, value
    (share of reversed updates), one row per layer and window that oscillates.

    start, stop: ordinals, multiples of the window's length.
    """
    grid = read_grid(cur, run_key, start, stop)
    share_LW, is_turning_LW = _reversed(grid)
    layer, window = np.nonzero(is_turning_LW)
    given = {
        "layers": grid.layer_L[layer].tolist(),
        "places": (start // STEPS + window).tolist(),
        "shares": share_LW[layer, window].tolist(),
    }
    cur.execute(TURNING, {"run_key": run_key, **given})


def _reversed(grid: LoadGrid) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[L, W] the share of reversed updates among those that are known, and whether the window oscillates."""
    shape = (len(grid.layer_L), -1, STEPS, grid.bias_LSE.shape[2])
    known, turned = [], []
    for bias_SE in grid.bias_LSE:  # a layer fits into the processor's cache
        with np.errstate(invalid="ignore", over="ignore"):
            moves_WPE = np.diff(bias_SE.reshape(shape[1:]), axis=1)
            turns_WPE = moves_WPE[:, 1:] * moves_WPE[:, :-1]
        is_known_WPE = np.isfinite(turns_WPE) & (turns_WPE != 0)
        known.append(is_known_WPE.sum(axis=(1, 2)))
        turned.append((is_known_WPE & (turns_WPE < 0)).sum(axis=(1, 2)))
    known_LW, turned_LW = np.array(known), np.array(turned)
    present_LW = grid.is_present_LSE.reshape(shape).any(axis=2).sum(axis=2)
    share_LW = turned_LW / np.maximum(known_LW, 1)
    is_enough_LW = known_LW >= metrics.OSCILLATION_MOVES * present_LW * (STEPS - 2)
    return share_LW, (share_LW >= metrics.OSCILLATION_SHARE) & (known_LW > 0) & is_enough_LW
