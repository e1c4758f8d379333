"""The Lessons page: the course, and one lesson step by step, with a guess before each figure."""

from dataclasses import dataclass
from functools import partial

import streamlit as st

from explorer.course.facts import Facts, filled
from explorer.course.lessons import Course, Lesson, Prediction, Step
from explorer.errors import ExplorerError
from explorer.figures import course as course_files
from explorer.figures.bias_step import gathered
from explorer.figures.bias_updates import Update, expert_of
from explorer.figures.facts import catalogue
from explorer.figures.views.lessons import figure_of, title_of, unknown_lesson
from explorer.metrics import glossary
from explorer.routing.bias_step import BiasStep
from explorer.ui.components.course_menu import course_menu
from explorer.ui.shared import bias_step, links, show, state, urls
from explorer.ui.shared.recorded_runs import recorded_runs

LESSON, PART = "lesson", "part"
"""Parameters of the address, and keys of the session."""
BACK = "lesson_links_back"
"""Key of the container of the link to the course."""
LARGE = (
    "<style>.st-key-lesson_question p, .st-key-lesson_words p, .st-key-lesson_words li"
    " { font-size: 1.15rem; line-height: 1.6 }"
    " .st-key-lesson_words .stRadio label p { font-size: 1.08rem }</style>"
)

