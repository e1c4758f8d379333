"""Every experiment and every claim, by name."""

from explorer.errors import one_of
from explorer.evidence import (
    claims_across,
    claims_loss_free,
    claims_questions,
    claims_rules,
    claims_theory,
)
from explorer.evidence.claim import Claim
from explorer.evidence.evaluated import EVALUATIONS
from explorer.evidence.examined import EXAMINATIONS
from explorer.evidence.experiment import Experiment
from explorer.evidence.simulated import SIMULATIONS
from explorer.evidence.training_experiments import TRAINING_EXPERIMENTS

EXPERIMENTS: dict[str, Experiment] = {
    experiment.id: experiment
    for experiment in sorted(
        (*TRAINING_EXPERIMENTS, *SIMULATIONS, *EXAMINATIONS, *EVALUATIONS),
        key=lambda experiment: experiment.priority,
    )
}
"""Id -> experiment, the most important first."""
CLAIMS: tuple[Claim, ...] = (
    *claims_loss_free.CLAIMS,
    *claims_theory.CLAIMS,
    *claims_rules.CLAIMS,
    *claims_across.CLAIMS,
    *claims_questions.CLAIMS,
)
"""A1-A13, B1-B12, C1-C10, X1-X7 and the research questions 000-006."""


def experiments(names: list[str]) -> list[Experiment]:
    """The experiments of these names, or all of them. Raises ConfigError for an unknown one."""
    if names == ["all"]:
        return list(EXPERIMENTS.values())
    for name in names:
        one_of("experiment", name, (*EXPERIMENTS, "all"))
    return [EXPERIMENTS[name] for name in names]
