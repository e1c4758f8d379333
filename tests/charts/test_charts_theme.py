"""Colours, scales and labels: what must hold for every figure."""

import re
from itertools import combinations, pairwise, product

import numpy as np
import polars as pl
import pytest
from contrast import CONFIG, PAGES, contrast, linear
from hypothesis import given
from hypothesis import strategies as st
from sentences import sentence

from explorer.charts import evidence_runs, inks, labels, scales, theme
from explorer.config.routings import KINDS

# Machado et al. 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


def lab(colour: str, deficiency: np.ndarray) -> np.ndarray:
    rgb = np.clip(deficiency @ linear(colour), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ rgb / [0.9505, 1.0, 1.089]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: str, b: str, deficiency: np.ndarray) -> float:
    return float(np.linalg.norm(lab(a, deficiency) - lab(b, deficiency)))


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_enough_contrast_on_the_page(dark: bool) -> None:
    inks = {**theme.FAMILY_TEXT, "neutral": theme.NEUTRAL_TEXT, "strong": theme.STRONG_TEXT}
    for name, ink in inks.items():
        assert contrast(ink.pick(dark), PAGES[dark]) >= 4.5, name


@pytest.mark.parametrize("dark", [False, True])
def test_lines_have_enough_contrast_on_the_page(dark: bool) -> None:
    for name, ink in {**theme.FAMILIES, "reference": theme.REFERENCE, "dead": theme.DEAD}.items():
        assert contrast(ink.pick(dark), PAGES[dark]) >= 3, name


def test_the_theme_file_uses_the_same_method_colours() -> None:
    order = ("loss_free", "aux_loss", "none", "combined", "scheduled")
    for dark, section in ((False, "light"), (True, "dark")):
        wanted = [theme.FAMILIES[family].pick(dark) for family in order]
        assert CONFIG["theme"][section]["chartCategoricalColors"][:5] == wanted
        diverging = [ink.pick(dark) for ink in scales.stops()]
        del diverging[5]  # Streamlit wants exactly ten
        assert CONFIG["theme"][section]["chartDivergingColors"] == diverging


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_routings_stay_apart_from_the_rules_and_each_other(deficiency: str, dark: bool) -> None:
    routings = [name for name in KINDS if name != "token_choice"]
    assert set(routings) <= set(theme.FAMILIES) & set(theme.FAMILY_TEXT) & set(theme.FAMILY_LABELS)
    for name in routings:
        for other in set(theme.FAMILIES) - {name}:
            pair = (theme.FAMILIES[name].pick(dark), theme.FAMILIES[other].pick(dark))
            assert distance(*pair, DEFICIENCIES[deficiency]) >= 14, (name, other)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_methods_stay_apart_without_full_colour_vision(deficiency: str, dark: bool) -> None:
    main = [theme.FAMILIES[f].pick(dark) for f in ("none", "aux_loss", "loss_free")]
    for a, b in combinations(main, 2):
        assert distance(a, b, DEFICIENCIES[deficiency]) >= 20


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_dead_experts_look_like_no_load(deficiency: str, dark: bool) -> None:
    for ink in scales.stops():
        assert distance(theme.DEAD.pick(dark), ink.pick(dark), DEFICIENCIES[deficiency]) >= 20


@pytest.mark.parametrize("dark", [False, True])
def test_the_load_scale_gets_steadily_further_from_the_page(dark: bool) -> None:
    lightness = [lab(ink.pick(dark), DEFICIENCIES["normal"])[0] for ink in scales.stops()]
    away = 1 if dark else -1
    for side in (lightness[5:], lightness[5::-1]):
        assert all(away * (b - a) > 0 for a, b in pairwise(side))


def test_on_a_dark_page_the_eye_goes_to_busy_experts() -> None:
    """Light attracts it there: idle experts must stay behind one with twice the uniform load."""
    page, inks = PAGES[True], [ink.dark for ink in scales.stops()]
    for colour in inks[:6]:
        assert contrast(colour, page) < contrast(inks[8], page)
    assert contrast(theme.DEAD.dark, page) < contrast(inks[8], page)


@pytest.mark.parametrize("dark", [False, True])
def test_bars_show_on_the_page_at_every_load(dark: bool) -> None:
    for ink in scales.bar_stops():
        assert contrast(ink.pick(dark), PAGES[dark]) >= 1.5


