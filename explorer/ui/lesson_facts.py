"""Facts that lessons and experiments name: every number in their texts, asked of the runs when it is shown.

A fact is written `name[one; two]`; the registry `FACTS` holds one function a name, whose docstring is its
entry in docs/lessons.md. Arms are written as on the command line: `aux_loss:scope=sequence`.
"""

import math
from collections.abc import Callable, Sequence

import polars as pl

from explorer import metrics
from explorer.errors import ConfigError
from explorer.lessons import Value, read_fact
from explorer.metrics import power
from explorer.queries.comparison import PairedDifference
from explorer.simulate import summary as simulated_summary
from explorer.ui import cached, lesson_bias, lesson_runs, lesson_simulations
from explorer.ui.arms import Arm

Function = Callable[..., Value]
FACTS: dict[str, Function] = {}
FIGURES = {
    "perplexity": "perplexity",
    "held_out_loss": "lm_loss",
    "max_vio": "max_vio_global",
    "max_vio_batch": "max_vio_batch",
    "worst_layer": "worst_max_vio",
    "effective_experts": "effective_experts",
}
"""Facts of an arm -> columns of `queries.summary`."""


def fact(function: Function) -> Function:
    """Enter a function into the registry under its own name."""
    FACTS[function.__name__] = function
    return function


def value_of(text: str) -> Value:
    """The value of a fact. Raises ExplorerError with a sentence where it cannot be known."""
    name, arguments = read_fact(text)
    if name not in FACTS:
        raise ConfigError("fact", text, "is not known", f"choose one of {', '.join(sorted(FACTS))}")
    try:
        return FACTS[name](*arguments)
    except TypeError as error:
        raise ConfigError("fact", text, f"has wrong arguments ({error})", "see docs/lessons.md") from None


def _figure_fact(name: str, column: str) -> None:
    def function(arm: str, which: str = "mean") -> float:
        return _of_seeds(lesson_runs.find(arm), column, which)

    function.__name__ = name
    function.__doc__ = (
        f"`{column}` of an arm at its end: the mean over seeds; or `min`, `max`, `half_width` (95 % t "
        "interval), `seed 0`."
    )
    fact(function)


def _of_seeds(arm: Arm, column: str, which: str) -> float:
    found = cached.summary(cached.versions(arm.runs))
    if which.startswith("seed"):
        found = found.filter(pl.col("seed") == lesson_runs.seed_of(which))
        which = "mean"
    values = [float(v) for v in found[column].drop_nulls()]
    if not values:
        raise lesson_runs.MissingRun(f"{arm.label} has no {column} recorded.")
    interval = metrics.t_interval(values)
    known = {
        "mean": sum(values) / len(values),
        "min": min(values),
        "max": max(values),
        "half_width": math.nan if interval is None else interval[1],
    }
    if which not in known:
        raise ConfigError("which", which, "is not known", f"choose one of {', '.join(known)} or seed 0")
    return known[which]


for _name, _column in FIGURES.items():
    _figure_fact(_name, _column)


@fact
def ratio(metric: str, a: str, b: str, which: str = "mean") -> float:
    """A fact of an arm (such as `max_vio`) of arm a, divided by that of arm b."""
    if metric not in FIGURES:
        raise ConfigError("metric", metric, "is not known", f"choose one of {', '.join(FIGURES)}")
    above, below = (_of_seeds(lesson_runs.find(arm), FIGURES[metric], which) for arm in (a, b))
    return above / below


@fact
def seeds(arm: str) -> int:
    """How many seeds of an arm there are."""
    return len(lesson_runs.find(arm).runs)


@fact
def collapsed_layers(arm: str) -> int:
    """Layers, over all seeds, that ever had half of their experts' worth or less at work for 100 steps."""
    return int(_layers(arm)["collapsed"].drop_nulls().sum())


@fact
def layers(arm: str) -> int:
    """Layers over all seeds."""
    return _layers(arm).height


@fact
def idle_experts(arm: str) -> float:
    """Experts of a layer without a token in a step: mean over the last steps, layers and seeds."""
    return float(_layers(arm)["idle_experts"].mean())  # type: ignore[arg-type]


@fact
def dead_experts(arm: str) -> int:
    """Experts, over all layers and seeds, without one token in the last 100 steps."""
    found = (cached.dead_experts(run.version) for run in lesson_runs.find(arm).runs)
    return sum(int(frame["dead"].sum()) for frame in found)


