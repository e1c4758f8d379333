"""The roll-ups of the index, read bin by bin."""

from typing import Any

from explorer.queries._frames import choose_bins, frame
from explorer.store.pyramids import LAYERS, MEAN_LAYER


def layer_bins(cur: Any, run_id: str, metric: str, layer: int | None, max_bins: int) -> list[dict[str, Any]]:
    """Bins of one metric of a layer, or of the mean over layers, in order; those without a value left out.

    Keys: first_step, last_step, samples, value (mean over the bin), value_min, value_max.
    """
    bins = choose_bins(cur, run_id, LAYERS, max_bins)
    rows = frame(
        cur,
        f"""
        SELECT first_step, last_step, samples, {metric}_sum / {metric}_count AS value,
               {metric}_min AS value_min, {metric}_max AS value_max
        FROM ({bins.merged("layer = $layer")}) WHERE {metric}_count > 0 ORDER BY bin
        """,
        layer=MEAN_LAYER if layer is None else layer,
        **bins.params,
    )
    return rows.to_dicts()
