"""The files of the app itself."""

from pathlib import Path

from explorer.config.places import ROOT

PAGES = ROOT / "pages"
ICON = Path(__file__).parents[1] / "icon.png"
"""The page's icon, from here: Streamlit would fetch one of its own from another site."""
