"""The definition of every metric, in words and numbers, in one place.

The Glossary page and all tooltips (`glossary.py`), `docs/metrics.md` and the worked example are made from
it. Formulas are LaTeX with the symbols of the papers: N routed experts, K chosen per token, T tokens, c_i
assignments of expert i, f_i = c_i / (K T) its share, L layers.
"""

from explorer.metrics.catalogue_loads import OF_LOADS
from explorer.metrics.catalogue_runs import OF_RUNS
from explorer.metrics.definition import GROUPS, LOADS, Metric

METRICS: tuple[Metric, ...] = (*OF_LOADS, *OF_RUNS)

__all__ = ["GROUPS", "LOADS", "METRICS", "OF_LOADS", "OF_RUNS", "Metric"]
