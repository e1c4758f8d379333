"""A view opens the panels of its page without the page."""

from pathlib import Path

import pytest
from app_pages import Opener, figures_of

from explorer.figures.panel import Panel
from explorer.figures.store import OpenStore
from explorer.figures.views import compare, overview
from explorer.figures.views.view import Opener as ViewOpener
from explorer.figures.views.view import OpenView, Query
from explorer.ui.server.services import services
from explorer.ui.shared import cached

OPENERS: dict[str, ViewOpener] = {"overview": overview.open_view, "compare": compare.open_view}


def opened(page: str, query: Query) -> OpenView:
    return OPENERS[page](OpenStore(services().index), cached.list_runs(), query)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("overview", {}),
        ("compare", {}),
        (
            "compare",
            {
                "runs": ["none-seed0", "tiny loss-free 0.003"],
                "layer": ["1"],
                "x": ["tokens"],
                "log": ["false"],
                "base": ["none-seed0"],
            },
        ),
        ("compare", {"runs": ["loss_free-seed0"]}),
    ],
)
def test_a_view_opens_the_panels_of_its_page(
    open_app: Opener, recorded: Path, page: str, query: Query
) -> None:
    app = open_app(recorded, page, **query)
    assert not app.exception
    shown = figures_of(app)
    view, store = opened(page, query), OpenStore(services().index)
    answers = [question.answer(store) for question in view.questions]
    panels = {answer.key: answer for answer in answers if isinstance(answer, Panel)}
    assert list(panels) == list(shown.present_keys())
    for key, panel in panels.items():
        other = shown.get(key)
        assert other is not None
        assert (panel.subject, panel.finding, panel.how) == (other.subject, other.finding, other.how)
        assert panel.table is None if other.table is None else panel.table.equals(other.table)
        assert panel.spec.vega == other.spec.vega
    assert opened(page, view.query).query == view.query


def test_others_are_compared_with_no_balancing(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare")
    assert app.selectbox(key="base").value == "tiny none"
    runs = ["loss_free-seed0", "none-seed0"]
    assert opened("compare", {"runs": runs}).query["base"] == ["none-seed0"]
    runs = ["loss_free-seed0", "global-seed0"]
    assert opened("compare", {"runs": runs}).query["base"] == ["loss_free-seed0"]


def test_perplexity_opens_with_the_last_quarter(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare")
    assert app.session_state["part"] == "end"
    assert opened("compare", {}).query["part"] == ["end"]
    assert not [toggle for toggle in app.toggle if toggle.key == "log"]


def test_an_address_that_names_the_axis_still_shows_the_whole_run(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", log="false")
    assert app.session_state["part"] == "whole"
    assert app.toggle(key="log").value is False
    assert opened("compare", {"log": ["false"]}).query["part"] == ["whole"]
    assert opened("compare", {"log": ["false"], "part": ["end"]}).query["part"] == ["end"]


def test_an_address_that_does_not_fit_gives_the_defaults_and_says_so(
    open_app: Opener, recorded: Path
) -> None:
    open_app(recorded, "compare")
    query = {"runs": ["none-seed0", "gone"], "layer": ["9"], "x": ["weeks"], "base": ["gone"]}
    view = opened("compare", query)
    assert view.query == {
        "runs": ["none-seed0"], "layer": ["0"], "x": ["step"], "part": ["end"], "log": ["true"],
    }  # fmt: skip
    for value in ("“gone”", "layer = 9", "x = weeks", "base = gone"):
        assert any(value in notice for notice in view.notices), value


def test_a_link_with_more_runs_than_fit_names_their_number(open_app: Opener, recorded: Path) -> None:
    open_app(recorded, "compare")
    runs = [run.run_id for run in cached.list_runs()][:7]
    assert len(runs) == 7
    view = opened("compare", {"runs": runs})
    assert view.query["runs"] == runs[:6]
    assert any("names 7 runs" in notice for notice in view.notices)
