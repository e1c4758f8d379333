"""Pages on a run whose MoE layers are 3, 5 and 9 of its model, the first of them narrower."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_pages import Opener, charts, load_maps, words
from layered_runs import record_layered
from sentences import sentence
from store_runs import write_run
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from explorer.figures import loads
from explorer.ui.shared import layers


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layered")
    record_layered(folder)
    return folder


def test_replay_offers_the_models_own_layers_and_their_experts(open_app: Opener, layered: Path) -> None:
    app = open_app(layered, "replay", run="layered")
    assert not app.exception
    assert app.session_state["layer"] == 3
    assert app.selectbox(key="expert").options == ["all", "0", "1", "2", "3"]
    assert sentence("compare.models_together", layers=3, narrow=4, wide=8, top_k=2) in words(app)
    assert "### Step 23, layer 3" in words(app)
    assert "layer 0" not in words(app).lower()
    app.session_state["layer"] = 9
    app.run()
    assert not app.exception
    assert app.selectbox(key="expert").options == ["all", *map(str, range(8))]
    assert "### Step 23, layer 9" in words(app)


def test_a_link_names_a_layer_by_the_models_number(open_app: Opener, layered: Path) -> None:
    app = open_app(layered, "replay", run="layered", layer=5, expert=7)
    assert not app.exception
    assert (app.session_state["layer"], app.session_state["expert"]) == (5, "7")
    assert not app.warning


def test_a_layer_or_expert_that_is_not_there_is_said(open_app: Opener, layered: Path) -> None:
    app = open_app(layered, "replay", run="layered", layer=0, expert=7)
    warnings = [warning.value for warning in app.warning]
    assert "The link names layer 0; the MoE layers of this run are 3, 5, 9. Layer 3 is shown." in warnings[0]
    assert sentence("links.unknown_expert", expert=7, first=0, last=3) in warnings[1]


def test_compare_shows_the_models_own_layers(open_app: Opener, layered: Path) -> None:
    app = open_app(layered, "compare", runs="layered")
    assert not app.exception
    assert app.session_state["layer"] == 3
    assert "Layer 3." in words(app)
    assert "layer 0" not in words(app).lower()
    assert sentence("references.layers_differ") in words(app)
    assert "collapse" not in words(app).replace("no collapse", "").replace("collapsed", "")
    assert charts(app) + len(load_maps(app)) >= 4


def test_very_many_layers_are_a_list_and_their_numbers_stay_in_the_address(
    open_app: Opener, layered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MOST_BUTTONS", 2)
    for page in ("replay", "compare"):
        app = open_app(layered, page, run="layered", runs="layered", layer=5)
        assert not app.exception
        assert not app.warning
        picker = app.selectbox(key="layer")
        assert (picker.options, picker.value) == (["3", "5", "9"], 5)
    picker.set_value(9).run()
    assert not app.exception
    assert "Layer 9." in words(app)
    assert app.query_params["layer"] == "9"


@pytest.mark.parametrize("page", ["overview", "microscope", "glossary", "train"])
def test_every_other_page_can_be_opened(open_app: Opener, layered: Path, page: str) -> None:
    app = open_app(layered, page)
    assert not app.exception
    assert "layer 0" not in words(app).lower()


def test_the_microscope_follows_tokens_to_the_next_layer(open_app: Opener, layered: Path) -> None:
    for layer, other in ((3, 5), (9, 5)):
        app = open_app(layered, "microscope", run="layered", layer=layer)
        assert not app.exception
        assert sentence("microscope.tokens_in_layer", layer=other) in words(app)


def test_counts_of_the_glossary_are_those_of_equally_wide_layers(open_app: Opener, layered: Path) -> None:
    app = open_app(layered, "glossary", example="run")
    assert not app.exception
    assert sentence("compare.narrower_left_out", layers=2, experts=8, top_k=2) in words(app)
    assert "Layer 5" in words(app)


def test_compare_says_which_run_lacks_the_chosen_layer(open_app: Opener, tmp_path: Path) -> None:
    """Layers 3, 5 and 9 beside 0 to 3: every panel is of a run that has the layer."""
    record_layered(tmp_path)
    write_run(tmp_path, "counted", layers=4)
    app = open_app(tmp_path, "compare", runs=["layered", "counted"], layer=0)
    assert not app.exception
    assert sentence("replay.no_such_layer", layer=0, layers="3, 5, 9") in words(app)
    assert [shown["alt"].startswith(sentence("captions.load_title")) for shown in load_maps(app)] == [True]
    assert sentence("replay.no_such_layer_here") not in words(app)


def places(app: AppTest) -> list[tuple[object, ...]]:
    """Where each chart stands on the page: a browser draws it anew if that changes."""

    def charts_in(block: Block, path: tuple[int, ...]) -> Iterator[tuple[object, ...]]:
        for place, child in block.children.items():
            if isinstance(child, Block):
                yield from charts_in(child, (*path, place))
            elif child.type in ("vega_lite_chart", "bidi_component"):
                yield (child.type, *path, place)

    return list(charts_in(app._tree, ()))


def test_notes_that_only_some_layers_have_leave_the_charts_in_their_places(
    open_app: Opener, layered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "event_kinds", lambda _store, _arms, at: {"death"} if at.layer == 5 else set())
    monkeypatch.setattr(loads, "without_layer", lambda _arms, layer: ["Not in one run."] * (layer == 9))
    pages = [open_app(layered, "compare", runs="layered", layer=layer) for layer in (3, 5, 9)]
    assert not any(app.exception for app in pages)
    assert ["Marks above" in words(app) for app in pages] == [False, True, False]
    assert ["Not in one run." in words(app) for app in pages] == [False, False, True]
    first, *others = map(places, pages)
    assert first
    assert others == [first, first]
