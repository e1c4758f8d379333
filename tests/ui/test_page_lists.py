"""A new page stands in every list of pages that the app and its rules read."""

from configparser import ConfigParser
from pathlib import Path

from explorer.figures.views import NAMES
from explorer.ui.shared.links import CARDS

ROOT = Path(__file__).parents[2]
PAGES = {file.stem for file in (ROOT / "pages").glob("*.py")}
FIRST = "overview"


def test_every_page_can_be_opened_and_linked() -> None:
    navigation = (ROOT / "explorer" / "ui" / "main.py").read_text(encoding="utf-8")
    assert {page for page in PAGES if f'PAGES / "{page}.py"' in navigation} == PAGES
    assert {FIRST, *CARDS} == PAGES
    assert set(NAMES) <= PAGES


def test_no_folder_of_a_page_is_left_out_of_the_contract() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    listed = contracts["importlinter:contract:pages"]["modules"].split()
    folders = {file.parent.name for file in (ROOT / "explorer" / "ui").glob("*/__init__.py")}
    assert {name.rpartition(".")[2] for name in listed} == folders - {"shared", "server", "components"}
