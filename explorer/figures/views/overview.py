"""The Overview: the default comparison in one picture. Its address says nothing beyond the page."""

from collections.abc import Sequence

from explorer.figures import balance
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, arms_of, default_arms
from explorer.figures.panel import Question
from explorer.figures.settings import OverTime
from explorer.figures.store import Store
from explorer.figures.views.view import OpenView, Query

TITLE = "Overview"
BINS = 100
"""Points per line: few, since the lines are thick."""


def open_view(_store: Store, runs: Sequence[Run], _query: Query) -> OpenView:
    """The questions of the Overview; none where there are no runs with loads."""
    arms = default_arms(arms_of(runs))
    return OpenView(title=TITLE, questions=(story(ArmSet.of(arms)),) if arms else ())


def story(arms: ArmSet) -> Question:
    """The picture of these arms."""
    return Question(key="story", build=balance.overview, arms=arms, settings=OverTime(bins=BINS))
