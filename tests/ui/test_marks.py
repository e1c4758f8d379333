"""The stroke beside an arm's name is that of its lines in the charts."""

import re
from pathlib import Path

import pytest
from app_pages import Opener

from explorer.charts.theme import family_ink
from explorer.figures.arm_set import ArmSet
from explorer.ui.shared import marks


def pieces(html: str) -> list[str]:
    return re.findall(r"background:([^\"]*)\"", html)


def test_sidebar_and_cards_draw_the_strokes_of_the_chart(open_app: Opener, recorded: Path) -> None:
    overview = [block.value for block in open_app(recorded).get("html")]
    compare = [block.value for block in open_app(recorded, "compare").get("html")]
    legend = pieces(next(text for text in compare if "<li" in text))
    cards = [ink for text in overview if "stroke" in text for ink in pieces(text)]
    assert legend == cards
    by_scope = [family_ink("aux_loss", scope).light for scope in ("sequence", "global_batch")]
    assert [sum(colour in stroke for stroke in legend) for colour in by_scope] == [1, 1]
    assert sum("gradient" in stroke for stroke in legend) == 1, "only the sequence scope is dashed"


@pytest.mark.parametrize("dark", [False, True])
def test_strokes_follow_the_page(dark: bool, open_app: Opener, recorded: Path) -> None:
    arms = open_app(recorded).session_state["shell"][2]
    (stroke, *_) = marks.strokes(ArmSet.of(arms), dark=dark).values()
    assert family_ink("none").pick(dark) in stroke