def _layers(arm: str) -> pl.DataFrame:
    return cached.layer_balance(cached.versions(lesson_runs.find(arm).runs))


@fact
def share(arm: str, expert: str, layer: str, seed: str = "seed 0") -> float:
    """Load of the `busiest` or `idlest` expert over the last steps of a layer, times its uniform share."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    matrix = cached.load_matrix(run.version, int(layer))
    last = matrix.tokens[-metrics.last_steps(len(matrix.tokens)) :].sum(0)
    return float((last.max() if expert == "busiest" else last.min()) / last.mean())


@fact
def reference(arm: str, kind: str) -> float:
    """MaxVio that chance alone would show: `uniform` or `resampled` for a step, `held_out` for the held-out
    text (uniform)."""
    run = lesson_runs.find(arm).first
    if kind == "held_out":
        return metrics.uniform_reference(
            run.num_experts, run.top_k, _held_out_tokens(arm), run.num_moe_layers
        )[0]
    found = cached.references(run.version).get(f"{kind}_mean")
    if found is None:
        raise ConfigError("reference", kind, "is not known for this run", "choose uniform or held_out")
    return found


@fact
def held_out_tokens(arm: str) -> int:
    """Tokens of the held-out text that MaxVio is counted over at the end."""
    return _held_out_tokens(arm)


def _held_out_tokens(arm: str) -> int:
    run = lesson_runs.find(arm).first
    return round(int(cached.held_out_figures(run.version)["tokens"][0]) / run.top_k)


@fact
def max_vio_between(arm: str, first: str, last: str) -> float:
    """MaxVio of seed 0 over these steps, as far as whole pieces (of 300) lie between them: their mean."""
    run = lesson_runs.find(arm, 0).first
    frame = cached.max_vio_series((run.version,))
    inside = frame.filter((pl.col("first_step") >= int(first)) & (pl.col("last_step") <= int(last)))
    return float((inside["max_vio"] * inside["samples"]).sum()) / float(inside["samples"].sum())


@fact
def worst_over_mean(arm: str) -> float:
    """Held-out MaxVio of the worst layer divided by the mean over layers; mean over seeds of both."""
    found = cached.summary(cached.versions(lesson_runs.find(arm).runs))
    return float(found["worst_max_vio"].mean()) / float(found["max_vio_global"].mean())  # type: ignore[arg-type]


@fact
def worst_layer_number(arm: str, seed: str = "seed 0") -> int:
    """The layer whose held-out MaxVio is the highest."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    return int(cached.summary((run.version,))["worst_layer"][0])


@fact
def thumb_steps(arm: str, layer: str) -> float:
    """Peak distance of two biases of a layer divided by 2u: what the rule would take with fixed scores."""
    rate = lesson_bias.sign_rule(lesson_runs.find(arm, 0).first).bias_update_rate
    return float(peak_bias_spread(arm, layer)) / (2 * rate)


@fact
def tokens_per_step(arm: str) -> int:
    """Tokens of a training step."""
    return lesson_runs.find(arm).first.tokens_per_step


@fact
def random_max_vio(arm: str, tokens: str) -> float:
    """MaxVio that uniform-random routing of so many tokens shows, with the arm's N and K, in one layer."""
    run = lesson_runs.find(arm).first
    return metrics.uniform_reference(run.num_experts, run.top_k, int(tokens))[0]


