"""What a link asks for is shown; what cannot be had is said, and something sensible is shown instead."""

from pathlib import Path

import pytest
import streamlit
from app_pages import Opener, charts, words
from sentences import sentence
from store_runs import write_run


def test_a_link_chooses_the_runs(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed0"])
    assert app.multiselect(key="runs").value == ["none-seed0", "loss_free-seed0"]
    assert not app.warning


def test_a_link_chooses_all_seeds_of_a_rule(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["tiny none", "tiny aux sequence 0.01"])
    assert app.multiselect(key="runs").value == ["tiny none", "tiny aux sequence 0.01"]


def test_an_unknown_run_is_named_and_the_known_ones_stay(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "gone"])
    assert "“gone”" in words(app)
    assert app.multiselect(key="runs").value == ["none-seed0"]


def test_only_unknown_runs_fall_back_to_the_usual_choice(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["gone"])
    assert "“gone”" in words(app)
    assert len(app.multiselect(key="runs").value) == 4
    assert charts(app) > 0


def test_more_runs_than_a_picture_carries_are_cut_and_said(open_app: Opener, recorded: Path) -> None:
    names = [f"{name}-seed{seed}" for name in ("none", "sequence", "global", "loss_free") for seed in (0, 1)]
    app = open_app(recorded, "compare", runs=names)
    assert app.multiselect(key="runs").value == names[:6]
    assert sentence("links.too_many_runs", count=8) in words(app)


