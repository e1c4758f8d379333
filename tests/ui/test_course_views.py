"""Views of Lessons and Gallery without a page: the same panels as the page shows."""

import pytest
from app_pages import Opener
from sentences import sentence

from explorer.figures.panel import Missing, Panel, slug
from explorer.figures.store import OpenStore
from explorer.figures.views import gallery, lessons
from explorer.figures.views.view import OpenView, Query
from explorer.ui.server.services import services
from explorer.ui.shared import cached
from explorer.ui.shared.panels import KEY

SLUG = "why-experts-collapse"


def opened(opener: object, query: Query) -> tuple[OpenView, dict[str, Panel | Missing]]:
    """The view of an address, and key -> panel."""
    store = OpenStore(services().index)
    view = opener(store, cached.list_runs(), query)  # type: ignore[operator]
    return view, {slug(question.key): question.answer(store) for question in view.questions}


@pytest.mark.slow
def test_the_gallery_opens_without_its_page(open_shipped: Opener) -> None:
    shown = open_shipped("gallery").session_state[KEY].panels
    view, panels = opened(gallery.open_view, {})
    assert list(panels) == list(shown)
    for key, panel in panels.items():
        assert isinstance(panel, Panel)
        assert panel.finding == shown[key].finding
        assert panel.statements
    assert view.notices == ()


@pytest.mark.slow
@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_step_of_a_lesson_opens_without_its_page(open_shipped: Opener, part: int) -> None:
    app = open_shipped("lessons", lesson=SLUG, part=str(part))
    key = f"skip_guess_{SLUG}_{part}"
    if any(button.key == key for button in app.button):
        app = app.button(key=key).click().run()
    shown = app.session_state[KEY].panels
    view, panels = opened(lessons.open_view, {"lesson": [SLUG], "part": [str(part)]})
    assert view.query == {"lesson": (SLUG,), "part": (str(part),)}
    assert view.title == app.title[0].value
    assert panels.keys() <= shown.keys()
    for key, panel in panels.items():
        assert isinstance(panel, Panel)
        assert panel.finding == shown[key].finding


def test_an_address_that_does_not_fit_gets_a_notice(open_app: Opener) -> None:
    open_app(page="glossary")
    view, panels = opened(lessons.open_view, {"lesson": ["magic"]})
    assert (view.title, panels) == (sentence("pages.lessons"), {})
    assert view.notices == (sentence("links.unknown_lesson", lesson="magic"),)
    view, panels = opened(lessons.open_view, {"lesson": [SLUG], "part": ["99"]})
    assert panels == {}
    assert "part = 99" in view.notices[0]
    assert sentence("compare.run_is_missing", arm="no balancing") in view.notices[1]


def test_without_shipped_runs_the_gallery_has_a_notice(open_app: Opener) -> None:
    open_app(page="glossary")
    view, panels = opened(gallery.open_view, {})
    assert panels == {}
    assert view.notices == (gallery.NO_RUNS,)
