"""Playground and Theory without a browser: every preset, every bad address, every rule."""

from typing import Any
from urllib.parse import parse_qs

import pytest
from app_pages import Opener, charts, max_vio_sentence, words
from sentences import sentence
from streamlit.testing.v1 import AppTest

from explorer.figures.panel import Panel, slug
from explorer.figures.store import OpenStore
from explorer.figures.views import playground as playground_view
from explorer.figures.views import playground_choices, rule_change
from explorer.figures.views import theory as theory_view
from explorer.figures.views.theory import BIAS_RULES
from explorer.figures.views.view import Opener as ViewOpener
from explorer.ui.playground.presets import BY_NAME, PRESETS, values_of
from explorer.ui.server.services import services
from explorer.ui.shared.panels import KEY

pytestmark = pytest.mark.usefixtures("small_pool")

PAGE_CHARTS = 6
THEORY_CHARTS = 10
THEORY_CHARTS_OF_RATE = 7
"""Those of the descent; the others learn online, at a rate of their own."""


@pytest.mark.parametrize(("page", "rate"), [("playground", "uA"), ("theory", "u")])
def test_another_rate_leaves_the_descriptions_of_charts_alone(open_app: Opener, page: str, rate: str) -> None:
    """A browser draws a chart anew where its description differs."""
    app = open_app(page=page)
    before = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    app.select_slider(key=rate).set_value("1e-4").run()
    drawn = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    assert len(drawn) >= 6
    assert set(drawn) <= set(before)


def test_the_page_tells_its_story_without_any_run(open_app: Opener) -> None:
    app = open_app(page="playground")
    assert not app.exception
    assert not app.warning
    assert charts(app) == PAGE_CHARTS
    text = max_vio_sentence(app)
    assert sentence("playground.near_baseline", side="A: sign u=0.001") in text
    assert sentence("playground.near_baseline", side="B: proportional u=0.01") in text
    assert PRESETS[0].comment in words(app)


def test_every_chart_says_what_it_shows(open_app: Opener) -> None:
    for page in ("playground", "theory"):
        app = open_app(page=page)
        assert all(len(chart.proto.alt) > 40 for chart in app.get("vega_lite_chart"))


def test_a_preset_sets_every_control_and_says_its_sentence(open_app: Opener) -> None:
    """One after the other: whatever the last one has set, the next one sets anew."""
    app = open_app(page="playground", seed="3")
    keys = (*playground_choices.BY_KEY, *rule_change.KEYS.values())
    for name in (*list(BY_NAME)[1:], PRESETS[0].name):
        app.pills(key="situation").set_value(name).run()
        assert not app.exception, name
        assert not app.warning, name
        assert {key: str(app.session_state[key]) for key in keys} == values_of(BY_NAME[name])
        assert app.session_state["at"] == int(values_of(BY_NAME[name])["S"]) - 1, name
        assert BY_NAME[name].comment in words(app)
        assert app.session_state["seed"] == 3, name
        assert charts(app) == PAGE_CHARTS, name


def test_no_two_presets_are_the_same() -> None:
    settings = [tuple(sorted(values_of(preset).items())) for preset in PRESETS]
    assert len(set(settings)) == len(PRESETS)
    for preset in PRESETS:
        for key, value in preset.values.items():
            if key in rule_change.KEYS.values():
                steps = int(values_of(preset)["S"])
                assert str(rule_change.parse(value, steps)) == value
            else:
                assert value in playground_choices.BY_KEY[key].options
            assert preset.comment.endswith((".", "?"))


def test_a_change_of_a_control_leaves_the_preset(open_app: Opener) -> None:
    app = open_app(page="playground")
    app.select_slider(key="uA").set_value("1e-4").run()
    assert app.pills(key="situation").value is None
    assert sentence("playground.never_near") in max_vio_sentence(app)
    assert "Your own settings" in words(app)


CONTROLS = {"N", "uA", "uB", "at"}


def drawn(app: AppTest) -> set[object]:
    """Every sentence, every table, and every chart with its rows."""
    elements = [*app.get("vega_lite_chart"), *app.get("bidi_component")]
    return {*(text.value for text in app.markdown), *(bytes(e.proto.SerializeToString()) for e in elements)}


@pytest.mark.parametrize(
    ("key", "option", "query"),
    [("uB", "2e-2", {}), ("at", 50, {"A": "rms"}), ("smebuA_kappa", None, {"A": "smebu"})],
)
def test_a_number_draws_what_it_changes_and_no_other_control(
    open_app: Opener, key: str, option: Any, query: dict[str, str]
) -> None:
    if option is None:
        choice = playground_choices.SMEBU["A"][0]
        key, option = choice.key, next(o for o in choice.options if o != choice.default)
    app = open_app(page="playground", **query)
    before = drawn(app)
    (app.slider if key == "at" else app.select_slider)(key=key).set_value(option).run()
    assert not app.exception
    assert charts(app) == PAGE_CHARTS
    assert not [control for control in (*app.select_slider, *app.slider) if control.key in CONTROLS]
    fresh = drawn(open_app(page="playground", **query, **{key: option}))
    assert fresh - before, "the control changes something"
    assert fresh - before <= drawn(app) <= fresh


