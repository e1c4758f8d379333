"""Link the charts of a page and the player: the expert under the pointer is highlighted in all of them.

All of it happens inside the browser. The expert under the pointer is the `value` of the page's root element,
and an event at that element says that it has changed; Vega's direct binding reads and writes both, and
`ui/components/shared/vega_bridge.js` does so for the player. The event carries a scope in its name: expert 3
of one run is not expert 3 of another, so figures of different runs never light up together.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from explorer.charts import theme

EXPERT_EVENT = "moe-expert"
"""Sent to the root element when the expert under the pointer changes; followed by `:` and the scope."""
PICK_EVENT = "moe-pick"
"""Sent to the page's head when a point was clicked; its `value` is then expert@step."""
ANY_LIT = "(isValid(hover.expert) && isValid(hover.expert[0]))"
"""Vega expression: whether an expert is under the pointer, here or in a linked figure."""


def event_name(scope: str) -> str:
    """The event of a scope, which is that of one run."""
    return f"{EXPERT_EVENT}:{scope}"


def scope_of(run_id: str) -> str:
    """The scope of a run's figures: a page shows one layer of a run at a time.

    Not the layer itself: the name of the event is part of a figure, and the browser would draw every figure
    anew for another layer instead of exchanging its rows.
    """
    return run_id


def is_lit(expert: str = "datum.expert") -> str:
    """Vega expression: whether this expert is the one under the pointer."""
    return f"({ANY_LIT} && hover.expert[0] == {expert})"


def hover(scope: str | None, *, nearest: bool = False) -> alt.Parameter:
    """The selection `hover` of one expert; with a scope, linked to the rest of the page."""
    linked: dict[str, Any] = {}
    if scope is not None:
        linked["bind"] = alt.BindDirect(element="html", event=event_name(scope))
    if nearest:
        linked["nearest"] = True
    return alt.selection_point(
        name="hover", fields=["expert"], on="pointerover", clear="pointerout", empty=False, **linked
    )


def pick_point(*, linked: bool) -> alt.Parameter:
    """The selection `pick` of the point nearest to a click.

    Linked, it tells the player of the page, by the field `at` (expert@step); else it has the fields
    expert and x, for `st.vega_lite_chart(on_select=…)`.
    """
    if linked:
        bind = alt.BindDirect(element="head", event=PICK_EVENT)
        return alt.selection_point(
            name="pick", fields=["at"], on="click", nearest=True, empty=False, bind=bind
        )
    return alt.selection_point(name="pick", fields=["expert", "x"], on="click", nearest=True, empty=False)


def by_highlight(lit: Any, others: Any, usual: Any, expert: str = "datum.expert") -> Any:
    """A value of a mark: one for the expert under the pointer, one for all others meanwhile, one without."""
    return alt.value(
        alt.expr(f"{is_lit(expert)} ? {_text(lit)} : {ANY_LIT} ? {_text(others)} : {_text(usual)}")
    )


def bold_label() -> Any:
    """The number of the expert under the pointer on an axis of experts."""
    return alt.ExprRef(f"{is_lit('datum.value')} ? 'bold' : 'normal'")


def _text(value: Any) -> str:
    return f"({value.expr})" if isinstance(value, alt.ExprRef) else repr(value)


def expert_axis(values: Sequence[int], **more: Any) -> alt.Axis:
    """An axis of experts side by side, the lit one's number bold. values: those that have a number."""
    return alt.Axis(
        values=list(values),
        labelAngle=0,
        ticks=False,
        labelOverlap="greedy",
        labelSeparation=4,
        labelFontWeight=bold_label(),
        **more,
    )


def outline(marks: alt.Chart, *, width: float, halo: float) -> list[alt.Chart]:
    """Frames around rectangles; the page's colour around the line keeps it visible on any cell."""
    around = marks.mark_rect(filled=False, stroke=alt.ExprRef("background"), strokeWidth=halo)
    return [around, marks.mark_rect(filled=False, stroke=theme.PLAYHEAD.expr, strokeWidth=width)]
