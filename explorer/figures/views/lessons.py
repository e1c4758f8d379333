"""The Lessons page: the figure of one step of a lesson."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.course.lessons import Course, Lesson, Step
from explorer.figures import course as course_files
from explorer.figures.arms import Run
from explorer.figures.facts.recorded import MissingRun, RecordedRuns
from explorer.figures.store import Store
from explorer.figures.views.address import MOST_LETTERS, Address
from explorer.figures.views.lesson_panels import PANELS, LessonFigure
from explorer.figures.views.view import OpenView, Query


@dataclass(frozen=True, kw_only=True)
class LessonSettings:
    """Which step of which lesson an address names."""

    lesson: str
    """Its name in an address; empty for the list of lessons."""
    part: int = 1
    """The step, from 1."""


def read(query: Query, course: Course, notices: list[str]) -> LessonSettings:
    """The settings of an address; a sentence joins `notices` for every value that does not fit."""
    names = query.get("lesson") or ()
    if not names:
        return LessonSettings(lesson="")
    lesson = course.find(names[-1])
    if lesson is None:
        notices.append(unknown_lesson(names[-1]))
        return LessonSettings(lesson="")
    address = Address(query, notices)
    return LessonSettings(lesson=lesson.slug, part=address.number("part", 1, len(lesson.steps), 1))


def unknown_lesson(name: str) -> str:
    """The notice for an address that names a lesson that is not here."""
    short = name if len(name) <= MOST_LETTERS else f"{name[:MOST_LETTERS]}…"
    return f"The link names the lesson “{short}”, which is not here. The whole course is shown."


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """The panels of one step, as they stand after the guess; none for the list of lessons."""
    course = course_files.course()
    notices: list[str] = []
    settings = read(query, course, notices)
    lesson = course.find(settings.lesson)
    if lesson is None:
        return OpenView(title="Lessons", questions=(), notices=tuple(notices))
    address = {"lesson": (lesson.slug,), "part": (str(settings.part),)}
    try:
        figure = figure_of(
            RecordedRuns(store, tuple(runs)), lesson.steps[settings.part - 1], lesson.slug, settings.part
        )
    except MissingRun as error:
        notices.append(str(error))
        return OpenView(title=title_of(course, lesson), questions=(), notices=tuple(notices), query=address)
    questions = () if figure is None else figure.questions
    return OpenView(
        title=title_of(course, lesson), questions=questions, notices=tuple(notices), query=address
    )


def title_of(course: Course, lesson: Lesson) -> str:
    """`3 · What MaxVio measures`: the title with its number in the course."""
    return f"{course.lessons.index(lesson) + 1} · {lesson.title}"


def figure_of(
    recorded: RecordedRuns, step: Step, lesson: str, part: int, *, before: bool = False
) -> LessonFigure | None:
    """The figure of one step; `before` the guess only the part that may be seen, None without one.

    Raises MissingRun where a run is not here, ConfigError for settings that no run can answer.
    """
    keys, name = dict(step.keys), f"lesson_{lesson}_{part}"
    if before:
        visible = step.prediction.before if step.prediction else {}
        if not visible:
            return None
        keys, name = {**keys, **visible}, f"{name}_before"
    return PANELS[step.panel].open(recorded, keys, name)
