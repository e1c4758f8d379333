"""The smallest complete run: two layers, four experts, two domains, two micro-batches."""

from typing import Any

import numpy as np

from explorer.config.run import BalancerConfig, CorpusConfig, ModelConfig, RunConfig, TrainingConfig
from explorer.corpus import Corpus
from explorer.corpus.tokenizer import ByteTokenizer


def make_tiny_config(balancer: str = "none", **changes: Any) -> RunConfig:
    """Two MoE layers of four experts, 12 steps of 2 x 64 tokens.

    `changes` are fields of the model and the training sections, by their own names.
    """
    model = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "num_experts": 4, "top_k": 2}
    model |= {"expert_hidden_size": 8, "dense_hidden_size": 16}
    training = {"num_steps": 12, "sequence_length": 16, "micro_batch_size": 4, "warmup_steps": 2}
    training |= {"gradient_accumulation_steps": 2, "eval_interval": 5, "eval_tokens": 64}
    training |= {"final_eval_tokens": 128, "sequence_load_interval": 4, "device": "cpu"}
    for name, value in changes.items():
        section = model if name in ModelConfig.__dataclass_fields__ else training
        section[name] = value
    return RunConfig(
        corpus=CorpusConfig(name="austen", tokenizer="bytes", vocab_size=256),
        model=ModelConfig(**model),
        balancer=BalancerConfig.parse(balancer),
        training=TrainingConfig(**training),
    )


def make_tiny_corpus() -> Corpus:
    """Synthetic text of two domains that share half of their 24 byte values; nothing is read from disk.

    Each domain repeats short phrases, so there is something to learn and tokens of a sequence cluster.
    """
    rng = np.random.default_rng(7)

    def text(first: int, length: int) -> Any:
        phrases = rng.integers(first, first + 16, size=(6, 5))
        return phrases[rng.integers(0, 6, size=length // 5)].reshape(-1).astype(np.uint8)

    return Corpus(
        name="made",
        domains=("low", "high"),
        digest="made for tests",
        vocab_size=256,
        tokenizer=ByteTokenizer(),
        train_tokens=(text(65, 4000), text(73, 3000)),
        held_out_tokens=(text(65, 800), text(73, 800)),
    )
