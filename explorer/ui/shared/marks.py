"""The stroke of an arm's lines beside its name: colour and dash as in every chart of the page."""

from itertools import accumulate, pairwise

from explorer.charts.inks import Dash
from explorer.charts.theme import RunStyle, run_styles
from explorer.figures.arm_set import ArmSet

SOLID: Dash = (1, 0)


def strokes(arms: ArmSet, *, dark: bool) -> dict[str, str]:
    """Token -> HTML of a short line that screen readers skip. `st.html` drops SVG, so it is a gradient."""
    styles = run_styles([arm.token for arm in arms], arms.labels, arms.families, arms.scopes)
    return {style.run_id: _stroke(style, dark) for style in styles}


def _stroke(style: RunStyle, dark: bool) -> str:
    return (
        '<span class="stroke" aria-hidden="true" style="display:inline-block;width:30px;height:3px;'
        "margin-right:.5rem;text-indent:0;vertical-align:middle;"
        f'background:{_background(style.ink.pick(dark), style.dash)}"></span>'
    )


def _background(colour: str, dash: Dash) -> str:
    if dash == SOLID:
        return colour
    ends = list(accumulate(dash, initial=0))
    stops = [
        f"{'transparent' if nth % 2 else colour} {start}px {end}px"
        for nth, (start, end) in enumerate(pairwise(ends))
    ]
    return f"repeating-linear-gradient(90deg,{','.join(stops)})"
