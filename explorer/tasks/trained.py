"""A trained model with everything that evaluation needs beside its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from explorer.config.run import RunConfig, TrainingConfig
from explorer.corpus import Corpus, Tokenizer, load_corpus
from explorer.errors import ConfigError, TrainingError
from explorer.model import MoETransformer, build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext, Reroute
from explorer.model.transformer import ModelOutput
from explorer.recording import RunFolder
from explorer.training import kept_model
from explorer.training.devices import autocast, pick_device
from explorer.training.evaluation import EVALUATION_SEED

CAUSAL_ROUTINGS = ("token_choice", "hash", "random", "dense")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModel:
    """A model after training, with its balancer, configuration and text."""

    model: MoETransformer
    balancer: CombinedBalancer
    """The rules in force at the end; their bias is part of the model and stays as it is."""
    config: RunConfig
    corpus: Corpus
    name: str = ""
    """The run's id, for messages."""

    @classmethod
    def of(cls, model: MoETransformer, config: RunConfig, corpus: Corpus, name: str = "") -> "TrainedModel":
        """From a model in memory; its weights are used, not copied."""
        balancer = CombinedBalancer(config.balancer.rules_at(config.training.num_steps - 1))
        return cls(model=model.eval(), balancer=balancer, config=config, corpus=corpus, name=name)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.corpus.tokenizer

    @property
    def length(self) -> int:
        """Tokens of context: those of a training sequence, unless `at_length` changed them."""
        return self.config.training.sequence_length

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def forward(self, tokens_BS: Tensor, reroute: Reroute | None = None, seed: int = 0) -> ModelOutput:
        """Logits and routing with the bias frozen. At most `length` tokens of context."""
        context = ForwardContext(seed=EVALUATION_SEED + seed, reroute=reroute)
        with autocast(self.device):
            output: ModelOutput = self.model(tokens_BS.to(self.device), self.balancer, context)
        return output

    def at_length(self, length: int) -> "TrainedModel":
        """The same weights with `length` tokens of context, beyond those of training too.

        Rotary angles are those of arXiv 2104.09864 at the new positions: nothing is interpolated or trained.
        Raises ConfigError for learned positions, which have no value beyond training.
        """
        if length > self.length and self.config.model.position == "learned":
            raise ConfigError(
                "model.position",
                "learned",
                f"has no positions beyond the {self.length} of training, and {length} are needed",
                "evaluate a model with position=rotary",
            )
        if length == self.length:
            return self
        config = replace(self.config, training=longer(self.config, length))
        positions = length if self.config.model.position == "rotary" else self.length
        model = build_model(config.model, self.corpus.vocab_size, positions, config.training.seed)
        model.load_state_dict(self.model.state_dict())
        return replace(self, model=model.to(self.device).eval(), config=config)


def longer(config: RunConfig, length: int) -> TrainingConfig:
    """The training section with another sequence length."""
    return replace(config.training, sequence_length=length, probe_tokens=0)


def load_trained(path: Path, corpus: Corpus | None = None) -> TrainedModel:
    """The model of a finished run that was trained with `--keep-model`. Raises TrainingError."""
    folder = RunFolder(path)
    run_id, file = folder.info.run_id, path / kept_model.FILE
    if not file.is_file():
        raise TrainingError(
            f"{run_id}: has no {kept_model.FILE}, because a finished run keeps its model only on request; "
            "train it again with --keep-model."
        )
    device = pick_device("cpu" if not torch.cuda.is_available() else "auto")
    checkpoint = kept_model.load(file, device)
    corpus = corpus or load_corpus(checkpoint.config.corpus)
    stated = folder.info.corpus.get("digest")
    if stated != corpus.digest:
        raise TrainingError(
            f"{run_id}: was trained on other text (digest {stated}) than is found now ({corpus.digest}), so "
            "what it has not seen is unknown; train it again."
        )
    config = checkpoint.config
    model = build_model(
        config.model, corpus.vocab_size, config.training.sequence_length, config.training.seed
    ).to(device)
    model.load_state_dict(checkpoint.state)
    return TrainedModel.of(model, config, corpus, run_id)


def check_causal(trained: TrainedModel, task: str) -> None:
    """Refuse a routing in which a token's experts depend on other tokens of the batch.

    There a completion, or a sequence beside padding, would not be what the model gives on its own.
    """
    config = trained.config.model
    if config.routing not in CAUSAL_ROUTINGS:
        raise ConfigError(
            "model.routing",
            config.routing,
            f"lets experts choose among the tokens of a batch, so task {task} has no well-defined answer",
            "evaluate a model with routing=token_choice",
        )
    if config.capacity_factor is not None:
        raise ConfigError(
            "model.capacity_factor",
            config.capacity_factor,
            f"makes a token's experts depend on the other tokens, so task {task} has no well-defined answer",
            "evaluate a model without a capacity limit",
        )


def padded(rows: Sequence[Sequence[int]], width: int | None = None) -> Tensor:
    """Token rows padded with id 0 on the right, int64 [B, S].

    Attention is causal and `check_causal` holds, so padding changes nothing before it.
    """
    longest = width or max(len(row) for row in rows)
    tokens_BS = torch.zeros(len(rows), longest, dtype=torch.int64)
    for row, ids in enumerate(rows):
        tokens_BS[row, : len(ids)] = torch.as_tensor(ids, dtype=torch.int64)
    return tokens_BS
