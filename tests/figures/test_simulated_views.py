"""Playground and Theory as views: the panels of an address, without Streamlit, store or runs."""

from typing import Any, NoReturn

import polars as pl
import pytest
from sentences import sentence

from explorer.charts.spec import make
from explorer.figures import templates, theory
from explorer.figures.panel import Panel, Question
from explorer.figures.views import playground as playground_view
from explorer.figures.views import theory as theory_view
from explorer.figures.views.view import Opener, OpenView

SMALL = {"N": ["4"], "K": ["1"], "T": ["128"], "S": ["200"]}
FEW = {"tE": ["4"], "tT": ["64"], "tS": ["100"]}
PLAYGROUND = [
    "playground-max-vio",
    "playground-bias-a",
    "playground-bias-b",
    "playground-loads-a",
    "playground-loads-b",
    "playground-switched",
]
THEORY = [
    "theory-scores-alone",
    "theory-seats",
    "theory-dual",
    "theory-gap",
    "theory-account",
    "theory-moves",
    "theory-band",
    "theory-regret-false",
    "theory-regret-true",
    "theory-ties",
]


class NoStore:
    """A simulation needs no store."""

    def answer(self, *args: Any, **settings: Any) -> NoReturn:
        raise AssertionError("a simulation asked the store")


def panels_of(view: OpenView) -> dict[str, Panel]:
    panels = [question.answer(NoStore()) for question in view.questions]
    return {panel.key: panel for panel in panels if isinstance(panel, Panel)}


@pytest.mark.parametrize(
    ("open_view", "query", "keys"),
    [(playground_view.open_view, SMALL, PLAYGROUND), (theory_view.open_view, FEW, THEORY)],
)
def test_every_panel_of_the_page_is_there_with_its_key(
    open_view: Opener, query: dict[str, list[str]], keys: list[str]
) -> None:
    view = open_view(NoStore(), (), query)
    panels = panels_of(view)
    assert list(panels) == keys
    assert view.notices == ()
    for panel in panels.values():
        assert panel.table is not None
        assert panel.table.height
        assert panel.finding.endswith(".")
        assert panel.statements == ()


@pytest.mark.parametrize(
    ("open_view", "query"),
    [
        (playground_view.open_view, {**SMALL, "swA": ["50.none"], "at": ["7"], "seed": ["3"], "B": ["rms"]}),
        (playground_view.open_view, {}),
        (theory_view.open_view, {**FEW, "rule": ["quantile"], "tseed": ["5"]}),
    ],
)
def test_the_address_of_a_view_opens_it_again(open_view: Opener, query: dict[str, list[str]]) -> None:
    view = open_view(NoStore(), (), query)
    again = open_view(NoStore(), (), view.query)
    assert [q.cache_key for q in again.questions] == [q.cache_key for q in view.questions]
    assert again.notices == ()
    assert {key: view.query[key] for key in query} == query


@pytest.mark.parametrize(
    ("open_view", "query", "part"),
    [
        (
            playground_view.open_view,
            {"N": ["4"], "K": ["8"]},
            "K = 8; " + sentence("links.must_be_one_of") + " 1, 2, 4.",
        ),
        (
            playground_view.open_view,
            {"S": ["200"], "at": ["200"]},
            "at = 200; " + sentence("links.must_be_whole_number_from") + " 0",
        ),
        (
            playground_view.open_view,
            {"swA": ["2000.sign"]},
            "swA = 2000.sign; " + sentence("links.must_be_step", low=1, high=999),
        ),
        (
            theory_view.open_view,
            {"tE": ["4"], "tK": ["4"]},
            "tK = 4; " + sentence("links.must_be_one_of") + " 1, 2.",
        ),
        (
            theory_view.open_view,
            {"rule": ["none"]},
            "rule = none; " + sentence("links.must_be_one_of") + " sign",
        ),
    ],
)
def test_a_value_that_does_not_fit_gets_a_sentence_and_the_default(
    open_view: Opener, query: dict[str, list[str]], part: str
) -> None:
    view = open_view(NoStore(), (), query)
    (notice,) = view.notices
    assert part in notice
    bad = list(query)[-1]
    without = open_view(NoStore(), (), {key: value for key, value in query.items() if key != bad})
    assert [q.cache_key for q in view.questions] == [q.cache_key for q in without.questions]


def test_the_playhead_changes_the_loads_alone() -> None:
    def cache_keys(at: str) -> dict[str, tuple[object, ...]]:
        view = playground_view.open_view(NoStore(), (), {**SMALL, "at": [at]})
        return {question.key: question.cache_key for question in view.questions}

    first, later = cache_keys("3"), cache_keys("150")
    changed = {key for key in first if first[key] != later[key]}
    assert changed == {"playground_loads_A", "playground_loads_B"}


def test_a_chart_of_another_rate_has_its_own_rows() -> None:
    """The specification is kept from the first rate; the data sets are exchanged."""

    def panel(rate: str) -> Panel:
        view = playground_view.open_view(NoStore(), (), {**SMALL, "uA": [rate]})
        return panels_of(view)["playground-bias-a"]

    slow, quick = panel("1e-4"), panel("1e-2")
    assert slow.spec.vega is quick.spec.vega
    assert slow.table is not None
    assert quick.table is not None
    for shown in (slow, quick):
        (lines,) = [d for d in shown.spec.datasets.values() if "expert" in d.columns]
        assert shown.table is not None
        assert lines["value"].to_list() == shown.table["value"].to_list()
    assert slow.table["value"].abs().max() < quick.table["value"].abs().max()


def test_a_template_is_built_once_per_kind() -> None:
    built = []

    def build() -> Any:
        built.append(1)
        return theory.charts.gap_line(pl.DataFrame({"step": [0, 1], "gap": [1.0, 0.5]}))

    other = pl.DataFrame({"step": [0, 1], "gap": [2.0, 0.25]})
    first = templates.with_rows("a kind of this test", (), build)
    second = templates.with_rows("a kind of this test", (other,), build)
    assert len(built) == 1
    assert [d["gap"].to_list() for d in first.datasets.values()] == [[1.0, 0.5]]
    assert [d["gap"].to_list() for d in second.datasets.values()] == [[2.0, 0.25]]
    assert make(build()).vega == first.vega


def test_the_optimum_does_not_depend_on_the_rule() -> None:
    def gap(rule: str) -> Panel:
        view = theory_view.open_view(NoStore(), (), {**FEW, "rule": [rule]})
        return panels_of(view)["theory-gap"]

    ends = []
    for rule in ("sign", "proportional"):
        table = gap(rule).table
        assert table is not None
        ends.append(float((table["dual"] - table["gap"])[0]))
        assert (table["gap"] > -1e-9).all()
    assert ends[0] == pytest.approx(ends[1], abs=1e-12)


def test_equal_settings_have_equal_questions() -> None:
    """A page keeps panels by this key."""

    def one(query: dict[str, list[str]]) -> Question:
        return playground_view.open_view(NoStore(), (), query).questions[0]

    assert one({}).cache_key == one({"N": ["16"]}).cache_key
    assert one({}).cache_key != one({"seed": ["1"]}).cache_key