def test_tick_labels_mark_the_clipped_ends() -> None:
    assert scales.tick_labels() == ["≤ ×1/4", "×1/2", "×1", "×2", "≥ ×4"]


def test_the_load_scale_is_symmetric_and_the_same_for_all_data() -> None:
    scale = scales.load_scale().to_dict()
    assert scale["domain"][0] == -2
    assert scale["domain"][-1] == 2
    assert scale["domain"][5] == 0
    assert scale["clamp"] is True


def test_log_ticks_are_one_two_five() -> None:
    assert scales.log_ticks(0.1, 10) == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50])


def test_runs_of_one_rule_and_scope_share_a_colour_and_differ_by_dash() -> None:
    styles = theme.run_styles(
        ["a", "b", "c", "a"], {"a": "A", "b": "B"}, {"a": "loss_free", "b": "loss_free", "c": "aux_loss"}
    )
    assert [s.label for s in styles] == ["A", "B", "c"]
    assert styles[0].ink == styles[1].ink == theme.FAMILIES["loss_free"]
    assert styles[0].dash == styles[2].dash != styles[1].dash
    assert styles[2].ink == theme.FAMILIES["aux_loss"]


def test_the_scope_decides_shade_and_dash_wherever_a_run_stands() -> None:
    scopes = {"a": "global_batch", "b": "micro_batch", "c": "sequence", "d": "sequence"}
    families = dict.fromkeys(scopes, "aux_loss")
    together = {s.run_id: s for s in theme.run_styles("abcd", families=families, scopes=scopes)}
    (alone,) = theme.run_styles("c", families=families, scopes=scopes)
    assert alone == together["c"], "the same line beside other runs"
    assert together["a"].ink == theme.FAMILIES["aux_loss"]
    assert together["a"].dash == (1, 0)
    assert together["c"].ink == together["d"].ink != together["b"].ink
    assert len({s.dash for s in together.values()}) == 4


def test_every_scope_has_dashes_of_its_own() -> None:
    scopes = ("global_batch", *inks.DASHES)
    dashes = [inks.dash_of(scope, nth) for scope in scopes for nth in range(6)]
    assert len(set(dashes)) == len(dashes)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_scopes_of_the_main_rules_stay_apart_without_full_colour_vision(deficiency: str, dark: bool) -> None:
    drawn = {("none", ""): theme.family_ink("none")}
    for family in ("aux_loss", "loss_free"):
        drawn |= {(family, scope): theme.family_ink(family, scope) for scope in ("", *inks.SHADES)}
    for (a, one), (b, other) in combinations(drawn.items(), 2):
        pair = (one.pick(dark), other.pick(dark))
        assert distance(*pair, DEFICIENCIES[deficiency]) >= 10, (a, b)


RULES = ("none", "aux_loss", "loss_free", "smebu", "quantile", "combined", "scheduled")


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_highest_and_lowest_bias_have_no_colour_of_a_rule(deficiency: str, dark: bool) -> None:
    highest, lowest = (ink.pick(dark) for ink in theme.EXPERT_INKS[:2])
    assert min(contrast(ink, PAGES[dark]) for ink in (highest, lowest)) >= 3
    assert distance(highest, lowest, DEFICIENCIES[deficiency]) >= 20
    for rule, ink in product(RULES, (highest, lowest)):
        assert distance(ink, theme.FAMILIES[rule].pick(dark), DEFICIENCIES[deficiency]) >= 9, rule


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_smebu_stays_apart_from_every_other_method(deficiency: str, dark: bool) -> None:
    """Beside loss-free, whose update it changes, a dash alone would be hard to follow."""
    own = theme.FAMILIES["smebu"].pick(dark)
    for other in set(theme.FAMILIES) - {"smebu"}:
        assert distance(own, theme.FAMILIES[other].pick(dark), DEFICIENCIES[deficiency]) >= 16, other
    for scope in inks.SHADES:
        shade = theme.family_ink("loss_free", scope).pick(dark)
        assert distance(own, shade, DEFICIENCIES[deficiency]) >= 15, scope


