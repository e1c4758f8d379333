"""The sections on two routings and on another rule, in Compare and the Microscope."""

from pathlib import Path

from app_pages import Opener, charts, words
from sentences import sentence
from streamlit.testing.v1 import AppTest

from explorer.figures.counterfactual import OPEN_LOOP


def unfold(app: AppTest, anchor: str) -> AppTest:
    app.session_state[f"section_{anchor}"] = True
    return app.run()


def test_compare_shows_two_runs_and_follows_its_controls(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "compare", runs=["free", "plain"])
    before = charts(app)
    app = unfold(app, "agreement")
    assert not app.exception
    assert charts(app) == before + 5
    assert sentence("agreement.pairs") in words(app)
    assert (app.selectbox(key="first").value, app.selectbox(key="second").value) == ("free", "plain")
    app = app.selectbox(key="second").set_value("free").run()
    app = app.selectbox(key="second_bias").set_value("bf16").run()
    assert not app.exception
    assert sentence("agreement.same_with_bias", bias="bias in bf16") in words(app)
    app = app.selectbox(key="second_bias").set_value("none").run()
    assert sentence("agreement.without_bias") in words(app)


def test_compare_without_a_probe_says_so(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "compare", runs=["without"])
    assert not app.exception
    assert sentence("agreement.no_probe") in words(app)


def test_the_microscope_opens_the_comparison_that_a_link_names(open_app: Opener, probed: Path) -> None:
    link = {"run": "free", "probe": 12, "second": "plain", "second_probe": 2}
    app = unfold(open_app(probed, "microscope", **link), "microscope_agreement")
    assert not app.exception
    assert app.selectbox(key="second").value == "plain"
    assert "no balancing after 2 updates" in words(app)
    app = unfold(open_app(probed, "microscope", run="free", second="gone"), "microscope_agreement")
    assert "second = gone" in words(app)


def test_the_replay_follows_its_controls_and_says_what_open_loop_means(
    open_app: Opener, probed: Path
) -> None:
    app = open_app(probed, "microscope", run="free", probe=12)
    before = charts(app)
    app = unfold(app, "microscope_replay")
    assert not app.exception
    assert charts(app) == before + 4
    assert OPEN_LOOP in words(app)
    app = app.selectbox(key="what").set_value("quantile").run()
    assert not app.exception
    app = app.selectbox(key="what_group").set_value("1 of 2").run()
    assert sentence("counterfactual.quantile_groups") in words(app)


def test_compare_replays_all_runs_that_keep_scores_and_names_the_others(
    open_app: Opener, probed: Path
) -> None:
    app = open_app(probed, "compare", runs=["free", "plain", "without"], probe=2, what="sign")
    assert sentence("counterfactual.no_probe") in words(app)
    before = charts(app)
    app = unfold(app, "replay")
    assert not app.exception
    assert charts(app) == before + 1 + 3 * 2
    assert (app.session_state["probe"], app.selectbox(key="what").value) == (2, "sign")
    app = app.selectbox(key="what").set_value("quantile").run()
    app = app.selectbox(key="what_group").set_value("1 of 2").run()
    assert not app.exception
    assert sentence("counterfactual.quantile_groups") in words(app)
    assert charts(app) == before


def test_compare_without_scores_links_to_runs_that_have_some(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "compare", runs=["without"])
    assert not app.exception
    assert sentence("counterfactual.no_probe") in words(app)
    assert [link for link in app.get("page_link") if link.proto.page == "microscope"]


def test_exports_and_links_know_the_panels_of_closed_sections(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "microscope", run="free", probe=12)
    keys = list(app.session_state["page_figures"].present_keys())
    assert "microscope-replay-imbalance" in keys
    assert "microscope-agreement-layers" in keys
    app = open_app(probed, "compare", runs=["free", "plain"])
    keys = list(app.session_state["page_figures"].present_keys())
    assert {"compare-replay-imbalance", "compare-replay-swaps-plain"} <= set(keys)
