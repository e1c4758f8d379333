"""The probe batch as text: every token a chip in the colour of its experts, to be clicked or walked by key.

A Streamlit Custom Component v2 of ES modules, as `explorer/ui/components/player`.
"""

from explorer.ui.components.token_text.component import TokenPick, token_text
from explorer.ui.components.token_text.payload import PALETTE

__all__ = ["PALETTE", "TokenPick", "token_text"]
