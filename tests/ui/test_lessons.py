"""The course on the shipped runs: every lesson from its first step to its last, guess before figure."""

from pathlib import Path

import pytest
from app_pages import Opener, charts, words
from sentences import sentence
from streamlit.testing.v1 import AppTest

from explorer.course.lessons import MOST_WORDS, Lesson
from explorer.figures import course as lesson_course
from explorer.figures.course import LESSONS
from explorer.figures.facts.registry import FACTS
from explorer.figures.views.lesson_panels import PANELS

COURSE = lesson_course.course()
SLUGS = [lesson.slug for lesson in COURSE]


def lesson_of(slug: str) -> Lesson:
    lesson = COURSE.find(slug)
    assert lesson is not None
    return lesson


def alerts(app: AppTest) -> list[str]:
    return [str(element.value) for kind in (app.info, app.success) for element in kind]


def has(app: AppTest, key: str) -> bool:
    return any(button.key == key for button in app.button)


def test_every_shipped_file_is_a_lesson_and_asks_first() -> None:
    assert COURSE.problems == ()
    assert len(COURSE.lessons) == len(list(LESSONS.glob("*.toml"))) >= 8
    for lesson in COURSE:
        steps = [step for step in lesson.steps if step.prediction is not None]
        assert steps, lesson.slug
        assert len(lesson.steps) >= 3
        for step in lesson.steps:
            assert len(step.text.split()) <= MOST_WORDS


def test_every_panel_is_shown_by_a_lesson_and_says_what_it_is() -> None:
    used = {step.panel for lesson in COURSE for step in lesson.steps}
    assert used == set(PANELS)
    assert all(panel.words.endswith(".") for panel in PANELS.values())


def test_every_fact_has_its_words() -> None:
    assert all((function.__doc__ or "").strip() for function in FACTS.values())


def test_panels_and_facts_are_documented() -> None:
    docs = (LESSONS.parent / "docs" / "lessons.md").read_text(encoding="utf-8")
    for name, panel in PANELS.items():
        assert f"| `{name}` |" in docs
        assert panel.words in docs
    for name, function in FACTS.items():
        assert f"| `{name}[" in docs
        assert " ".join((function.__doc__ or "").split()) in docs


def test_the_course_lists_every_lesson(open_app: Opener) -> None:
    app = open_app(page="lessons")
    assert not app.exception
    assert not app.warning
    assert app.title[0].value == sentence("pages.lessons")
    links = [link.proto.label for link in app.get("page_link")]
    assert links == [f"{n} · {lesson.title}" for n, lesson in enumerate(COURSE, start=1)]
    for lesson in COURSE:
        assert lesson.question in words(app)


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_a_lesson_can_be_read_to_its_end(open_shipped: Opener, slug: str) -> None:
    lesson = lesson_of(slug)
    app = open_shipped("lessons", lesson=slug)
    assert lesson.title in app.title[0].value
    for part, step in enumerate(lesson.steps, start=1):
        assert app.session_state["part"] == part
        if step.prediction is not None:
            before = charts(app)
            assert before == (1 if step.prediction.before else 0)
            assert sentence("controls.notice") not in words(app)
            show = app.button(key=f"show_guess_{slug}_{part}")
            assert show.disabled
            radio = app.radio(key=f"guess_{slug}_{part}")
            assert radio.value is None
            right = step.prediction.options
            app = radio.set_value(0).run()
            app = app.button(key=f"show_guess_{slug}_{part}").click().run()
            (verdict,) = [text for text in alerts(app) if "You said" in text]
            # Spaces that break no line (`ui.shared.plain`).
            assert right[0] in verdict.replace("\u00a0", " ")
        assert not app.exception
        assert not app.warning
        assert not any("cannot be" in text for text in alerts(app))
        assert sentence("lessons.not_here") not in words(app)
        assert charts(app) >= 1
        assert all(len(chart.proto.alt) > 40 for chart in app.get("vega_lite_chart"))
        assert sentence("controls.notice") in words(app)
        assert "[none" not in words(app), "a placeholder was left"
        leads_on = (sentence("controls.with_these_settings"), sentence("controls.in_gallery"))
        labels = [link.proto.label for link in app.get("page_link")]
        assert any(words in label for words in leads_on for label in labels)
        if part < len(lesson.steps):
            app = app.button(key="lesson_next").click().run()
    assert not has(app, "lesson_next")
    assert lesson.slug in app.session_state["lesson_done"]


@pytest.mark.slow
@pytest.mark.parametrize("choice", [0, 1, 2])
def test_the_verdict_is_that_of_the_data(open_shipped: Opener, choice: int) -> None:
    """Lesson 8, step 2: loss-free against the auxiliary loss of the same scope is not significant."""
    app = open_shipped("lessons", lesson="what-the-gain-really-is", part="2")
    key = "guess_what-the-gain-really-is_2"
    app = app.radio(key=key).set_value(choice).run()
    app = app.button(key=f"show_{key}").click().run()
    (verdict,) = [text for text in alerts(app) if "You said" in text]
    if choice == 1:
        assert verdict == sentence("lessons.you_said_right", answer="no significant difference")
    else:
        assert verdict.endswith("The data say: " + sentence("lessons.no_difference") + ".")


