"""Facts of the evidence: what paired seeds say, where the runs of a lesson have one seed."""

from explorer.course.facts import Value
from explorer.errors import one_of
from explorer.figures import evidence_values
from explorer.figures.facts.recorded import MissingRun, RecordedRuns
from explorer.figures.facts.registry import fact

QUANTITIES = ("effect", "half_width", "pairs", "scale", "verdict")


@fact
def evidence(_recorded: RecordedRuns, claim: str, number: str, what: str) -> Value:
    """One comparison of a claim on the page Evidence, counted from 1: its `effect` (mean over paired
    seeds), the `half_width` of the 95 % t interval, the number of `pairs`, the `scale` or the `verdict`."""
    one_of("what", what, QUANTITIES)
    one = evidence_values.comparison(claim, int(number) if number.isdecimal() else 0)
    if one is None or one.effect is None:
        raise MissingRun(f"Comparison {number} of claim {claim} has fewer than five pairs of runs.")
    values: dict[str, Value] = {
        "effect": one.effect.mean,
        "half_width": one.effect.half_width,
        "pairs": one.effect.pairs,
        "scale": one.scale,
        "verdict": one.verdict,
    }
    return values[what]
