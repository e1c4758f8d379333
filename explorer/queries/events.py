"""Events of a run: recorded ones, and those detected from its metrics.

Detected events are read from `episodes`, which is updated at ingest
(`explorer/store/episodes.py`), so a view's cost does not depend on the run's length. Definitions:
`explorer/metrics/events.py`.
"""

from collections.abc import Sequence

import polars as pl

from explorer import metrics
from explorer.queries._frames import Cursor, frame

MOST_EVENTS = 300
"""Maximum number of a run's events on a page; `event_counts` counts them all."""

_WHOLE = f"""
    CASE kind WHEN 'idle' THEN samples >= {metrics.DEAD_STEPS}
              WHEN 'low' THEN samples >= {metrics.COLLAPSE_STEPS} ELSE true END
"""
"""Whether an episode is long enough; a shorter one is kept only because it may grow."""

EVERY = f"""
    WITH lasting AS (
        SELECT run_id, kind, layer, expert, first_step, end_step, samples, peak, peak_step FROM episodes
        WHERE list_contains($run_ids::VARCHAR[], run_id) AND {_WHOLE}
    ), every AS (
        SELECT run_id, CASE kind WHEN 'spike' THEN peak_step ELSE first_step END AS step, layer, expert,
               CASE kind WHEN 'idle' THEN 'death' WHEN 'low' THEN 'collapse' WHEN 'turning' THEN 'oscillation'
                         WHEN 'wide' THEN 'bias_saturation' WHEN 'settled' THEN 'choices_settled'
                         WHEN 'spike' THEN 'loss_spike' WHEN 'odd_loss' THEN 'loss_not_finite'
                         WHEN 'odd_bias' THEN 'bias_not_finite' END AS kind,
               end_step, samples, peak, NULL AS detail, 'detected' AS source
        FROM lasting
        UNION ALL
        SELECT run_id, end_step, layer, expert, CASE kind WHEN 'idle' THEN 'revival' ELSE 'recovery' END,
               end_step, samples, peak, NULL, 'detected'
        FROM lasting WHERE kind IN ('idle', 'low') AND end_step IS NOT NULL
        UNION ALL
        SELECT run_id, step, layer, expert, kind, NULL, NULL, NULL, detail, 'recorded'
        FROM events WHERE list_contains($run_ids::VARCHAR[], run_id)
    )
"""

_SPAN = "samples || CASE samples WHEN 1 THEN ' recorded step' ELSE ' recorded steps' END"
_VALUE = "CASE WHEN isnan(peak) THEN 'NaN' WHEN peak > 0 THEN 'infinite' ELSE 'minus infinity' END"
_UNTIL = "coalesce(', until step ' || end_step, ', to the last one')"
DETAIL = f"""
    CASE WHEN source = 'recorded' THEN detail ELSE CASE kind
        WHEN 'death' THEN 'no token in ' || {_SPAN} || {_UNTIL}
        WHEN 'revival' THEN 'first token after ' || {_SPAN} || ' without one'
        WHEN 'collapse' THEN 'effective experts at most half for ' || {_SPAN} || {_UNTIL}
        WHEN 'recovery' THEN 'effective experts above half again after ' || {_SPAN}
        WHEN 'oscillation' THEN 'up to ' || round(100 * peak)::INTEGER || ' % of the bias updates in a '
            || 'window of {metrics.OSCILLATION_STEPS} recorded steps reverse direction, for ' || {_SPAN}
        WHEN 'bias_saturation' THEN 'largest and smallest bias more than {metrics.WIDE_SPREAD:g} apart'
        WHEN 'choices_settled' THEN floor(100 * peak)::INTEGER || ' % of the choices of the last probe (step '
            || end_step || ') already made'
        WHEN 'loss_not_finite' THEN 'language loss ' || {_VALUE} || ' in ' || {_SPAN} || {_UNTIL}
        WHEN 'bias_not_finite' THEN 'bias ' || {_VALUE} || ' in ' || {_SPAN} || {_UNTIL}
        WHEN 'loss_spike' THEN 'language loss ' || printf('%.2f', peak) || ' nats above the median of the '
            || '{metrics.SPIKE_STEPS} recorded steps before'
    END END
"""
"""The text of an event of EVERY, only for rows that are shown."""


def events(cur: Cursor, run_id: str, most: int = MOST_EVENTS) -> pl.DataFrame:
    """The events of a run, at most `most` rows: the earliest of each kind, evenly over kinds if possible.

    Columns: step, layer (NULL: not layer-specific), expert (NULL: not expert-specific), kind
    (of `metrics.events`, or recorded by a trainer), detail (text), source (recorded or detected). By step.
    """
    return events_of_runs(cur, [run_id], most).drop("run_id")


def events_of_runs(cur: Cursor, run_ids: Sequence[str], most: int = MOST_EVENTS) -> pl.DataFrame:
    """The same for several runs, `run_id` before the other columns; in the order of `run_ids`, by step."""
    return frame(
        cur,
        f"""{EVERY}, numbered AS (
            SELECT *, row_number() OVER (
                PARTITION BY run_id, kind ORDER BY step, layer, expert
            ) AS nth FROM every QUALIFY nth <= $most
        ), kept AS (
            SELECT * FROM numbered
            QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY nth, kind) <= $most
        )
        SELECT run_id, step, layer, expert, kind, {DETAIL} AS detail, source FROM kept
        ORDER BY list_position($run_ids::VARCHAR[], run_id), step, kind, layer, expert, detail""",
        run_ids=list(run_ids),
        most=most,
    )


def event_counts(cur: Cursor, run_ids: Sequence[str]) -> pl.DataFrame:
    """Number of events per run and kind, including those that `events` leaves out.

    Columns: run_id, kind, events, layers (the layers concerned, a list), first_step, last_step, source.
    Sorted by run, first step and kind.
    """
    return frame(
        cur,
        f"""{EVERY}
        SELECT run_id, kind, count(*) AS events,
               coalesce(list(DISTINCT layer ORDER BY layer) FILTER (layer IS NOT NULL), []) AS layers,
               min(step) AS first_step, max(step) AS last_step, max(source) AS source
        FROM every GROUP BY run_id, kind
        ORDER BY list_position($run_ids::VARCHAR[], run_id), first_step, kind""",
        run_ids=list(run_ids),
    )
