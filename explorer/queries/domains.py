"""Expert load by domain of the text."""

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
    total = pl.col("tokens").sum().over("domain")
    ratio = pl.col("tokens") * pl.len().over("domain") / total
    return rows.with_columns(load_ratio=pl.when(total > 0).then(ratio)).sort("domain", "expert")
