"""What the Overview says of the first lesson, read without the libraries that check a whole lesson.

They take a third of a second to load. A lesson with mistakes is not left out here: its page names them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from explorer.config.places import ROOT
from explorer.course.files import FileProblem, read_toml

LESSONS = ROOT / "lessons"
DEFAULT_MINUTES = 3
"""For a lesson that does not say how long it takes."""


@dataclass(frozen=True, kw_only=True)
class LessonCard:
    """The head of a lesson."""

    slug: str
    question: str
    minutes: int


def first_card(folder: Path) -> LessonCard | None:
    """The first lesson of a folder with a question, in the order of the file names."""
    return next((card for path in sorted(folder.glob("*.toml")) if (card := _card(path))), None)


def _card(path: Path) -> LessonCard | None:
    try:
        lesson = read_toml(path)
    except FileProblem:
        return None
    question, minutes = lesson.get("question"), lesson.get("minutes", DEFAULT_MINUTES)
    if not isinstance(question, str) or not isinstance(minutes, int):
        return None
    return LessonCard(slug=slug_of(path), question=question, minutes=minutes)


def slug_of(path: Path) -> str:
    """The file's name without its number: `02-what-maxvio-measures.toml` becomes `what-maxvio-measures`."""
    return re.sub(r"^\d+-", "", path.stem)
