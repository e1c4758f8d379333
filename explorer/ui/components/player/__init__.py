"""The heatmap player: one canvas that plays the loads of a run at the browser's own pace.

A Streamlit Custom Component v2. Its JavaScript is ES modules, which `components.modules` hands to the browser
without a build step.
"""

from explorer.ui.components.player.component import Lead, Mark, PlayerEvent, heatmap_player
from explorer.ui.components.player.payload import matrix_payload
from explorer.ui.components.player.step_words import step_in_words

__all__ = [
    "Lead",
    "Mark",
    "PlayerEvent",
    "heatmap_player",
    "matrix_payload",
    "step_in_words",
]
