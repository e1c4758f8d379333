"""The report of an import: what was assumed, left out, or does not add up."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from explorer.errors import ExplorerError
from explorer.figures.arms import Run
from explorer.recording import RunFolder
from explorer.ui.shared import show

REPORT = "import_report"
MAX_ENTRIES = 200
MAX_LETTERS = 1000
HEADINGS = {
    "warning": "Does not add up",
    "left_out": "Left out",
    "assumption": "Assumed",
    "note": "Notes",
}
"""By severity, the most severe first."""


def of_run(run: Run, name: str = "") -> None:
    """The report kept with an imported run, folded; nothing for any other run. name: of several runs."""
    entries = read_entries(run.path)
    if not entries:
        return
    doubts = sum(entry["severity"] != "note" for entry in entries)
    title = f"Imported: assumptions and doubts ({doubts})"
    with st.expander(f"{title}: {show.plain(name)}" if name else title, icon=":material/rule:"):
        show_entries(entries, again=True)


def read_entries(path: str) -> list[dict[str, str]]:
    """The entries of a run folder's report; [] where there is none, or one that cannot be read."""
    try:
        document = RunFolder(path).document(REPORT)
    except (ExplorerError, OSError):
        return []
    listed = document.get("entries") if isinstance(document, dict) else None
    return checked(listed if isinstance(listed, list) else [])


def checked(entries: Sequence[Any]) -> list[dict[str, str]]:
    """The entries that have a severity and a sentence; a run folder may come from anybody."""
    return [
        {name: str(entry.get(name, ""))[:MAX_LETTERS] for name in ("severity", "sentence", "place")}
        for entry in entries[:MAX_ENTRIES]
        if isinstance(entry, Mapping) and entry.get("severity") in HEADINGS and entry.get("sentence")
    ]


def show_entries(entries: Sequence[Mapping[str, str]], *, again: bool = False) -> None:
    """The sentences by severity, each with its place in the file. again: as in `in_page_words`."""
    for severity, heading in HEADINGS.items():
        lines = [_line(entry, again) for entry in entries if entry["severity"] == severity]
        if lines:
            st.markdown(f"**{heading}**\n\n" + "\n".join(lines))


def _line(entry: Mapping[str, str], again: bool) -> str:
    place = f" :gray[:small[({show.plain(_one_line(entry['place']))})]]" if entry["place"] else ""
    sentence = in_page_words(_one_line(entry["sentence"]), again=again)
    return f"- {show.plain(sentence)}{place}"


def _one_line(text: str) -> str:
    """On one line, so that it stays one item of the list."""
    return " ".join(text.split())


def in_page_words(sentence: str, *, again: bool = False) -> str:
    """A sentence of the command line with the names of the Import page's fields.

    again: the file has been imported, and the sentence is read elsewhere.

    >>> in_page_words("a.csv: fits none; name one with --format, out of esft, table.")
    'a.csv: fits none; choose the format above.'
    >>> in_page_words("K is unknown; give it with --option top_k=8.")
    'K is unknown; fill in top_k, e.g. 8.'
    >>> in_page_words("K is unknown; give it with --option top_k=8.", again=True)
    'K is unknown; import the file again with top_k, e.g. 8.'
    """
    fill_in = "import the file again with" if again else "fill in"
    sentence = re.sub(r"name one with --format, out of .*", "choose the format above.", sentence, flags=re.S)
    sentence = re.sub(
        r"give it with --option (\w+)=(…, e\.g\. --option \w+=)?", rf"{fill_in} \1, e.g. ", sentence
    )
    return sentence.replace("--option ", "option ")