def test_the_rate_of_theory_draws_what_it_changes_and_no_other_control(open_app: Opener) -> None:
    app = open_app(page="theory", tT="64", tS="100")
    before = drawn(app)
    app.select_slider(key="u").set_value("5e-2").run()
    assert not app.exception
    assert charts(app) == THEORY_CHARTS_OF_RATE
    assert not [*app.select_slider, *app.selectbox]
    fresh = drawn(open_app(page="theory", tT="64", tS="100", u="5e-2"))
    assert fresh - before, "the rate changes something"
    assert fresh - before <= drawn(app) <= fresh


def test_the_form_for_another_rule_begins_at_the_playhead(open_app: Opener) -> None:
    app = open_app(page="playground")
    app.slider(key="at").set_value(50).run()
    assert [number.value for number in app.number_input if number.label == "From step"] == [50, 50]


def test_a_deep_link_opens_what_it_names(open_app: Opener) -> None:
    app = open_app(
        page="playground", A="rms", uA="5e-3", B="none", N="8", K="1", T="256", S="200", seed="7", at="50"
    )
    assert not app.exception
    assert not app.warning
    assert sentence("playground.rms_side", rate="0.005") in max_vio_sentence(app)
    assert "B: no balancing" in max_vio_sentence(app)
    assert sentence("bias_step.at_step", step=50) in words(app)
    assert app.session_state["seed"] == 7


BAD = [
    ("A", "magic", "sign"),
    ("uB", "0.0123", "1e-2"),
    ("nA", "cosine", "constant"),
    ("N", "17", "16"),
    ("N", "<script>", "16"),
    ("K", "-2", "2"),
    ("T", "1e9", "512"),
    ("S", "", "1000"),
    ("skew", "nan", "1"),
    ("drift", "inf", "0"),
    ("shift", "2000", "0"),
    ("rich", "0,01", "0"),
    ("gate", "SIGMOID", "sigmoid"),
    ("seed", "-1", "0"),
    ("seed", "99999999999999999999", "0"),
    ("at", "1000", "999"),
    ("at", "first", "999"),
]


def in_different_keys(cases: list[tuple[str, str, str]]) -> list[dict[str, tuple[str, str]]]:
    """As few groups as there can be: {key: (value, fallback)}, one value of a key in each."""
    groups: list[dict[str, tuple[str, str]]] = []
    for key, value, fallback in cases:
        group = next((group for group in groups if key not in group), {})
        if not group:
            groups.append(group)
        group[key] = (value, fallback)
    return groups


@pytest.mark.parametrize("group", in_different_keys(BAD), ids=lambda group: ",".join(group))
def test_a_bad_value_gets_a_sentence_and_falls_back(
    open_app: Opener, group: dict[str, tuple[str, str]]
) -> None:
    app = open_app(page="playground", **{key: value for key, (value, _) in group.items()})
    assert not app.exception
    sentences = [w.value.replace("\u00a0", " ") for w in app.warning]
    assert len(sentences) == len(group)
    for key, (value, fallback) in group.items():
        assert str(app.session_state[key]) == fallback
        (text,) = (text for text in sentences if f" {key} = " in text)
        assert value in text
    assert charts(app) == PAGE_CHARTS


def test_k_cannot_exceed_the_number_of_experts(open_app: Opener) -> None:
    app = open_app(page="playground", N="4", K="8")
    assert not app.exception
    assert app.session_state["K"] == "2"
    assert sentence("links.must_be_one_of") + " 1, 2, 4" in app.warning[0].value


def test_fewer_steps_take_playhead_and_shift_with_them(open_app: Opener) -> None:
    app = open_app(page="playground", shift="500")
    app.select_slider(key="S").set_value("200").run()
    assert not app.exception
    assert app.session_state["at"] == 199
    assert app.session_state["shift"] == "0"


def test_the_playhead_moves_the_loads(open_app: Opener) -> None:
    app = open_app(page="playground")
    assert sentence("bias_step.at_step", step=999) in words(app)
    app.slider(key="at").set_value(0).run()
    assert sentence("bias_step.at_step", step=0) in words(app)


def test_the_auxiliary_loss_shows_what_it_has_learnt(open_app: Opener) -> None:
    app = open_app(page="playground", A="aux_loss", uA="5e-1", B="aux_loss", uB="1e-1", S="200")
    assert not app.exception
    assert sentence("playground.auxiliary_scores") in words(app)
    assert sentence("playground.no_bias") in words(app)