@fact
def sequence_max_vio(arm: str, sequences: str, seed: str = "seed 0") -> float:
    """MaxVio of groups of so many neighbouring sequences of a step, mean over groups and layers."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    found = cached.computation_batches(run.version).filter(pl.col("sequences") == int(sequences))
    return float(found["max_vio"].mean())  # type: ignore[arg-type]


@fact
def sequences_over_chance(arm: str, sequences: str, seed: str = "seed 0") -> float:
    """The same, divided by what random routing of as many tokens would show."""
    run = lesson_runs.find(arm, lesson_runs.seed_of(seed)).first
    found = cached.computation_batches(run.version).filter(pl.col("sequences") == int(sequences))
    return float(found["max_vio"].mean()) / float(found["uniform_mean"].mean())  # type: ignore[arg-type]


@fact
def information(arm: str, which: str = "mean") -> float:
    """Bits that an assignment says about the domain of its token, held-out, mean over layers (and seeds)."""
    values = [_information(arm, run.seed) for run in lesson_runs.find(arm).runs]
    return {"mean": sum(values) / len(values), "min": min(values), "max": max(values)}[which]


def _information(arm: str, seed: int | None) -> float:
    found = cached.specialisation(lesson_runs.find(arm, seed).first.version)
    last = found.filter(pl.col("step") == pl.col("step").max())
    return float(last["information"].mean())  # type: ignore[arg-type]


@fact
def information_share(arm: str) -> float:
    """Those bits as a share of all that the domains have."""
    return float(information(arm)) / float(most_information(arm))


@fact
def information_difference(a: str, b: str) -> float:
    """Bits of arm a minus bits of arm b, mean over the seeds that both have."""
    return _information_interval(a, b)[0]


@fact
def information_half_width(a: str, b: str) -> float:
    """Half width of the 95 % t interval of that difference."""
    return _information_interval(a, b)[1]


def _information_interval(a: str, b: str) -> tuple[float, float]:
    common = [{run.seed for run in lesson_runs.find(arm).runs} for arm in (a, b)]
    interval = metrics.t_interval(
        [_information(a, s) - _information(b, s) for s in sorted(set.intersection(*common), key=str)]
    )
    if interval is None:
        raise lesson_runs.MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    return interval


@fact
def most_information(arm: str) -> float:
    """The bits that the domains have in all."""
    return float(cached.specialisation(lesson_runs.find(arm).first.version)["most_information"][0])


def paired(a: str, b: str, metric: str) -> PairedDifference:
    """Seed by seed, a minus b; `metric` is a fact of an arm or a column of `queries.summary`."""
    one, other = (cached.versions(lesson_runs.find(arm).runs) for arm in (a, b))
    return cached.paired(one, other, FIGURES.get(metric, metric))


@fact
def difference(a: str, b: str, metric: str) -> float:
    """Mean over pairs of seeds: arm a minus arm b."""
    return _known(paired(a, b, metric).mean, a, b)


@fact
def half_width(a: str, b: str, metric: str) -> float:
    """Half width of the 95 % t interval of that difference."""
    return _known(paired(a, b, metric).half_width, a, b)


@fact
def verdict(a: str, b: str, metric: str) -> int:
    """−1 or 1 for a difference that is told apart from zero, by its sign; 0 for one that is not resolved."""
    found = paired(a, b, metric)
    return int(math.copysign(1, found.mean)) if found.resolved and found.mean is not None else 0


@fact
def verdict_words(a: str, b: str, metric: str) -> str:
    """`resolved` or `not resolved`."""
    return "resolved" if verdict(a, b, metric) else "not resolved"


@fact
def pairs(a: str, b: str, metric: str) -> int:
    """How many pairs of seeds the two arms have."""
    return paired(a, b, metric).n


@fact
def spread(a: str, b: str, metric: str) -> float:
    """Standard deviation of the paired differences."""
    return spread_of(paired(a, b, metric), a, b)


def spread_of(found: PairedDifference, a: str, b: str) -> float:
    """Standard deviation (n − 1) of the differences; needs two."""
    values = list(found.differences.values())
    if len(values) < 2:
        raise lesson_runs.MissingRun(f"{a} and {b} have fewer than two seeds in common.")
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


@fact
def seeds_needed(a: str, b: str, metric: str, size: str) -> int:
    """Pairs that find a true difference of this size with a chance of 80 % (`metrics.power`)."""
    return power.pairs_needed(float(spread(a, b, metric)), float(size))


@fact
def seeds_needed_at_least(a: str, b: str, metric: str, size: str) -> int:
    """The same with the low end of the 95 % interval of the standard deviation."""
    found = paired(a, b, metric)
    low, _ = power.spread_interval(spread_of(found, a, b), found.n)
    return power.pairs_needed(low, float(size))


@fact
def seeds_needed_at_most(a: str, b: str, metric: str, size: str) -> int:
    """The same with its high end."""
    found = paired(a, b, metric)
    _, high = power.spread_interval(spread_of(found, a, b), found.n)
    return power.pairs_needed(high, float(size))


@fact
def detectable(a: str, b: str, metric: str) -> float:
    """The true difference that as many pairs as there are find with a chance of 80 %."""
    found = paired(a, b, metric)
    return power.detectable(spread_of(found, a, b), found.n)


@fact
def log_ratio(above: str, below: str) -> float:
    """ln(above / below): two perplexities as a difference in nats."""
    return math.log(float(above) / float(below))


@fact
def bias_step(arm: str, layer: str, step: str, expert: str, what: str) -> float:
    """One number of one bias update, seed 0: `tokens`, `mean`, `error`, `sign`, `before`, `after`, `rate` or
    `expert` of the `busiest` or `idlest` expert."""
    run = lesson_runs.find(arm, 0).first
    move = lesson_bias.bias_move(run, int(layer), int(step))
    return move.rate if what == "rate" else move.expert(expert)[what]


@fact
def updates_equal(arm: str) -> int:
    """Bias updates of seed 0 that equal the recomputed ones to the last bit."""
    return lesson_bias.updates(lesson_runs.find(arm, 0).first)[0]


@fact
def updates(arm: str) -> int:
    """Bias updates of seed 0 that can be recomputed."""
    return lesson_bias.updates(lesson_runs.find(arm, 0).first)[1]


@fact
def bias_spread(arm: str) -> float:
    """Largest minus smallest bias after the training, mean over layers, seed 0."""
    run = lesson_runs.find(arm, 0).first
    spreads = []
    for layer in range(run.num_moe_layers):
        frame = cached.bias_trajectories(run.version, layer)
        last = frame.filter(pl.col("last_step") == pl.col("last_step").max())["bias_last"]
        spreads.append(float(last.max()) - float(last.min()))  # type: ignore[arg-type]
    return sum(spreads) / len(spreads)


@fact
def steps_of(arm: str) -> int:
    """Steps of an arm's training."""
    return lesson_runs.find(arm).first.num_steps


