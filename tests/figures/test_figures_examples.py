"""The worked example of the Glossary without a page."""

from typing import Any

import numpy as np
import pytest
from sentences import sentence

from explorer.figures import examples
from explorer.figures.examples import Counts
from explorer.figures.panel import Panel
from explorer.figures.views import glossary

NO_STORE: Any = None


def test_counts_are_a_value() -> None:
    array = np.arange(12).reshape(1, 3, 4)
    assert Counts.of(array) == Counts.of(array.copy())
    assert hash(Counts.of(array)) == hash(Counts.of(array.copy()))
    assert Counts.of(array).array.tolist() == array.tolist()
    assert Counts.of(array) != Counts.of(array.reshape(1, 4, 3))


def test_an_address_opens_bars_and_severity() -> None:
    view = glossary.open_view(NO_STORE, [], {"example": ("typed",), "counts": ("6, 2, 0, 0",), "k": ("1",)})
    assert not view.notices
    assert [question.key for question in view.questions] == ["example_bars_0", "severity"]
    bars, severity = (question.answer(NO_STORE) for question in view.questions)
    assert isinstance(bars, Panel)
    assert isinstance(severity, Panel)
    assert bars.table is not None
    assert bars.table["load_ratio"].to_list() == [3.0, 1.0, 0.0, 0.0]
    assert severity.table is not None
    assert severity.table["value"].to_list()[:4] == ["2", "3", "0.3333", "1.225"]
    # Three of the four tokens of K = 1 are on the busiest expert: two thirds of the way to all four.
    assert severity.table["position"][0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ({"example": ("two_layers",)}, ["example_bars_0", "example_bars_1", "severity"]),
        ({"example": ("four_ranks",)}, [*(f"example_bars_{i}" for i in range(4)), "severity"]),
        ({"term": ("gini",)}, []),
    ],
)
def test_a_chart_per_rank_or_layer(query: dict[str, tuple[str]], keys: list[str]) -> None:
    assert [question.key for question in glossary.open_view(NO_STORE, [], query).questions] == keys


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"example": ("run",)}, "example = run"),
        ({"n": ("7",)}, "n = 7; " + sentence("links.can_be") + " 2, 4, 8"),
        ({"n": ("4",), "k": ("8",)}, "k = 8; " + sentence("links.can_be") + " 1, 2, 4"),
        ({"counts": ("1, x",)}, "counts = 'x': " + sentence("errors.whole_number")),
    ],
)
def test_a_value_that_does_not_fit_is_named(query: dict[str, tuple[str]], message: str) -> None:
    view = glossary.open_view(NO_STORE, [], query)
    (notice,) = view.notices
    assert message in notice
    assert view.questions
    again = glossary.open_view(NO_STORE, [], view.query)
    assert not again.notices
    assert [q.cache_key for q in again.questions] == [q.cache_key for q in view.questions]


def test_of_many_layers_the_most_imbalanced_is_drawn() -> None:
    counts = np.array([[[4, 4], [8, 0], [5, 3]]])
    shown = examples.Example(counts=Counts.of(counts), top_k=1, text="", names=(3, 5, 9))
    (bars,) = examples.bar_charts(shown)
    assert bars.name == sentence("captions.most_imbalanced_layer", layer=5)
    assert bars.counts.array.tolist() == [8, 0]
