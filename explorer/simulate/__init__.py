"""Router-only dynamics: the playground and the theory. NumPy and SciPy, no language model."""

from explorer.simulate.dynamics import Simulation, simulate
from explorer.simulate.scores import Scores
from explorer.simulate.settings import (
    RULES,
    SCORE_FUNCTIONS,
    SOURCES,
    RuleSettings,
    ScoreSettings,
)

__all__ = [
    "RULES",
    "SCORE_FUNCTIONS",
    "SOURCES",
    "RuleSettings",
    "ScoreSettings",
    "Scores",
    "Simulation",
    "simulate",
]
