"""A second rule in the playground: its address, what becomes of a bad one, and the story of its preset."""

from urllib.parse import parse_qs

import pytest
from app_pages import Opener, charts, max_vio_sentence, words
from sentences import sentence

from explorer.figures.simulation import RULE_NAMES
from explorer.figures.views.rule_change import RuleChange, parse
from explorer.simulate import RuleSettings, ScoreSettings, simulate, summary
from explorer.ui.playground.presets import BY_NAME, values_of

pytestmark = pytest.mark.usefixtures("small_pool")

PRESET = sentence("playground.story_switch")


@pytest.mark.parametrize("rule", list(RULE_NAMES))
def test_every_rule_is_read_back_from_its_text(rule: str) -> None:
    change = RuleChange(step=7, rule=rule, rate="5e-3", decay="sqrt")
    again = parse(str(change), 200)
    assert again is not None
    assert (again.step, again.rule) == (7, rule)
    assert str(again) == str(change)
    if rule != "none":
        assert again == change
        assert again.settings(0) == RuleSettings(rule=rule, rate=0.005, step_decay="sqrt")


def test_a_rate_may_be_left_out() -> None:
    assert parse("400.sign", 1000) == RuleChange(step=400, rule="sign")


BAD = [
    "400",
    "0.sign",
    "1000.sign",
    "-5.sign",
    "x.sign",
    "400.magic",
    "400.loss-free",
    "400.sign.0.1",
    "400.sign.1e-3.cosine",
    "400.sign.1e-3.sqrt.more",
    "400.none.1e-3",
    "٤٠٠.sign",
    "99999999999999999999.sign",
    "400.sign\n",
    "<script>",
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_change_is_none(text: str) -> None:
    assert parse(text, 1000) is None


@pytest.mark.parametrize("text", ["2000.sign", "400.magic", "<script>"])
def test_a_bad_address_gets_a_sentence_and_one_rule_all_the_time(open_app: Opener, text: str) -> None:
    app = open_app(page="playground", swA=text)
    assert not app.exception
    (message,) = [w.value for w in app.warning]
    assert text.strip("<") in message
    assert sentence("playground.switch_step", low=1, high=999) in message
    assert "from" not in max_vio_sentence(app).partition(" is near")[0]


def test_a_deep_link_simulates_both_rules_and_marks_every_time_axis(open_app: Opener) -> None:
    app = open_app(page="playground", A="none", swA="100.sign.1e-2", swB="150.none", S="200", T="256")
    assert not app.exception
    assert not app.warning
    shown = max_vio_sentence(app)
    assert sentence("playground.near_baseline", side="A: no balancing, from 100 sign u=0.01") in shown
    assert sentence("playground.balancing_from", step=100) in shown
    assert sentence("playground.side_proportional_then_none", rate="0.01", step=150) in shown
    assert sentence("playground.no_bias_at_end") in words(app)
    assert charts(app) == 6
    marked = [
        chart
        for chart in app.get("vega_lite_chart")
        if any(d.has_name and _is_change(d) for d in _data(chart))
    ]
    assert len(marked) == 4, "MaxVio, the biases of both sides and the switched share"


def _data(chart: object) -> list[object]:
    return list(chart.proto.datasets)  # type: ignore[attr-defined]


def _is_change(dataset: object) -> bool:
    return b"words" in dataset.data.data  # type: ignore[attr-defined]


def test_the_button_switches_at_the_playhead_and_remove_takes_it_back(open_app: Opener) -> None:
    app = open_app(page="playground", A="none", S="200", at="120", T="256")
    app.selectbox(key="swA_rule").set_value("proportional").run()
    app.select_slider(key="swA_rate").set_value("1e-2").run()
    app.button(key="swA_set").click().run()
    assert app.session_state["swA"] == "120.proportional.1e-2"
    assert sentence("playground.side_none_then_proportional", step=120, rate="0.01") in max_vio_sentence(app)
    app.button(key="swA_remove").click().run()
    assert app.session_state["swA"] == ""
    assert "from 120" not in max_vio_sentence(app)


def test_at_the_end_of_the_steps_a_place_in_the_middle_is_proposed(open_app: Opener) -> None:
    app = open_app(page="playground", S="200", T="256")
    assert app.number_input(key="swB_step_199_199").value == 80
    app.button(key="swB_set").click().run()
    assert app.session_state["swB"] == "80.sign.1e-3"


def test_fewer_steps_take_a_later_change_with_them(open_app: Opener) -> None:
    app = open_app(page="playground", swA="400.none", T="256")
    app.select_slider(key="S").set_value("200").run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "from 400" not in max_vio_sentence(app)
    app.select_slider(key="S").set_value("500").run()
    assert not app.warning
    assert "from 400 no balancing" in max_vio_sentence(app)


def test_a_link_of_a_lesson_takes_the_visitors_own_change_of_rule_away(open_app: Opener) -> None:
    app = open_app(page="playground", swA="100.sign.1e-2", swB="150.none", S="200", T="256")
    assert "from 100 sign" in max_vio_sentence(app)
    slug = "why-experts-collapse"
    app.query_params.clear()
    app.query_params["lesson"], app.query_params["part"] = slug, "3"
    app.switch_page("../../pages/lessons.py").run()
    app.button(key=f"skip_guess_{slug}_3").click().run()
    (link,) = [
        x.proto for x in app.get("page_link") if sentence("controls.with_these_settings") in x.proto.label
    ]
    query = parse_qs(link.query_string, keep_blank_values=True)
    assert query["swA"] == query["swB"] == [""]
    app.query_params.clear()
    for name, values in query.items():
        app.query_params[name] = values
    app.switch_page("../../pages/playground.py").run()
    assert not app.exception
    assert not app.warning
    assert app.session_state["swA"] == app.session_state["swB"] == ""
    assert "from 100" not in max_vio_sentence(app)


@pytest.mark.parametrize("seed", range(5))
def test_the_preset_tells_what_happens(seed: int) -> None:
    """Loads grow more uneven while nobody acts; then they are brought level, later than from the start."""
    values = values_of(BY_NAME[PRESET])
    change = parse(values["swA"], int(values["S"]))
    assert change is not None
    scores = ScoreSettings(skew=float(values["skew"]), feedback=float(values["rich"]), seed=seed)
    late = simulate(scores, RuleSettings(rule=values["A"]), changes=[(change.step, change.settings(0))])
    early = simulate(scores, RuleSettings(rule=values["B"], rate=float(values["uB"])))
    assert late.max_vio[change.step - 20 : change.step].mean() > 2 * late.max_vio[:20].mean()
    took, at_once = summary.steps_to_balance(late, change.step), summary.steps_to_balance(early)
    assert took is not None
    assert at_once is not None
    assert took > 2 * at_once