@fact
def peak_bias_spread(arm: str, layer: str) -> float:
    """The largest distance between two biases of a layer at any time, seed 0."""
    run = lesson_runs.find(arm, 0).first
    frame = cached.bias_trajectories(run.version, int(layer))
    apart = frame.group_by("bin").agg(apart=pl.col("bias_last").max() - pl.col("bias_last").min())
    return float(apart["apart"].max())  # type: ignore[arg-type]


@fact
def first_below(arm: str, limit: str) -> int:
    """The first step of the first twentieth of the training (seed 0) whose mean MaxVio is below a limit."""
    run = lesson_runs.find(arm, 0).first
    frame = cached.max_vio_series((run.version,), max_bins=20).sort("bin")
    below = frame.filter(pl.col("max_vio") < float(limit))
    if below.is_empty():
        raise ConfigError("limit", limit, "is never reached in this run", "choose a larger one")
    return int(below["first_step"][0])


@fact
def simulated(what: str, *settings: str) -> float:
    """A figure of a simulation: `first` (MaxVio of 10 steps), `final`, `reference`, `effective_experts`,
    `spread`, `turning` or `steps`, then `side=A` and settings as in the Playground's address."""
    given = dict(pair.split("=", 1) for pair in settings)
    simulation = lesson_simulations.simulation(given, given.pop("side", "A"))
    figures: dict[str, Callable[[], float]] = {
        "first": lambda: float(simulation.max_vio[:10].mean()),
        "final": lambda: simulated_summary.final_max_vio(simulation),
        "reference": lambda: simulated_summary.random_reference(simulation)[0],
        "effective_experts": lambda: float(metrics.effective_experts(simulation.counts[-1])),
        "spread": lambda: simulated_summary.spread(simulation),
        "turning": lambda: simulated_summary.turning_share(simulation),
        "steps": lambda: _steps(simulated_summary.steps_to_balance(simulation, simulation.rule.start_step)),
    }
    if what not in figures:
        raise ConfigError("figure", what, "is not known", f"choose one of {', '.join(figures)}")
    return figures[what]()


def _steps(found: int | None) -> int:
    if found is None:
        raise ConfigError("steps", None, "this simulation never balances", "ask for another figure")
    return found


def _known(value: float | None, a: str, b: str) -> float:
    if value is None:
        raise lesson_runs.MissingRun(f"{a} and {b} have too few seeds in common.")
    return value


def names() -> Sequence[str]:
    """Every fact."""
    return sorted(FACTS)
