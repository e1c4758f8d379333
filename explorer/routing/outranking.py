"""When the bias alone decides between two experts: the bias difference beyond which scores do not matter.

With an additive bias on scores between 0 and 1, two scores differ by less than 1; so an expert whose bias is
more than 1 above another's outranks it for every token. That holds for sigmoid and softmax scores,
with noise on the logits or without. It does not hold

- for square-root softplus, whose scores have no upper bound;
- for a bias that multiplies: a large score still beats a small one;
- between groups of experts, since a token may be excluded from the group with the higher bias;
- where the rule changes the scores before the bias is added (moving quantile balancing);
- where tokens do not choose their experts by score, as in expert choice.
"""

from collections.abc import Mapping
from typing import Any

from explorer.config.model import ModelConfig
from explorer.config.rule_text import MovingQuantile, Rule, bias_form
from explorer.config.run import RunConfig
from explorer.errors import ExplorerError

SCORE_RANGE = {"sigmoid": 1.0, "softmax": 1.0}
"""Score function -> the largest difference of two scores; other functions are unbounded."""

Span = tuple[int, int | None]


def outranking_gap(config: Mapping[str, Any], step: int) -> float | None:
    """Bias difference beyond which scores do not matter at `step`; None if there is none or unknown.

    config: that of `run.json`. Unknown means that the configuration lacks the score function or the rules,
    as in imported runs; our defaults would be a guess.
    """
    run = _run_config(config)
    return None if run is None else _gap(run.model, run.balancer.rules_at(step))


def outranking_spans(config: Mapping[str, Any]) -> tuple[Span, ...]:
    """Steps [first, stop) in which there is such a gap; stop None: to the end of the run."""
    run = _run_config(config)
    if run is None:
        return ()
    starts = [0, *sorted(change.step for change in run.balancer.schedule)]
    stops: list[int | None] = [*starts[1:], None]
    return tuple(
        (start, stop)
        for start, stop in zip(starts, stops, strict=True)
        if _gap(run.model, run.balancer.rules_at(start)) is not None
    )


def bounded_gap(score_func: str, bias_form: str | None) -> float | None:
    """The same for plain token choice: additive bias on bounded scores."""
    return SCORE_RANGE.get(score_func) if bias_form == "additive" else None


def _run_config(config: Mapping[str, Any]) -> RunConfig | None:
    try:
        if "balancer" not in config or "score_func" not in config["model"]:
            return None
        return RunConfig.from_dict(dict(config))
    except (ExplorerError, TypeError, ValueError, KeyError, AttributeError):
        return None


def _gap(model: ModelConfig, rules: tuple[Rule, ...]) -> float | None:
    if model.routing != "token_choice" or model.num_groups != model.top_k_groups:
        return None
    if any(isinstance(rule, MovingQuantile) and rule.sequence_strength for rule in rules):
        return None
    return bounded_gap(model.score_func, bias_form(rules))
