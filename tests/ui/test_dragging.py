"""What the browser is sent to let charts follow a slider, and when only the server answers."""

from typing import Any

import pytest
from app_pages import Opener
from sentences import sentence

from explorer.charts.dragged import PARAM, PARTS
from explorer.figures.panel import Panel
from explorer.figures.store import Store
from explorer.figures.views import playground as playground_view
from explorer.figures.views import playground_choices as choices
from explorer.figures.views import theory as theory_view
from explorer.figures.views.choice import defaults
from explorer.simulate import RuleSettings, ScoreSettings
from explorer.ui.components.simulator import payload
from explorer.ui.playground import dragging
from explorer.ui.theory import dragging as theory_dragging

NOW = defaults(choices.CHOICES) | {"seed": "0", "at": "10", "S": "200", "T": "128"}
THEORY = defaults(theory_view.CHOICES) | {"tseed": "0", "tT": "64"}
NO_STORE: Any = None


def moved(values: dict[str, str]) -> tuple[Any, Any]:
    return dragging.moves(tuple(sorted(values.items())))


def merged(job: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The job with a change applied, as the browser does it."""
    return {
        key: {**value, **change[key]} if isinstance(change.get(key), dict) and isinstance(value, dict)
        else change.get(key, value)
        for key, value in job.items()
    }  # fmt: skip


@pytest.mark.parametrize("key", dragging.SLIDERS)
def test_a_position_changes_the_job_into_that_of_its_option(key: str) -> None:
    job, sliders = moved(NOW)
    options = choices.options_of(choices.BY_KEY[key], NOW)
    assert options[int(sliders[key].at)] == NOW[key]
    for option, change in zip(options, sliders[key].options, strict=True):
        if change is None:
            continue
        expected, _ = moved(NOW | {key: option})
        change_values = merged(job, change)
        # A baseline of other sizes is left to the server.
        if key in ("N", "K", "T") and option != NOW[key]:
            assert change_values["reference"] is None
            expected["reference"] = None
        assert change_values == expected


def others(values: dict[str, str]) -> dict[str, list[list[dict[str, Any]]]]:
    """Panel -> rows of its data sets that the browser does not bring."""
    questions = playground_view.questions(playground_view.settings_of(values))
    result = {}
    for key, question in questions.items():
        panel = question.answer(NO_STORE)
        assert isinstance(panel, Panel)
        assert panel.on_page
        frames = panel.on_page.datasets.values()
        result[key] = [frame.to_dicts() for frame in frames if set(frame.columns) not in PARTS.values()]
    return result


@pytest.mark.parametrize("key", [key for key in dragging.SLIDERS if key != "seed"])
def test_rows_that_the_browser_does_not_bring_are_the_same_for_all_positions(key: str) -> None:
    """The server's rows are not drawn while the browser's are shown."""
    now = NOW | {"swA": "100.sign.1e-3", "N": "8", "K": "1"}
    now |= {name: value for name, value in {"A": "rms", "B": "smebu"}.items() if name != key}
    options = choices.options_of(choices.BY_KEY[key], now)
    expected = others(now)
    assert [rows for sets in expected.values() for rows in sets if rows], "a change of rule is marked"
    for option in (options[0], options[-1]):
        assert others(now | {key: option}) == expected


def test_what_the_server_would_choose_otherwise_is_left_to_it() -> None:
    """With four experts, K = 8 is not on offer: the server chooses another K."""
    _, sliders = moved(NOW | {"K": "8"})
    assert sliders["N"].options[0] is None
    assert sliders["N"].options[2] is not None


def test_an_unknown_rule_is_left_to_the_server(monkeypatch: pytest.MonkeyPatch, open_app: Opener) -> None:
    assert payload.plain_settings(RuleSettings(rule="rms")) is not None
    monkeypatch.setattr(payload, "RULES", ("sign",))
    dragging.moves.cache_clear()
    assert payload.plain_settings(RuleSettings(rule="rms")) is None
    assert moved(NOW | {"A": "rms"}) == (None, {})
    assert theory_dragging.job_of(THEORY | {"rule": "rms"}) is None
    app = open_app(page="playground", A="rms", S="200", T="128")
    assert not app.exception
    assert sentence("playground.rms_side", rate="0.001") in " ".join(m.value for m in app.markdown)
    dragging.moves.cache_clear()


def test_an_unknown_setting_matters_only_away_from_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tuple(name for name in payload.FIELDS[ScoreSettings] if name != "noise")
    monkeypatch.setitem(payload.FIELDS, ScoreSettings, known)
    assert payload.plain_settings(ScoreSettings()) is not None
    assert payload.plain_settings(ScoreSettings(noise=2.0)) is None


@pytest.mark.parametrize("page", ["playground", "theory"])
def test_a_page_follows_and_a_file_does_not(page: str) -> None:
    """A chart on the page is bound to its event; the one that is exported is as it was."""
    store: Store = NO_STORE
    questions, charts = {
        "playground": (playground_view.questions(playground_view.settings_of(NOW)), dragging.CHARTS),
        "theory": (theory_view.questions(theory_view.settings_of(THEORY)), theory_dragging.CHARTS),
    }[page]
    panels = {panel.key: panel for panel in (question.answer(store) for question in questions.values())}
    for chart, key in charts.items():
        panel = panels[key]
        assert PARAM not in str(panel.spec.vega)
        bound = [param for param in panel.on_page.vega["params"] if param["name"] == PARAM]
        assert [param["bind"]["event"] for param in bound] == [f"moe-rows:{chart}"]
        columns = [set(frame.columns) for frame in panel.on_page.datasets.values()]
        assert any(part in columns for part in PARTS.values())


def test_no_axis_of_the_page_depends_on_the_playhead() -> None:
    """Or moving it places every line anew."""
    questions = playground_view.questions(playground_view.settings_of(NOW))
    panel = questions["playground_bias_A"].answer(NO_STORE)
    fields = [layer["encoding"].get("x", {}) for layer in panel.on_page.vega["layer"] if "encoding" in layer]
    assert "playhead" not in [x.get("field") for x in fields]
    assert {tuple(x["scale"]["domain"]) for x in fields if "field" in x} == {(0, 199)}
    in_file = [layer["encoding"].get("x", {}).get("field") for layer in panel.spec.vega["layer"]]
    assert "playhead" not in in_file
