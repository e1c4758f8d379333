"""Upper bounds of the integer fields of a configuration.

No run of this project needs more. Beyond these bounds a number would not fit into the index, or one typo
would exhaust memory. A host's own limits are lower (`explorer.config.limits`).
"""

from collections.abc import Mapping

LARGEST = 2**63 - 1
"""The largest value that int64 columns hold and that torch and numpy accept as a seed."""

MOST: Mapping[str, int] = {
    "corpus.vocab_size": 2**20,
    "model.num_layers": 1024,
    "model.num_dense_layers": 1024,
    "model.hidden_size": 2**17,
    "model.num_heads": 4096,
    "model.num_experts": 2**16,
    "model.top_k": 2**16,
    "model.num_shared_experts": 1024,
    "model.expert_hidden_size": 2**20,
    "model.dense_hidden_size": 2**20,
    "model.num_groups": 2**16,
    "model.top_k_groups": 2**16,
    "model.eval_top_k": 2**16,
    "model.expert_choice_chunk": 2**30,
    "training.num_steps": 10**8,
    "training.sequence_length": 2**20,
    "training.micro_batch_size": 2**20,
    "training.gradient_accumulation_steps": 2**20,
    "training.eval_tokens": 2**30,
    "training.final_eval_tokens": 2**30,
    "training.probe_tokens": 2**20,
    "training.num_threads": 1024,
    "quantile.num_bins": 10**6,
    "bip.num_bins": 10**6,
    "mqb.num_bins": 10**6,
    "mqb.score_bins": 10**6,
}
"""Field -> its upper bound; every other integer is bounded by int64."""
