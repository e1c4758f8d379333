"""Random-routing baselines for pages that still build their charts themselves; see `figures.balance`."""

from collections.abc import Sequence

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.balance import Baselines, random_baselines
from explorer.figures.store import Trace
from explorer.ui.shared.store import STORE


def baselines(arms: Sequence[Arm], *, max_bins: int = 300) -> Baselines:
    """As `figures.balance.random_baselines`."""
    return random_baselines(Trace(STORE), ArmSet.of(arms), bins=max_bins)
