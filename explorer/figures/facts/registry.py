"""Registry of facts: a name and its function."""

from collections.abc import Callable

from explorer.course.facts import Value

Function = Callable[..., Value]
"""Takes the recorded runs, then the arguments of the text, all of them str."""
FACTS: dict[str, Function] = {}
COLUMNS = {
    "perplexity": "perplexity",
    "held_out_loss": "lm_loss",
    "max_vio": "max_vio_global",
    "max_vio_batch": "max_vio_batch",
    "worst_layer": "worst_max_vio",
    "effective_experts": "effective_experts",
}
"""Facts of an arm -> columns of `queries.comparison.summary`."""


def fact(function: Function) -> Function:
    """Enter a function under its own name."""
    FACTS[function.__name__] = function
    return function