@pytest.mark.parametrize(
    ("page", "open_view", "query"),
    [
        (
            "playground",
            playground_view.open_view,
            {"B": "none", "swB": "50.rms.1e-2", "S": "200", "at": "60"},
        ),
        ("theory", theory_view.open_view, {"rule": "rms", "tT": "64", "tS": "100", "tseed": "2"}),
    ],
)
def test_a_page_shows_what_its_view_has(
    open_app: Opener, page: str, open_view: ViewOpener, query: dict[str, str]
) -> None:
    app = open_app(page=page, **query)
    assert not app.exception
    figures = app.session_state[KEY]
    view = open_view(OpenStore(services().index), (), {key: [value] for key, value in query.items()})
    assert figures.keys == [slug(question.key) for question in view.questions]
    for question in view.questions:
        panel, shown = question.answer(OpenStore(services().index)), figures.get(slug(question.key))
        assert isinstance(panel, Panel)
        assert shown.table is not None
        assert panel.table is not None
        assert shown.table.equals(panel.table)
        assert (shown.subject, shown.finding, shown.how) == (panel.subject, panel.finding, panel.how)
    named = {key: values[-1] for key, values in view.query.items()}
    link = {key: values[-1] for key, values in parse_qs(figures.query).items()}
    assert link == named


def test_theory_tells_its_story(open_app: Opener) -> None:
    app = open_app(page="theory")
    assert not app.exception
    assert not app.warning
    assert charts(app) == THEORY_CHARTS
    text = words(app)
    assert sentence("theory.condition") in text
    assert "and " + sentence("theory.dual_never_rises") in text
    assert sentence("theory.own_preference") in text
    assert sentence("theory.second_eigenvalue") in text
    assert len(app.latex) == 5


def test_theory_says_what_is_published_and_what_was_derived_here(open_app: Opener) -> None:
    text = words(open_app(page="theory"))
    assert "**Published**" in text
    assert "only the abstracts" in text
    assert "**Derived here**" in text


@pytest.mark.parametrize("rule", BIAS_RULES)
@pytest.mark.parametrize("size", ["constant", "harmonic"])
def test_theory_takes_every_rule(open_app: Opener, rule: str, size: str) -> None:
    app = open_app(page="theory", rule=rule, dec=size, u="1", tT="64", tS="100", tE="4", tK="2")
    assert not app.exception
    assert not app.warning
    assert charts(app) == THEORY_CHARTS


def test_theory_without_any_skew_rests_or_moves_but_does_not_break(open_app: Opener) -> None:
    app = open_app(page="theory", tskew="0", tT="64", u="1e-5", tS="100")
    assert not app.exception
    assert charts(app) == THEORY_CHARTS


@pytest.mark.parametrize(
    ("key", "value", "fallback"),
    [("rule", "none", "sign"), ("u", "2", "5e-3"), ("tE", "64", "8"), ("tK", "8", "1"), ("tseed", "x", "0")],
)
def test_theory_falls_back_with_a_sentence(open_app: Opener, key: str, value: str, fallback: str) -> None:
    app = open_app(page="theory", **{key: value})
    assert not app.exception
    assert str(app.session_state[key]) == fallback
    assert len(app.warning) == 1
    assert value in app.warning[0].value


@pytest.mark.parametrize(
    ("rule", "label", "part"),
    [
        ("sign", "Rate u of A", r"u\,\mathrm{sign}"),
        ("smebu", "Rate u of A", r"\beta m_i"),
        ("quantile", "Share ρ of A", r"\rho\,b_i^{\ast}"),
        ("aux_loss", "Rate αη of A", r"\alpha\eta"),
    ],
)
def test_a_rule_stands_beside_its_formula_and_u_is_only_the_bias_rate(
    open_app: Opener, rule: str, label: str, part: str
) -> None:
    app = open_app(page="playground", A=rule)
    assert app.select_slider(key="uA").label == label
    formula = next(m.value for m in app.markdown if m.value.startswith("$"))
    assert part in formula
    assert (" u=" in max_vio_sentence(app).split("B: ")[0]) == (rule in ("sign", "smebu"))


def test_smebu_has_controls_of_its_own_which_other_rules_do_not_show(open_app: Opener) -> None:
    app = open_app(page="playground", B="smebu", uB="5e-3", kB="5", mB="0.9", S="200")
    assert not app.exception
    assert not app.warning
    assert sentence("playground.smebu_side") in max_vio_sentence(app)
    assert {slider.key for slider in app.select_slider} >= {"kB", "mB"}
    assert not {slider.key for slider in app.select_slider} & {"kA", "mA"}
    before = max_vio_sentence(app)
    app.select_slider(key="kB").set_value("50").run()
    assert max_vio_sentence(app) != before
    app.run()  # with the controls, which another constant does not draw
    app.selectbox(key="B").set_value("sign").run()
    assert not {slider.key for slider in app.select_slider} & {"kB", "mB"}
    assert (app.session_state["kB"], app.session_state["mB"]) == ("2", "0.5")


def test_constants_of_smebu_are_no_settings_of_another_rule() -> None:
    values = values_of(PRESETS[0])
    others = values | {"kA": "50", "mA": "0.9"}
    assert playground_choices.rule_of(values, "A") == playground_choices.rule_of(others, "A")


def test_every_simulated_rule_has_a_formula() -> None:
    from explorer.figures.simulation import RULE_NAMES
    from explorer.ui.playground.formulas import UPDATES

    assert list(UPDATES) == list(RULE_NAMES)
