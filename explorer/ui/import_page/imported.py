"""The runs that have been imported into this app, each with a way to open and to delete it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from explorer.errors import ExplorerError
from explorer.figures.arms import Run
from explorer.recording.info import REPLICAS
from explorer.ui.server.services import services
from explorer.ui.shared import cached, links, show, state
from explorer.wording import counted

MOST_LISTED = 20
PROBLEM = state.Slot("imported_problem", "")
"""Why the last run could not be deleted."""


def imported_runs() -> list[Run]:
    """The imported runs in the folder that this app writes to, newest first."""
    folder = services().settings.own_runs
    return [
        run
        for run in cached.list_runs()
        if run.is_imported and Path(run.path).parent == folder and Path(run.path).exists()
    ]


def show_imported() -> None:
    """A folded list; nothing where nothing has been imported."""
    runs = imported_runs()
    problem = PROBLEM.take()
    if problem:
        st.error(show.plain(problem), icon=":material/error:")
    if not runs:
        return
    with st.expander(f"Imported runs ({len(runs)})", icon=":material/folder:", expanded=bool(problem)):
        for run in runs[:MOST_LISTED]:
            with st.container(horizontal=True, vertical_alignment="center", key=f"imported_{run.run_id}"):
                st.markdown(
                    f"**{show.plain(run.title or run.label)}** · {show.plain(run.run_id)}", width="stretch"
                )
                open_link(run)
                deletion(run.run_id, _delete)
        if len(runs) > MOST_LISTED:
            show.note(
                f"and {counted(len(runs) - MOST_LISTED, 'older run')}; delete one of these to see more."
            )


def open_link(run: Run) -> None:
    """To the page that can show the run: a placement, or scalars alone, have no loads to replay."""
    if run.num_moe_layers and run.kind_of_loads.unit != REPLICAS:
        links.page("replay", "Open in Replay", run=run.run_id)
    else:
        links.page("compare", "Open in Compare", runs=run.run_id)


def deletion(run_id: str, delete: Callable[[str], None]) -> None:
    """A button behind a question: nothing brings a deleted run back."""
    with st.popover("Delete this run", icon=":material/delete:", type="tertiary"):
        st.markdown("Its loads and its report are deleted for every visitor. The file can be imported again.")
        st.button("Delete", key=f"import_delete_{run_id}", on_click=delete, args=(run_id,), type="primary")


def _delete(run_id: str) -> None:
    try:
        services().imports.delete_imported(run_id)
    except ExplorerError as error:
        PROBLEM.put(str(error))
    services().ingest.wake()
