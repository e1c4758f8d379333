"""Small models for the tasks: untrained, or with a forward pass that a test writes down."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from tiny import make_tiny_config, make_tiny_corpus
from torch import Tensor

from explorer.corpus import Corpus
from explorer.model import build_model
from explorer.model.router import Reroute
from explorer.model.transformer import ModelOutput
from explorer.tasks.trained import TrainedModel


def make_trained(balancer: str = "none", scale: float = 40.0, **changes: Any) -> TrainedModel:
    """A tiny model with weights so large that its choices and predictions differ from token to token."""
    config, corpus = make_tiny_config(balancer, **changes), make_tiny_corpus()
    model = build_model(config.model, corpus.vocab_size, config.training.sequence_length, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
        for layer, router in enumerate(model.routers):
            router.expert_bias_E.copy_(
                torch.linspace(-0.2, 0.2, config.model.num_experts) * (1 - 2 * (layer % 2))
            )
    return TrainedModel.of(model, config, corpus, "tiny")


class Scripted(TrainedModel):
    """A model whose next token is a function of the tokens before it; everything else is a tiny model's."""

    rule: Callable[[Sequence[int]], int]

    def forward(self, tokens_BS: Tensor, reroute: Reroute | None = None, seed: int = 0) -> ModelOutput:
        logits = torch.zeros(*tokens_BS.shape, self.corpus.vocab_size)
        for b, row in enumerate(tokens_BS.tolist()):
            for s in range(len(row)):
                logits[b, s, self.rule(row[: s + 1])] = 20.0
        return ModelOutput(logits)


def make_scripted(
    rule: Callable[[Sequence[int]], int], length: int = 16, corpus: Corpus | None = None
) -> Scripted:
    """A byte-level model that continues every prefix by `rule`, with `length` tokens of context."""
    tiny = make_trained(sequence_length=length)
    scripted = Scripted(
        model=tiny.model,
        balancer=tiny.balancer,
        config=tiny.config,
        corpus=corpus or tiny.corpus,
        name="scripted",
    )
    object.__setattr__(scripted, "rule", rule)
    return scripted


def reciting(texts: Sequence[str], length: int) -> Scripted:
    """A model that continues a text that it knows, and writes `?` elsewhere."""
    known = [text.encode() for text in texts]

    def rule(prefix: Sequence[int]) -> int:
        given = bytes(prefix)
        for text in known:
            place = text.find(given)
            if place >= 0 and place + len(given) < len(text):
                return text[place + len(given)]
        return ord("?")

    return make_scripted(rule, length)


def with_length(trained: TrainedModel, length: int) -> TrainedModel:
    """The same model, said to have another context; for scripted models."""
    training = replace(trained.config.training, sequence_length=length)
    return replace(trained, config=replace(trained.config, training=training))
