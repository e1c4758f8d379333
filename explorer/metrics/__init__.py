"""Every metric that the project reports, defined once.

All functions take integer counts and return plain numbers or numpy arrays. Counts are
token-to-expert assignments; the last axis is always the expert axis and includes experts that
received nothing. Layers are measured one by one and then averaged, never pooled: pooling lets two
layers that collapse onto different experts look balanced.

E routed experts (N in the papers), K experts per token, T tokens, L layers. `catalogue` lists the
definitions in words (docs/metrics.md, the Glossary and all tooltips are made from it), `peers` what other
tools print for the same counts, and `explorer.store.expressions` says the same in SQL.
"""

from explorer.metrics.batches import (
    LAST_RECORDED,
    LAST_STEPS,
    last_recorded,
    last_steps,
    max_vio_batch,
    max_vio_batch_by_layer,
    max_vio_computation_batch,
    max_vio_global,
    worst_layer,
)
from explorer.metrics.choices import churn, coactivation, cross_activation, saturation
from explorer.metrics.counts import (
    balance_efficiency,
    coefficient_of_variation,
    effective_experts,
    gini,
    idle_experts,
    load_entropy,
    load_fraction,
    max_over_mean,
    max_vio,
    normalised_entropy,
    total_variation,
)
from explorer.metrics.domains import (
    domain_distances,
    jensen_shannon,
    mean_domain_distance,
    mutual_information,
    mutual_information_chance,
)
from explorer.metrics.events import (
    OSCILLATION_MOVES,
    OSCILLATION_SHARE,
    OSCILLATION_STEPS,
    SETTLED_SHARE,
    SPIKE_DEVIATIONS,
    SPIKE_NATS,
    SPIKE_STEPS,
    WIDE_SPREAD,
)
from explorer.metrics.quality import bits_per_byte, mean_loss, perplexity
from explorer.metrics.references import (
    resampled_reference,
    uniform_guide,
    uniform_reference,
    uniform_references,
)
from explorer.metrics.statistics import PairVerdicts, holm, is_resolved, p_value, pair_verdicts, t_interval
from explorer.metrics.windows import (
    COLLAPSE_STEPS,
    DEAD_STEPS,
    bias_spread,
    collapsed_steps,
    dead_experts,
    oscillation,
)

__all__ = [
    "COLLAPSE_STEPS",
    "DEAD_STEPS",
    "LAST_RECORDED",
    "LAST_STEPS",
    "OSCILLATION_MOVES",
    "OSCILLATION_SHARE",
    "OSCILLATION_STEPS",
    "SETTLED_SHARE",
    "SPIKE_DEVIATIONS",
    "SPIKE_NATS",
    "SPIKE_STEPS",
    "WIDE_SPREAD",
    "PairVerdicts",
    "balance_efficiency",
    "bias_spread",
    "bits_per_byte",
    "churn",
    "coactivation",
    "coefficient_of_variation",
    "collapsed_steps",
    "cross_activation",
    "dead_experts",
    "domain_distances",
    "effective_experts",
    "gini",
    "holm",
    "idle_experts",
    "is_resolved",
    "jensen_shannon",
    "last_recorded",
    "last_steps",
    "load_entropy",
    "load_fraction",
    "max_over_mean",
    "max_vio",
    "max_vio_batch",
    "max_vio_batch_by_layer",
    "max_vio_computation_batch",
    "max_vio_global",
    "mean_domain_distance",
    "mean_loss",
    "mutual_information",
    "mutual_information_chance",
    "normalised_entropy",
    "oscillation",
    "p_value",
    "pair_verdicts",
    "perplexity",
    "resampled_reference",
    "saturation",
    "t_interval",
    "total_variation",
    "uniform_guide",
    "uniform_reference",
    "uniform_references",
    "worst_layer",
]
