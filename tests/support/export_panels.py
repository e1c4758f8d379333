"""A complete panel for the tests of exports."""

from dataclasses import replace

from chart_frames import vio_frame

from explorer.charts import balance, spec
from explorer.figures.panel import Panel

HOSTILE = '<script>alert("x")</script> & "quoted" α×−␣ <!-- <script>'


def panel(**changes: object) -> Panel:
    """MaxVio of two runs over 50 steps."""
    chart = balance.max_vio_curves(vio_frame({"one": 0.5, "two": 1.0}, bins=9), playhead=spec.SOMEWHERE)
    base = Panel(
        key="max-vio",
        subject="MaxVio over training",
        finding="It falls.",
        how="Lower is even.",
        spec=spec.make(chart),
    )
    return replace(base, **changes)  # type: ignore[arg-type]