def test_a_link_into_replay_puts_the_playhead_there(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed1", layer="1", step="7", expert="2")
    assert not app.warning
    assert app.number_input(key="step").value == 7
    assert app.session_state["layer"] == 1
    assert app.selectbox(key="expert").value == "2"
    assert "At step 7" in words(app)


@pytest.mark.parametrize(
    ("query", "message", "key", "fallback"),
    [
        ({"run": "gone"}, sentence("links.unknown_run", run="gone"), "run", "loss_free-seed0"),
        ({"run": "loss_free-seed0", "layer": "9"}, "names layer 9", "layer", 0),
        ({"run": "loss_free-seed0", "layer": "top"}, "names layer top", "layer", 0),
        ({"run": "loss_free-seed0", "step": "5000"}, "names step 5000", "step", 23),
        ({"run": "loss_free-seed0", "step": "-3"}, "names step -3", "step", 23),
        ({"run": "loss_free-seed0", "step": "soon"}, "names step soon", "step", 23),
        ({"run": "loss_free-seed0", "expert": "77"}, "names expert 77", "expert", "all"),
    ],
)
def test_what_a_replay_link_cannot_have_is_said(
    open_app: Opener, recorded: Path, query: dict[str, str], message: str, key: str, fallback: object
) -> None:
    app = open_app(recorded, "replay", **query)
    assert not app.exception
    assert message in words(app)
    assert app.session_state[key] == fallback
    assert charts(app) >= 3


def test_the_sentence_goes_when_the_visitor_chooses(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed0", step="5000")
    assert app.warning
    app.number_input(key="step").set_value(3).run()
    assert not app.warning
    assert "At step 3" in words(app)


@pytest.mark.parametrize("query", [{"layer": "9"}, {"x": "weeks"}, {"base": "gone"}])
def test_what_a_compare_link_cannot_have_is_said(
    open_app: Opener, recorded: Path, query: dict[str, str]
) -> None:
    app = open_app(recorded, "compare", **query)
    assert not app.exception
    assert len(app.warning) == 1
    assert next(iter(query.values())) in app.warning[0].value


def test_a_link_chooses_axis_and_baseline(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", x="tokens", log="false", base="tiny none")
    assert not app.warning
    assert app.session_state["x"] == "tokens"
    assert app.toggle(key="log").value is False
    assert app.selectbox(key="base").value == "tiny none"


def test_a_link_inside_the_app_wins_over_what_was_chosen_there_before(
    open_app: Opener, recorded: Path
) -> None:
    """A link adds its runs to those that the address has already; the page shows the link's own."""
    app = open_app(recorded, "replay", run="none-seed0", step="3", runs=["none-seed0"])
    assert app.session_state["step"] == 3
    app.switch_page("../../pages/glossary.py").run()
    app.query_params["runs"] = ["none-seed0", "loss_free-seed1"]
    app.query_params["run"] = "none-seed0"
    app.query_params["step"] = "9"
    app.switch_page("../../pages/replay.py").run()
    assert not app.exception
    assert app.session_state["step"] == 9
    assert app.session_state["runs"] == ["loss_free-seed1"]
    app.number_input(key="step").set_value(5).run()
    assert app.session_state["step"] == 5, "the address counts once"


LONG_ID = "r" * 100
"""As long as a run id may be."""


def test_a_run_id_of_the_full_length_is_found_by_its_link(open_app: Opener, tmp_path: Path) -> None:
    for name in (LONG_ID, LONG_ID[:-1] + "x"):
        write_run(tmp_path / "shipped", name, steps=20)
    app = open_app(tmp_path / "shipped", "replay", run=LONG_ID, runs=[LONG_ID])
    assert not app.warning
    assert app.selectbox(key="run").value == LONG_ID
    assert app.session_state["runs"] == [LONG_ID]


@pytest.mark.parametrize("value", ["1e999", "-inf", "9" * 400, "nan"])
@pytest.mark.parametrize(
    ("page", "key", "notice", "fallback"),
    [
        ("replay", "step", "names step ", 23),
        ("playground", "seed", "asks for seed = ", 0),
        ("theory", "tseed", "asks for tseed = ", 0),
    ],
)
def test_a_number_that_is_none_is_said_and_taken_out_of_the_address(
    open_app: Opener, recorded: Path, page: str, key: str, notice: str, fallback: int, value: str
) -> None:
    app = open_app(recorded, page, **{key: value})
    assert not app.exception
    assert app.number_input(key=key).value == fallback
    assert f"{notice}{value[:50]}" in words(app)
    assert key not in app.query_params
    app.number_input(key=key).set_value(3).run()
    assert not app.exception
    assert not app.warning
    assert app.number_input(key=key).value == 3


@pytest.mark.parametrize(("page", "key"), [("replay", "run"), ("glossary", "of_run"), ("compare", "base")])
def test_a_link_goes_on_naming_what_is_the_default_today(
    open_app: Opener, recorded: Path, page: str, key: str
) -> None:
    """A newer run may be the default tomorrow, and the link must then show the same as today."""
    query = {"example": "run"} if key == "of_run" else {}
    today = open_app(recorded, page, **query).selectbox(key=key).value
    app = open_app(recorded, page, **{**query, key: today})
    assert app.selectbox(key=key).value == today
    assert app.query_params[key] == today


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ("overview", "runs"),
        ("lessons", "lesson"),
        ("replay", "run"),
        ("playground", "swA"),
        ("glossary", "term"),
    ],
)
def test_a_value_without_end_is_repeated_in_short(
    open_app: Opener, recorded: Path, page: str, key: str
) -> None:
    app = open_app(recorded, page, **{key: "zq " * 33_000})
    assert not app.exception
    messages = [str(alert.value) for kind in (app.warning, app.info) for alert in kind]
    assert any("zq zq" in message for message in messages)
    assert all(len(message) < 1000 for message in messages)


@pytest.mark.parametrize(
    ("base", "path"), [("", "/replay"), ("moe", "/moe/replay"), ("/a/b/", "/a/b/replay")]
)
def test_a_run_of_the_table_opens_below_the_path_of_the_app(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch, base: str, path: str
) -> None:
    usual = streamlit.get_option
    monkeypatch.setattr(
        streamlit, "get_option", lambda name: base if name == "server.baseUrlPath" else usual(name)
    )
    table = open_app(recorded).dataframe[0].value
    assert f"{path}?run=none-seed0" in list(table["run"])


def test_the_picker_is_drawn_where_it_acts_and_its_selection_waits_elsewhere(
    open_app: Opener, recorded: Path
) -> None:
    app = open_app(recorded, "lessons", runs=["none-seed0", "loss_free-seed0"])
    assert not app.multiselect
    app.switch_page("../../pages/compare.py").run()
    assert app.multiselect(key="runs").value == ["none-seed0", "loss_free-seed0"]
    app.multiselect(key="runs").set_value(["global-seed0"]).run()
    for page in ("glossary", "replay"):
        app.switch_page(f"../../pages/{page}.py").run()
        assert not app.exception
        assert "runs" not in [widget.key for widget in app.multiselect], page
    app.switch_page("../../pages/compare.py").run()
    assert app.multiselect(key="runs").value == ["global-seed0"]
