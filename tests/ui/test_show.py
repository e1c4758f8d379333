"""Words and formulas as the pages show them."""

import pytest

from explorer.ui.shared.show import lasting_alt, plain, stacked


def test_parts_of_a_formula_stand_under_each_other() -> None:
    text = stacked(r"a = b, \qquad c = \frac{d}{e}")
    assert text == r"\begin{gathered}a = b \\[.4em] c = \frac{d}{e}\end{gathered}\;"


def test_a_formula_of_one_part_stays_one_line() -> None:
    assert stacked(r"a = b") == r"a = b\;"


def test_a_gap_inside_braces_belongs_to_its_part() -> None:
    assert "gathered" not in stacked(r"\text{a \qquad b} = c")
    assert stacked(r"\{a\} \qquad \{b\}").count(r"\\[") == 1, "a set's braces are not groups"


def test_the_marks_of_markdown_are_text_in_a_computed_sentence() -> None:
    assert plain("a_b *c*") == r"a\_b \*c\*"


@pytest.mark.parametrize(
    "subject",
    ["Bias trajectories of layer {}", "Expert load of quick none, layer {}, seed 0", "Scores in layer {}"],
)
def test_the_description_of_a_chart_that_stays_leaves_the_layer_to_the_page(subject: str) -> None:
    assert lasting_alt(subject.format(3)) == lasting_alt(subject.format(12))
    assert "layer" not in lasting_alt(subject.format(3))