@pytest.mark.slow
def test_a_guess_survives_going_back_and_forth(open_shipped: Opener) -> None:
    slug = "why-experts-collapse"
    app = open_shipped("lessons", lesson=slug)
    app = app.radio(key=f"guess_{slug}_1").set_value(1).run()
    app = app.button(key="lesson_next").click().run()
    assert app.session_state["part"] == 2
    app = app.button(key="lesson_back").click().run()
    assert app.radio(key=f"guess_{slug}_1").value == 1
    app = app.button(key=f"show_guess_{slug}_1").click().run()
    app = app.button(key="lesson_next").click().run()
    app = app.button(key="lesson_back").click().run()
    verdict = sentence("lessons.you_said", answer="one to four times the uniform load")
    assert any(verdict in text for text in alerts(app))
    app = app.button(key=f"again_{slug}_1").click().run()
    assert app.radio(key=f"guess_{slug}_1").value is None
    assert sentence("controls.notice") not in words(app)


def test_the_course_remembers_the_step_of_a_lesson_until_it_is_done(open_app: Opener) -> None:
    slug = "why-experts-collapse"
    app = open_app(page="lessons", lesson=slug)
    app = app.button(key="lesson_next").click().run()
    kept = app.session_state["lesson_places"]
    assert kept == {slug: 2}
    app = open_app(page="lessons")
    assert sentence("lessons.resume", step=2) not in words(app)
    app.session_state["lesson_places"] = kept
    app = app.run()
    assert sentence("lessons.resume", step=2) in words(app)
    assert next(link.proto.query_string for link in app.get("page_link")).endswith("part=2")
    app.session_state["lesson_done"] = {slug}
    app = app.run()
    assert sentence("lessons.resume", step=2) not in words(app)
    assert sentence("lessons.done") in words(app)


@pytest.mark.slow
def test_a_chart_that_stops_before_the_guess_says_so_until_then(open_shipped: Opener) -> None:
    slug = "why-experts-collapse"
    app = open_shipped("lessons", lesson=slug)
    note = sentence("lessons.cut_short", steps=100)
    assert note in words(app)
    app = app.button(key=f"skip_guess_{slug}_1").click().run()
    assert note not in words(app)


@pytest.mark.slow
def test_a_question_about_several_arms_shows_all_of_them(open_shipped: Opener) -> None:
    slug = "what-experts-specialise-in"
    app = open_shipped("lessons", lesson=slug, part="2")
    app = app.button(key=f"skip_guess_{slug}_2").click().run()
    assert charts(app) == 4
    app = app.button(key="lesson_next").click().run()
    app = app.button(key=f"skip_guess_{slug}_3").click().run()
    assert sentence("lessons.batch_sizes") in words(app)


@pytest.mark.slow
def test_a_skipped_step_shows_what_is_right(open_shipped: Opener) -> None:
    slug = "what-maxvio-measures"
    app = open_shipped("lessons", lesson=slug, part="3")
    app = app.button(key=f"skip_guess_{slug}_3").click().run()
    assert any(text.startswith("The data say: ") for text in alerts(app))
    assert charts(app) == 1


def test_an_unknown_lesson_or_step_gets_a_sentence(open_app: Opener) -> None:
    app = open_app(page="lessons", lesson="magic")
    assert app.title[0].value == sentence("pages.lessons")
    assert [w.value for w in app.warning] == [sentence("links.unknown_lesson", lesson="magic")]
    app = open_app(page="lessons", lesson=SLUGS[0], part="99")
    assert not app.exception
    (message,) = [w.value for w in app.warning]
    assert "names step 99" in message
    assert app.session_state["part"] == 1


def test_a_lesson_goes_on_without_the_runs(open_app: Opener, tmp_path: Path) -> None:
    slug = "why-experts-collapse"
    app = open_app(page="lessons", lesson=slug)
    app = app.button(key=f"skip_guess_{slug}_1").click().run()
    assert not app.exception
    text = " ".join(alerts(app))
    assert sentence("compare.preset_is_missing", arm="no balancing", preset="standard") in text
    assert sentence("lessons.no_numbers") in words(app)
    app = app.button(key="lesson_next").click().run()
    app = app.button(key="lesson_next").click().run()
    app = app.button(key=f"skip_guess_{slug}_3").click().run()
    assert charts(app) == 1, "a simulation needs no runs"


def test_a_damaged_lesson_is_named_in_the_course(
    open_app: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "01-bad.toml").write_text('title = "Bad"', encoding="utf-8")
    monkeypatch.setattr(lesson_course, "LESSONS", tmp_path)
    app = open_app(page="lessons")
    assert not app.exception
    assert any("question " + sentence("reading.missing") in w.value for w in app.warning)
