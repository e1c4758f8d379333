"""A view opens the panels of its page without the page."""

from pathlib import Path

import pytest
from conftest import Opener

from explorer.figures.arms import arms_of
from explorer.figures.panel import Panel
from explorer.figures.store import OpenStore
from explorer.figures.views import compare, overview
from explorer.figures.views.view import Opener as ViewOpener
from explorer.figures.views.view import OpenView, Query
from explorer.ui.server.services import services
from explorer.ui.shared import cached
from explorer.ui.shared.panels import PageFigures

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
    shown: PageFigures = app.session_state["page_figures"]
    view, store = opened(page, query), OpenStore(services().index)
    answers = [question.answer(store) for question in view.questions]
    panels = {answer.key: answer for answer in answers if isinstance(answer, Panel)}
    assert list(panels) == list(shown.keys)
    for key, panel in panels.items():
        other = shown.get(key)
        assert other is not None
        assert (panel.subject, panel.finding, panel.how) == (other.subject, other.finding, other.how)
        assert panel.table is None if other.table is None else panel.table.equals(other.table)
        assert panel.spec.vega == other.spec.vega
    assert opened(page, view.query).query == view.query


def test_others_are_compared_with_the_first_auxiliary_loss(open_app: Opener, recorded: Path) -> None:
    open_app(recorded, "compare")
    arms = {arm.token: arm for arm in arms_of(cached.list_runs())}
    tokens = opened("compare", {}).query["runs"]
    first = next(token for token in tokens if arms[token].first.balancer.startswith("aux_loss"))
    assert opened("compare", {}).query["base"] == [first] != [tokens[0]]


def test_an_address_that_does_not_fit_gives_the_defaults_and_says_so(
    open_app: Opener, recorded: Path
) -> None:
    open_app(recorded, "compare")
    query = {"runs": ["none-seed0", "gone"], "layer": ["9"], "x": ["weeks"], "base": ["gone"]}
    view = opened("compare", query)
    assert view.query == {
        "runs": ["none-seed0"], "layer": ["0"], "x": ["step"], "log": ["true"],
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
