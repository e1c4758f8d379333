"""The heatmap player: one canvas that plays the loads of a run at the browser's own pace.

A Streamlit Custom Component v2. Its JavaScript and CSS are plain package files, joined on import; there
is no build step.
"""

from explorer.ui.components.player.component import Mark, PlayerEvent, heatmap_player
from explorer.ui.components.player.payload import matrix_payload
from explorer.ui.components.player.rest import step_at_rest, step_in_words

__all__ = [
    "Mark",
    "PlayerEvent",
    "heatmap_player",
    "matrix_payload",
    "step_at_rest",
    "step_in_words",
]
