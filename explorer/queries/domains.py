"""Expert load by domain of the text."""

from collections.abc import Sequence

import polars as pl

from explorer.queries._frames import Cursor, frame


def domain_expert(cur: Cursor, run_id: str, layer: int, step: int | None = None) -> pl.DataFrame:
    """Held-out loads of a layer by domain.

    step: an evaluation's step; None takes the last one. Columns: domain, expert, tokens, load_ratio
    (tokens over the domain's uniform load). Sorted by domain and expert.
    """
    last = """(
        SELECT max(step) FROM eval_loads WHERE run_id = $run_id AND layer = $layer AND split = 'held_out'
    )"""
    rows = frame(
        cur,
        f"""
        SELECT domain, expert, tokens FROM eval_loads
        WHERE run_id = $run_id AND layer = $layer AND split = 'held_out'
          AND step = {last if step is None else "$step"}
        """,
        run_id=run_id,
        layer=layer,
        **({} if step is None else {"step": step}),
    )
    return _with_ratios(rows)


def domain_expert_of_runs(cur: Cursor, run_ids: Sequence[str], layer: int) -> dict[str, pl.DataFrame]:
    """`domain_expert` at the last evaluation of several runs in one statement: run_id -> its rows.

    A run without such loads has no entry.
    """
    rows = frame(
        cur,
        """
        SELECT run_id, domain, expert, tokens FROM eval_loads
        WHERE list_contains($run_ids::VARCHAR[], run_id) AND layer = $layer AND split = 'held_out'
        QUALIFY step = max(step) OVER (PARTITION BY run_id)
        """,
        run_ids=list(run_ids),
        layer=layer,
    )
    parts = rows.partition_by("run_id", as_dict=True, include_key=False)
    return {str(run_id): _with_ratios(part) for (run_id,), part in parts.items()}


def _with_ratios(rows: pl.DataFrame) -> pl.DataFrame:
    """Loads of a layer by domain with load_ratio, in order."""
    total = pl.col("tokens").sum().over("domain")
    ratio = pl.col("tokens") * pl.len().over("domain") / total
    return rows.with_columns(load_ratio=pl.when(total > 0).then(ratio)).sort("domain", "expert")