@pytest.mark.parametrize("dark", [False, True])
def test_no_expert_has_the_colour_of_a_rule(dark: bool) -> None:
    for rule, ink in product(RULES, theme.EXPERT_INKS):
        pair = (ink.pick(dark), theme.FAMILIES[rule].pick(dark))
        assert distance(*pair, DEFICIENCIES["normal"]) >= 9, (rule, ink)


@pytest.mark.parametrize("dark", [False, True])
def test_shades_of_a_scope_go_away_from_the_page(dark: bool) -> None:
    for family, scope in product(theme.FAMILIES, inks.SHADES):
        for of in (theme.family_ink, theme.family_text):
            base, shade = of(family).pick(dark), of(family, scope).pick(dark)
            assert contrast(shade, PAGES[dark]) >= contrast(base, PAGES[dark]) >= 3, (family, scope)


def test_equal_labels_are_told_apart() -> None:
    styles = theme.run_styles(["run-1", "run-2"], {"run-1": "loss-free", "run-2": "loss-free"})
    assert [s.label for s in styles] == ["loss-free · run-1", "loss-free · run-2"]


def test_an_ink_picks_by_the_luminance_of_the_figure() -> None:
    text = theme.Ink("#111111", "#EEEEEE").expr.to_dict()["expr"]
    assert re.fullmatch(r"luminance\(background\) < 0\.3 \? '#EEEEEE' : '#111111'", text)


def test_labels_are_broken_before_the_scope() -> None:
    assert labels.break_label("auxiliary loss α=0.01 (sequence scope)") == sentence(
        "labels.aux_loss_broken", coeff="0.01", scope="sequence"
    )
    assert labels.break_label("no balancing") == sentence("labels.none")


numbers = st.floats(-100, 100, allow_nan=False)


@given(st.lists(st.tuples(numbers, st.floats(0.1, 5)), max_size=12))
def test_spread_labels_never_overlap_and_stay_inside(items: list[tuple[float, float]]) -> None:
    wanted, sizes = [w for w, _ in items], [s for _, s in items]
    low, high = -100.0, 100.0
    centres = labels.spread_apart(wanted, sizes, low, high)
    boxes = sorted((c - s / 2, c + s / 2) for c, s in zip(centres, sizes, strict=True))
    assert all(b[0] >= a[1] - 1e-6 for a, b in pairwise(boxes))
    assert all(low - 1e-6 <= a and b <= high + 1e-6 for a, b in boxes)
    order = sorted(range(len(items)), key=lambda i: (wanted[i], i))
    assert [centres[i] for i in order] == sorted(centres)


def test_labels_with_room_stay_where_they_belong() -> None:
    assert labels.spread_apart([1.0, 8.0], [1, 1], 0, 10) == [1.0, 8.0]


def test_labels_at_an_edge_are_pushed_inside() -> None:
    assert labels.spread_apart([10.0, 10.0, 9.9], [1, 1, 1], 0, 10) == pytest.approx([8.5, 9.5, 7.5])
    assert labels.spread_apart([0.0, 0.0], [1, 1], 0, 10) == pytest.approx([0.5, 1.5])


def test_too_many_labels_share_the_space() -> None:
    centres = labels.spread_apart([5.0] * 4, [10] * 4, 0, 10)
    assert centres == pytest.approx([1.25, 3.75, 6.25, 8.75])


def test_arms_of_one_method_differ_by_dash_and_by_mark_on_the_evidence_page() -> None:
    arms = [
        ("a", "aux_loss", "global_batch"),
        ("b", "aux_loss", "global_batch"),
        ("c", "aux_loss", "sequence"),
    ]
    frame = pl.DataFrame(
        [(*arm, "run", 50.0, 1.0, 0, 1.0) for arm in arms],
        schema=["arm", "family", "scope", "run", "share", "max_vio", "seed", "lm_loss"],
        orient="row",
    )
    thick = evidence_runs.course(frame).to_dict()["layer"][1]["encoding"]
    dashes = [tuple(dash) for dash in thick["strokeDash"]["scale"]["range"]]
    assert len(set(dashes)) == 3
    assert dashes[2] == inks.dash_of("sequence", 0)
    marks = evidence_runs.plane(frame).to_dict()["encoding"]["shape"]["scale"]["range"]
    assert len(set(marks)) == 3
    assert marks[0] == "circle"
