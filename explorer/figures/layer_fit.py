"""Sentences on layers that fit each other across two routings."""

from explorer.charts.captions import number
from explorer.routing.agreement import LayerShift


def percent(share: float) -> str:
    """`12.3 %`; all digits that a share near 0 or 1 needs."""
    near = min(share, 1 - share)
    if 0 < near < 0.01:
        return f"{100 * share:.2f} %"
    return f"{number(100 * share)} %"


def shift_sentence(shift: LayerShift) -> str:
    """Which layers fit each other, and how to number them alike; starts with a blank."""
    if shift.numbers is None:
        fits = f"MoE layer i of the first fits MoE layer i{shift.shift:+d} of the second, counted in order"
        fits = fits.replace("i+0", "i")
    else:
        fits = f"layer i of the first fits layer i{shift.numbers:+d} of the second"
    text = f" The layers do not line up: {fits}, with {percent(shift.overlap)} of the assignments shared"
    text += f" ({percent(shift.unshifted)} without a shift)." if shift.unshifted else "."
    return f"{text} Import one of them again with --option layers=… or layer_offset=… to number them alike."