Place = tuple[str, int]
"""Lesson and step."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """The answer of a visitor; None for a step that was skipped."""

    option: int | None


OPEN = state.Slot[str | None]("lesson_open", None)
"""The lesson that was open last."""
GUESSES = state.Memo[dict[Place, int]]("lesson_guesses", dict)
"""Options that are marked, but perhaps not yet answered with."""
SHOWN = state.Memo[dict[Place, Guess]]("lesson_shown", dict)
"""The steps whose figure may be seen, with the guess for each."""
DONE = state.Memo[set[str]]("lesson_done", set)
"""Lessons that were read to their end."""
PLACES = state.Memo[dict[str, int]]("lesson_places", dict)
"""The step of each lesson that was open last."""


def view() -> None:
    """The course, or the lesson that the address names."""
    course = course_files.course()
    lesson = _lesson_of_address(course)
    if lesson is None:
        st.title("Lessons")
        urls.show_notices(LESSON)
        _list(course)
    else:
        _lesson(course, lesson)


def _lesson_of_address(course: Course) -> Lesson | None:
    """The lesson of the address; a widget would write its title there instead of the short name."""
    names = urls.values_of(LESSON)
    lesson = course.find(names[-1]) if names else None
    state.put(LESSON, lesson.slug if lesson else "")
    if names and lesson is None:
        urls.notice(LESSON, unknown_lesson(urls.quoted(names[-1])))
        del st.query_params[LESSON]
    return lesson


def _list(course: Course) -> None:
    st.markdown(
        "Short lessons on load balancing in mixture-of-experts models. Each asks for your guess before it "
        "shows a chart; the right answer is computed from recorded runs of small models, or from a "
        "simulation, which is then labelled as such. Start anywhere."
    )
    for sentence in course.problems:
        st.warning(show.plain(sentence), icon=":material/draft:")
    grid = st.container(key="lesson_links").grid(3, min_column_width=290)
    for number, lesson in enumerate(course, start=1):
        with grid.container(border=True, height="stretch"):
            links.page("lessons", f"{number} · {lesson.title}", lesson=lesson.slug, **_resumed(lesson))
            st.markdown(show.plain(lesson.question))
            size = f"{len(lesson.steps)} steps, about {lesson.minutes} minutes"
            show.note(f"{size}{_progress(lesson)}", markdown=True)


def _progress(lesson: Lesson) -> str:
    """Whether the visitor has read the lesson to its end, or how far."""
    if lesson.slug in DONE.get():
        return " · :green[:material/check: done]"
    part = _resumed(lesson).get(PART)
    return f" · :blue[:material/bookmark: continue at step {part}]" if part else ""


def _resumed(lesson: Lesson) -> dict[str, int]:
    """The parameter of the step at which the visitor left the lesson; a finished one begins anew."""
    part = PLACES.get().get(lesson.slug, 1)
    return {PART: part} if part > 1 and lesson.slug not in DONE.get() else {}


def _lesson(course: Course, lesson: Lesson) -> None:
    with st.container(key=BACK, gap=None):
        links.page("lessons", "All lessons")
        course_menu(BACK)
    st.title(title_of(course, lesson))
    st.html(LARGE)
    st.container(key="lesson_question").markdown(f"**{show.plain(lesson.question)}**")
    _read_part(lesson)
    urls.show_notices(PART)
    _step(course, lesson)
    _terms(lesson)


def _read_part(lesson: Lesson) -> None:
    """Put the step of the address into the session; another lesson begins at its first step."""
    parts = list(range(1, len(lesson.steps) + 1))
    if OPEN.get() != lesson.slug:
        state.forget(PART)
        OPEN.put(lesson.slug)
    urls.prepare_choice(
        PART,
        parts,
        1,
        lambda value: (
            f"The link names step {value}; this lesson has the steps 1 to {parts[-1]}. "
            "The first one is shown."
        ),
    )


@st.fragment
def _step(course: Course, lesson: Lesson) -> None:
    """One step: text on the left, its figure on the right. Only this reruns while a lesson is read."""
    parts = list(range(1, len(lesson.steps) + 1))
    # In a lecture the steps stay in sight.
    with st.container(key="keep_lesson_steps"):
        number = st.segmented_control("Step", parts, key=PART, bind="query-params", default=1, required=True)
    part = int(number or 1)
    PLACES.get()[lesson.slug] = part
    step, place = lesson.steps[part - 1], (lesson.slug, part)
    is_open = step.prediction is None or place in SHOWN.get()
    grid = st.grid(2, min_column_width=430, gap="large")
    with grid.container(key="lesson_words"):
        _words(step, place, is_open)
        _navigation(course, lesson, part, is_open)
    with grid.container(key="lesson_figure"):
        _figure(step, place, is_open)
    if is_open and part == len(parts):
        DONE.get().add(lesson.slug)


def _words(step: Step, place: Place, is_open: bool) -> None:
    st.markdown(_with_numbers(step.text))
    if step.prediction is not None:
        if is_open:
            _verdict(step.prediction, SHOWN.get()[place], place)
        else:
            _ask(step.prediction, place)
    if is_open:
        st.markdown(f"**What to notice.** {_with_numbers(step.notice)}")


def _facts() -> Facts:
    """Facts of the runs that are here."""
    return partial(catalogue.value_of, recorded_runs())


def _with_numbers(text: str) -> str:
    """The text with its numbers, or a sentence on the run that is missing for them."""
    try:
        return filled(text, _facts())
    except ExplorerError as error:
        return f":gray[The numbers of this text are unavailable: {show.plain(str(error))}]"


def _ask(prediction: Prediction, place: Place) -> None:
    """The question and its options. The guess is kept while the visitor looks at other steps."""
    guesses = GUESSES.get()
    st.markdown(f":material/psychology: **Your guess first.** {prediction.question}")
    key = f"guess_{place[0]}_{place[1]}"
    options = list(range(len(prediction.options)))
    choice = st.radio(
        prediction.question,
        options,
        index=guesses.get(place),
        format_func=lambda index: prediction.options[index],
        key=key,
        label_visibility="collapsed",
    )
    if choice is not None:
        guesses[place] = choice
    with st.container(horizontal=True):
        st.button(
            "Show me",
            key=f"show_{key}",
            type="primary",
            icon=":material/visibility:",
            disabled=choice is None,
            help="Choose an answer first, or skip." if choice is None else None,
            on_click=_show,
            args=(place, choice),
        )
        st.button("Skip", key=f"skip_{key}", on_click=_show, args=(place, None))


def _verdict(prediction: Prediction, guess: Guess, place: Place) -> None:
    """Show whether the guess is right, by the rule and the data."""
    st.markdown(f":material/psychology: {prediction.question}")
    try:
        right = prediction.right(_facts())
    except ExplorerError as error:
        st.info(f"The right answer cannot be computed: {show.plain(str(error))}", icon=":material/inbox:")
        return
    answer = prediction.options[right]
    if guess.option is None:
        st.info(f"The data say: {show.plain(answer)}.", icon=":material/lightbulb:")
    elif guess.option == right:
        st.success(f"You said: {show.plain(answer)}. The data agree.", icon=":material/check_circle:")
    else:
        sentence = f"You said: {prediction.options[guess.option]}. The data say: {answer}."
        st.info(show.plain(sentence), icon=":material/lightbulb:")
    st.button(
        "Ask again", key=f"again_{place[0]}_{place[1]}", type="tertiary", on_click=_hide, args=(place,),
        icon=":material/replay:",
    )  # fmt: skip


def _show(place: Place, choice: int | None) -> None:
    SHOWN.get()[place] = Guess(option=choice)


def _hide(place: Place) -> None:
    SHOWN.get().pop(place, None)
    GUESSES.get().pop(place, None)


def _navigation(course: Course, lesson: Lesson, part: int, is_open: bool) -> None:
    """Back and next; after the last step a link to the next lesson."""
    is_last = part == len(lesson.steps)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Back", key="lesson_back", icon=":material/arrow_back:", disabled=part == 1, shortcut="B",
            on_click=_go, args=(part - 1,),
        )  # fmt: skip
        if not is_last:
            st.button(
                "Next", key="lesson_next", icon=":material/arrow_forward:", shortcut="N",
                type="primary" if is_open else "secondary", on_click=_go, args=(part + 1,),
            )  # fmt: skip
        elif is_open:
            number = course.lessons.index(lesson) + 1
            following = course.lessons[number] if number < len(course.lessons) else None
            if following:
                links.page("lessons", f"Next lesson: {following.title}", lesson=following.slug)
            else:
                links.page("lessons", "That was the last lesson: back to the course")


PRICED = frozenset({"aux_loss", "count_scope"})
"""Terms of the lessons that show a part of what the auxiliary loss costs."""


def _terms(lesson: Lesson) -> None:
    """Links to the Glossary entries of the lesson."""
    if not lesson.terms:
        return
    titles = {term.key: term.title for term in glossary.TERMS}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        show.note("In the Glossary:")
        for key in lesson.terms:
            title = titles.get(key, key)
            links.page("glossary", title.partition(",")[0], term=title)
        if PRICED & set(lesson.terms):
            links.cost_of_the_auxiliary_loss()


def _go(part: int) -> None:
    state.put(PART, part)


def _figure(step: Step, place: Place, is_open: bool) -> None:
    """The panels of the step, the part of them that may be seen before the guess, or an empty place."""
    lesson, part = place
    try:
        figure = figure_of(recorded_runs(), step, lesson, part, before=not is_open)
        if figure is None:
            _no_figure_yet()
            return
        for question in figure.questions:
            # The sentence of a figure before the guess would be half of the answer.
            show.question(question, text=is_open)
    except ExplorerError as error:
        st.info(f"This figure cannot be drawn here. {show.plain(str(error))}", icon=":material/inbox:")
        return
    if figure.load_colours:
        show.load_legend()
    if not is_open and (note := _cut_short(step)):
        show.note(note)
    if figure.update is not None:
        _arithmetic(figure.update)
    if is_open:
        links.page(figure.link.page, figure.link.words, **figure.link.query)


def _cut_short(step: Step) -> str:
    """What the figure before a guess leaves out; empty where it leaves out nothing."""
    until = step.prediction.before.get("until") if step.prediction else None
    return "" if until is None else f"The first {until} steps; the rest appears after your guess."


def _no_figure_yet() -> None:
    with st.container(border=True, height=260, vertical_alignment="center", horizontal_alignment="center"):
        st.markdown(":gray[The chart appears after your guess.]", width="content")


def _arithmetic(update: Update) -> None:
    """The update of the busiest and of the idlest expert, and whether the log agrees."""
    step, rows = update
    for which in ("busiest", "idlest"):
        st.latex(_formula(step, expert_of(step, which)))
    bias_step.compare(step, rows)


def _formula(step: BiasStep, expert: int) -> str:
    """The arithmetic of one expert with the integers of the step; of the plain sign rule, in two parts."""
    rule, i = step.force.rule, rf"_{{{expert}}}"
    if rule.update_rule != "sign" or rule.centred:
        return gathered(step, expert)
    tokens, error = int(step.tokens_E[expert]), float(step.mean - int(step.tokens_E[expert]))
    sign = "+" if error > 0 else "-" if error < 0 else r"\pm 0\cdot"
    return show.stacked(
        rf"e{i} = \bar c - c{i} = {float(step.mean):g} - {tokens} = {error:+g}"
        rf"\qquad b{i} \leftarrow {step.before_E[expert]:.4f} {sign} {step.force.rate:g} "
        rf"= {step.after_E[expert]:.4f}"
    )
