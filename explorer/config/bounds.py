"""The largest value of every whole number in a configuration.

No run of this project can mean more: beyond these bounds the index could not hold a number, or one typing
mistake would take all memory. What a host allows is smaller (`explorer.config.limits`).
"""

from collections.abc import Mapping

LARGEST = 2**63 - 1
"""What int64 columns hold, and torch and numpy take as a seed."""

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
"""Field -> its largest value; every other whole number may be as large as int64."""
