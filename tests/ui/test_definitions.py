"""The worked example of the Glossary, without a browser."""

from pathlib import Path

import pytest
from app_pages import Opener, terms_html, words
from sentences import sentence
from streamlit.testing.v1 import AppTest

from explorer.metrics.catalogue import OF_LOADS
from explorer.metrics.examples import SHAPES
from explorer.metrics.peers import CONVERSIONS
from explorer.ui.glossary import terms


def tables(app: AppTest) -> list[dict[str, list[str]]]:
    """The two tables by column: ours, then those of other tools."""
    return [table.value.to_dict(orient="list") for table in app.table]


def printed(app: AppTest, name: str) -> str:
    theirs = tables(app)[1]
    names = [n.replace("\\", "") for n in theirs["metric of a tool"]]
    (row,) = (i for i, label in enumerate(names) if label.endswith(name))
    return theirs["prints"][row]


@pytest.mark.parametrize("shape", [s.key for s in SHAPES])
def test_every_shape_is_measured(open_app: Opener, shape: str) -> None:
    app = open_app(page="glossary", example=shape)
    assert not app.exception
    assert not app.warning
    ours, theirs = tables(app)
    assert len(ours["metric"]) == len(OF_LOADS)
    assert len(theirs["prints"]) == len(CONVERSIONS)


def test_even_loads_have_the_value_at_balance_everywhere(open_app: Opener) -> None:
    ours, theirs = tables(open_app(page="glossary", example="even", n="16", k="4"))
    assert ours["value"] == ours["at balance"]
    known = [
        (p, b) for p, b in zip(theirs["prints"], theirs["at balance"], strict=True) if not p.startswith("not")
    ]
    assert all(p == b for p, b in known)


def test_one_hot_loads_have_the_value_at_worst_everywhere(open_app: Opener) -> None:
    ours, _ = tables(open_app(page="glossary", example="one_hot", n="32", k="2"))
    assert ours["value"] == ours["worst case"]


def test_p21_two_collapsed_layers_look_even_to_the_pooled_loss_only(open_app: Opener) -> None:
    app = open_app(page="glossary", example="two_layers", n="2", k="1")
    assert printed(app, "load_balancing_loss_func") == "1"
    assert printed(app, sentence("glossary.coefficient_loss")) == "2"
    assert tables(app)[0]["mean over layers"][0] == "1"


def test_p12_four_ranks_look_bad_to_the_rank_local_figure_only(open_app: Opener) -> None:
    app = open_app(page="glossary", example="four_ranks", n="4", k="1")
    assert printed(app, "): load imbalance") == "4"
    assert tables(app)[0]["value"][0] == "0"


def test_typed_counts_are_measured(open_app: Opener) -> None:
    app = open_app(page="glossary", example="typed", counts="6, 2, 0, 0", k="1")
    ours = tables(app)[0]
    assert ours["value"][:4] == ["2", "3", "0.3333", "1.225"]
    assert "4 experts with 8 assignments" in words(app)


def test_counts_that_no_top_k_router_can_give_are_said_to_be_so(open_app: Opener) -> None:
    assert sentence("glossary.not_multiple", top_k=2) in words(
        open_app(page="glossary", example="typed", counts="3 2", k="2")
    )
    assert sentence("glossary.beyond_worst") in words(
        open_app(page="glossary", example="typed", counts="9 1 0", k="2")
    )


def test_wrong_typing_is_answered_with_the_reason(open_app: Opener) -> None:
    app = open_app(page="glossary", example="typed")
    app.text_input(key="counts").set_value("3, many").run()
    assert not app.exception
    assert "counts = 'many': " + sentence("errors.whole_number") in app.error[0].value
    assert not app.table
    app.text_input(key="counts").set_value("3, 1").run()
    assert not app.error
    assert len(app.table) == 2


def test_the_last_step_of_a_run_is_measured(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, page="glossary", example="run", of_run="none-seed0")
    assert not app.exception
    assert "Step 23 of" in words(app)
    assert "mean over layers" in tables(app)[0]


def test_without_runs_a_recorded_run_is_not_offered(open_app: Opener) -> None:
    app = open_app(page="glossary", example="run")
    assert sentence("links.unknown_example", value="run") in app.warning[0].value
    assert app.selectbox(key="example").value == "zipf"
    assert "a recorded run" not in app.selectbox(key="example").options


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"example": "level"}, sentence("links.unknown_example_choose", value="level", choices="even")),
        ({"n": "7"}, sentence("links.bad_number_choose", value=7, name="n", choices="2, 4, 8")),
        (
            {"n": "4", "k": "8"},
            sentence("links.bad_number_replaced", value=8, name="k", choices="1, 2, 4", used=2),
        ),
        ({"t": "12"}, sentence("links.bad_number", value=12, name="t")),
        ({"counts": "1, x"}, "counts = 'x': " + sentence("errors.whole_number")),
    ],
)
def test_a_link_that_cannot_be_followed_says_why(open_app: Opener, query: dict, message: str) -> None:
    app = open_app(page="glossary", **query)
    assert not app.exception
    assert message in "\n".join(w.value for w in app.warning)
    assert len(app.table) == 2


def test_fewer_experts_lower_k(open_app: Opener) -> None:
    app = open_app(page="glossary", n="16", k="8")
    app.select_slider(key="n").set_value("4").run()
    assert not app.exception
    assert app.select_slider(key="k").value == "2"


def test_a_search_shows_terms_only(open_app: Opener) -> None:
    app = open_app(page="glossary", term="gini")
    styles = [element.proto.body for element in app.get("html")]
    (style,) = (text for text in styles if terms.PLACE in text and "display: none" in text)
    hidden = style.partition("{ display: none")[0]
    assert f'[class*="st-key-{terms.WHOLE}"]' in hidden, "index and worked example"
    assert f".{terms.PLACE}bias_spread" in hidden
    assert f".{terms.PLACE}gini" not in hidden
    assert f">{sentence('glossary.gini')}<" in terms_html(app)
