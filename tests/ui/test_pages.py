"""Every page with data, without data and with damaged data."""

import html
import json
from pathlib import Path

import pytest
from app_pages import Opener, arm_info, charts, load_maps, terms_html, words
from sentences import sentence
from store_runs import write_run

from explorer.config.presets import get_preset
from explorer.ui.shared.plain import plain

PAGES = (
    "overview",
    "lessons",
    "compare",
    "replay",
    "microscope",
    "serving",
    "playground",
    "theory",
    "train",
    "import",
    "evidence",
    "glossary",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_any_run_says_what_to_do(open_app: Opener, page: str) -> None:
    app = open_app(page=page)
    assert not app.exception
    assert app.title
    if page in ("overview", "compare", "replay", "microscope"):
        assert "Train" in words(app)
        assert charts(app) == 0


@pytest.mark.parametrize(("page", "least"), [("overview", 1), ("compare", 8), ("replay", 3)])
def test_a_page_with_runs_shows_its_charts(open_app: Opener, recorded: Path, page: str, least: int) -> None:
    app = open_app(recorded, page)
    assert not app.exception
    assert not app.error
    assert charts(app) + len(load_maps(app)) >= least


@pytest.fixture(scope="module")
def with_unreadable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and one whose description ends early."""
    folder = tmp_path_factory.mktemp("with_unreadable")
    write_run(folder, "fine", steps=20)
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text('{"format_version": 1, "run_', encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_a_page_goes_on_beside_an_unreadable_run(open_app: Opener, with_unreadable: Path, page: str) -> None:
    app = open_app(with_unreadable, page)
    assert not app.exception
    if page == "overview":
        assert "broken" in words(app)
        assert sentence("errors.read_failed") in words(app)


def test_a_run_of_a_newer_format_is_listed_with_the_reason(open_app: Opener, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    write_run(shipped, "newer", steps=20)
    info = json.loads((shipped / "newer" / "run.json").read_text(encoding="utf-8"))
    (shipped / "newer" / "run.json").write_text(json.dumps({**info, "format_version": 99}), encoding="utf-8")
    text = words(open_app(shipped)).replace("\u00a0", " ")
    assert "newer" in text
    assert plain("format_version = 99").replace("\u00a0", " ") in text


def test_the_overview_tells_the_story_of_the_four_arms(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded)
    finding = next(m.value for m in app.markdown if "Average imbalance" in m.value)
    for words_of_arm in ("no balancing", "aux sequence", "aux global", "loss-free"):
        assert words_of_arm in finding
    assert [metric.label for metric in app.metric] == [
        "no balancing",
        "aux sequence 0.01",
        "aux global 0.01",
        sentence("labels.loss_free_short", rate="0.003"),
    ]


def test_every_chart_has_words_for_those_who_cannot_see_it(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare")
    texts = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    texts += [shown["alt"] for shown in load_maps(app)]
    assert all(len(text) > 20 for text in texts)
    assert any("MaxVio" in text for text in texts)


def test_one_run_alone_can_be_looked_at_and_says_that_it_is_alone(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0"])
    assert not app.exception
    assert sentence("compare.one_run") in words(app)


def test_runs_that_differ_in_more_than_the_rule_are_shown_with_the_difference(
    open_app: Opener, recorded: Path, tmp_path: Path
) -> None:
    base = get_preset("tiny").with_setting("model.top_k", 1)
    info = arm_info("loss_free", 0, base)
    del info["seed"]
    write_run(tmp_path / "own", "other-k", steps=20, seed=0, **info)
    app = open_app(recorded, "compare", runs=["none-seed0", "other-k"])
    warning = "\n".join(w.value for w in app.warning)
    assert plain(sentence("compare.differing_field", field="model.top_k", value=2, other=1)) in warning


def test_runs_of_different_seeds_are_shown_with_a_warning(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed1"])
    assert sentence("compare.no_common_seed") in words(app)


def test_a_single_seed_has_no_interval(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed0"])
    assert sentence("compare.one_seed") in words(app)


def test_two_seeds_print_their_resolution(open_app: Opener, recorded: Path) -> None:
    text = words(open_app(recorded, "compare"))
    assert "Resolution in perplexity: ±" in text


def test_a_run_without_biases_says_so(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="none-seed0")
    assert sentence("labels.no_bias_rule") in words(app)


def test_a_run_that_is_still_training_can_be_replayed(open_app: Opener, tmp_path: Path) -> None:
    write_run(tmp_path / "own", "live", steps=20, finish=False)
    app = open_app(page="replay", run="live")
    assert not app.exception
    assert "of 20 steps" in words(app)


def test_the_glossary_prints_every_term_with_its_sources(open_app: Opener) -> None:
    from explorer.metrics import glossary

    app = open_app(page="glossary")
    assert not app.exception
    text = html.unescape(terms_html(app))
    for term in glossary.TERMS:
        assert f">{term.title}<" in text
    assert "arxiv.org/abs/2408.15664" in text
