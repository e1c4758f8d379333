"""The table of runs."""

from collections.abc import Sequence

import streamlit as st

from explorer.ui import cached
from explorer.ui.arms import Run


def show(runs: Sequence[Run]) -> None:
    """Every run with its figures and a link into Replay; unreadable ones with the reason."""
    st.subheader("The runs")
    readable = [run for run in runs if run.is_readable]
    if readable:
        figures = {row["run_id"]: row for row in cached.summary(cached.versions(readable)).to_dicts()}
        rows = [_row(run, figures.get(run.run_id, {})) for run in readable]
        st.dataframe(
            rows,
            hide_index=True,
            height=min(420, 38 + 35 * len(rows)),
            alt=f"Table of {len(rows)} recorded runs with their figures",
            column_config={
                "replay": st.column_config.LinkColumn("", display_text="replay", width="small"),
                "run": st.column_config.TextColumn("run", width="medium"),
                "perplexity": st.column_config.NumberColumn(format="%.2f"),
                "MaxVio held-out": st.column_config.NumberColumn(format="%.3f"),
                "worst layer": st.column_config.NumberColumn(format="%.3f"),
                "MaxVio last steps": st.column_config.NumberColumn(format="%.3f"),
            },
        )
    for run in runs:
        if not run.is_readable:
            st.warning(f"**{run.run_id}** cannot be read: {run.problem}", icon=":material/folder_off:")


def _row(run: Run, figures: dict[str, object]) -> dict[str, object]:
    return {
        "run": run.run_id,
        "replay": f"/replay?run={run.run_id}",
        "balancing": run.label,
        "seed": run.seed,
        "preset": run.preset,
        "state": run.state,
        "steps": run.last_step + 1,
        "perplexity": figures.get("perplexity"),
        "MaxVio held-out": figures.get("max_vio_global"),
        "worst layer": figures.get("worst_max_vio"),
        "MaxVio last steps": figures.get("max_vio_batch"),
        "from": "shipped" if run.shipped else "own",
    }
