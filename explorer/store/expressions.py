"""The definitions of `explorer/metrics/counts.py` once more, in SQL.

`PARTS` turns the rows of one layer's experts (one row per expert, those without a token included, in a column
`tokens`) into one row, by GROUP BY; `FIGURES` are expressions of its columns. A property test holds
them against the functions of the same names.
"""

PARTS = """
    sum(tokens)::BIGINT AS total, max(tokens) AS largest, count(*) AS experts,
    count(*) FILTER (tokens = 0) AS idle, sum(tokens * ln(greatest(tokens, 1))) AS weighted,
    stddev_pop(tokens) AS deviation, list(tokens) AS loads
"""
"""Aggregates of `tokens`, to be grouped by step and layer."""

_ENTROPY = "greatest(ln(total) - weighted / total, 0)"
_ABOVE = "list_sum(list_transform(loads, lambda c: greatest(c * experts - total, 0)))"
_RANKED = "list_sum(list_transform(list_sort(loads), lambda c, i: (2 * i - experts - 1) * c))"

_RATIOS = {
    "max_over_mean": "(largest * experts)::DOUBLE / total::DOUBLE",
    "max_vio": "(largest * experts)::DOUBLE / total::DOUBLE - 1",
    "balance_efficiency": "total::DOUBLE / (largest * experts)::DOUBLE",
    "coefficient_of_variation": "deviation * experts / total",
    "total_variation": f"{_ABOVE}::DOUBLE / (total * experts)::DOUBLE",
    "load_entropy": _ENTROPY,
    "normalised_entropy": f"CASE WHEN experts > 1 THEN {_ENTROPY} / ln(experts) ELSE 1 END",
    "effective_experts": "exp(ln(total) - weighted / total)",
    "gini": f"{_RANKED}::DOUBLE / (total * experts)::DOUBLE",
}

FIGURES = {name: f"CASE WHEN total > 0 THEN {sql} END" for name, sql in _RATIOS.items()} | {
    "idle_experts": "idle"
}
"""Name of a function of `explorer.metrics` -> expression of `PARTS`; NULL where nothing was routed."""


def figures(*names: str) -> str:
    """A select list of these figures, or of all."""
    return ", ".join(f"{FIGURES[name]} AS {name}" for name in names or FIGURES)
