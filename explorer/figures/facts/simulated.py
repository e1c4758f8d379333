"""Facts about simulations."""

from collections.abc import Callable

from explorer import metrics
from explorer.errors import ConfigError
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.facts.registry import fact
from explorer.figures.named_simulations import simulation
from explorer.simulate import summary


@fact
def simulated(_recorded: RecordedRuns, what: str, *settings: str) -> float:
    """A figure of a simulation: `first` (MaxVio of 10 steps), `final`, `reference`, `effective_experts`,
    `spread`, `turning` or `steps`, then `side=A` and settings as in the Playground's address."""
    values = dict(pair.split("=", 1) for pair in settings)
    result = simulation(values, values.pop("side", "A"))
    numbers: dict[str, Callable[[], float]] = {
        "first": lambda: float(result.max_vio[:10].mean()),
        "final": lambda: summary.final_max_vio(result),
        "reference": lambda: summary.random_reference(result)[0],
        "effective_experts": lambda: float(metrics.effective_experts(result.counts[-1])),
        "spread": lambda: summary.spread(result),
        "turning": lambda: summary.turning_share(result),
        "steps": lambda: _steps(summary.steps_to_balance(result, result.rule.start_step)),
    }
    if what not in numbers:
        raise ConfigError("figure", what, "is not known", f"choose one of {', '.join(numbers)}")
    return numbers[what]()


def _steps(steps: int | None) -> int:
    if steps is None:
        raise ConfigError("steps", None, "this simulation never balances", "ask for another figure")
    return steps
