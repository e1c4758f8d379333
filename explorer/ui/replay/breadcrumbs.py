"""The path run / layer / expert / step above a replay; every part is a link one level up."""

import streamlit as st

from explorer.figures.arms import Run
from explorer.ui.components.player import step_in_words
from explorer.ui.replay import playhead
from explorer.ui.server.places import PAGES
from explorer.ui.shared import show

_FLUSH = """
.st-key-crumbs [data-testid="stPageLink-NavLink"] { padding: 0; }
.st-key-crumbs button { min-height: 0; }
"""


def row(run: Run, layer: int, expert: int | None) -> None:
    """The path, outside of the fragment that follows the playhead: the browser updates the step in it."""
    st.html(f"<style>{_FLUSH}</style>")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="crumbs"):
        st.page_link(PAGES / "overview.py", label="All runs", help="The table of runs", width="content")
        _slash()
        # A link: `st.switch_page` refuses to leave a page whose widgets are bound to the address.
        st.page_link(
            PAGES / "compare.py",
            label=show.plain(run.short if run.seed is None else f"{run.short}, seed {run.seed}"),
            query_params={"runs": run.run_id},
            help="The whole run, in Compare",
            width="content",
        )
        _slash()
        if expert is None:
            st.markdown(f":small[layer {layer}]")
        else:
            st.button(
                f"layer {layer}",
                type="tertiary",
                key="crumb_layer",
                on_click=playhead.single_out,
                args=(None,),
                help="Back to all experts of the layer",
            )
            _slash()
            st.button(
                f"expert {expert}",
                type="tertiary",
                key="crumb_expert",
                on_click=playhead.go_to,
                args=(run.last_step,),
                help="Jump to the last step",
            )
        _slash()
        step_in_words(key="crumb_step")


def _slash() -> None:
    show.note("/")
