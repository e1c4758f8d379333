"""Paired differences whose significance is corrected for a stated family of arms."""

from dataclasses import dataclass

from explorer.figures import quality
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.pairs import family, number_of_pairs, p_value_in, survives
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace

HOW = "Holm's correction counts all pairs of the course's four arms, metric by metric."


@dataclass(frozen=True, kw_only=True)
class FamilyPaired(quality.Paired):
    """Which differences are shown, and the arms whose pairs one verdict is corrected for."""

    family: tuple[Arm, ...]


def paired_in_family(store: Store, arms: ArmSet, settings: FamilyPaired) -> Panel:
    """Differences between the base and the other arms, seed by seed."""
    trace = Trace(store)
    base = arms.of_token(settings.base)
    others = [arm for arm in arms if arm is not base]
    rows = []
    for metric in settings.metrics:
        p_value = p_value_in(trace.ask, metric)
        for arm in others:
            row = quality.row_of(trace, arms, arm, base, metric)
            if row is not None:
                rows.append(
                    {
                        **row,
                        "survives": survives(arm, base, settings.family, p_value),
                        "comparisons": number_of_pairs(family(arm, base, settings.family)),
                    }
                )
    return quality.differences_panel(trace, arms, settings.base, rows, how=HOW)
