"""The logged values around one bias update of a layer."""

import polars as pl

from explorer.queries._frames import Cursor, frame


def bias_step(cur: Cursor, run_id: str, layer: int, step: int) -> pl.DataFrame:
    """The last recorded step at or before `step`: its counts, the bias used in it and the bias after it.

    Columns: step, expert, tokens, expert_bias (used in that step), logged (the bias of the step right after
    it: of the next training step, else of an evaluation there; NULL where neither is recorded), logged_in
    (training or evaluation), next_step (the next recorded one, or NULL). Sorted by expert.
    """
    return frame(
        cur,
        """
        WITH here AS (
            SELECT max(step) FILTER (step <= $step) AS step, min(step) FILTER (step > $step) AS next_step
            FROM layer_metrics WHERE run_id = $run_id AND layer = $layer
        ), used AS (
            SELECT l.step, expert, tokens, expert_bias
            FROM expert_loads l, here WHERE run_id = $run_id AND layer = $layer AND l.step = here.step
        ), trained AS (
            SELECT expert, expert_bias
            FROM expert_loads l, here WHERE run_id = $run_id AND layer = $layer AND l.step = here.step + 1
        ), evaluated AS (
            SELECT expert, any_value(expert_bias) AS expert_bias
            FROM eval_loads l, here
            WHERE run_id = $run_id AND layer = $layer AND l.step = here.step + 1 GROUP BY expert
        )
        SELECT u.step, u.expert, u.tokens, u.expert_bias, coalesce(t.expert_bias, e.expert_bias) AS logged,
               CASE WHEN t.expert_bias IS NOT NULL THEN 'training'
                    WHEN e.expert_bias IS NOT NULL THEN 'evaluation' END AS logged_in,
               here.next_step
        FROM used u CROSS JOIN here LEFT JOIN trained t USING (expert) LEFT JOIN evaluated e USING (expert)
        ORDER BY u.expert
        """,
        run_id=run_id,
        layer=layer,
        step=step,
    )
