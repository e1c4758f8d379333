"""Held-out loss and loads per domain, with the bias frozen. Nothing here reaches a balancer."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from explorer.config.run import ModelConfig, RunConfig
from explorer.corpus import Corpus
from explorer.metrics import bits_per_byte, mean_loss
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext, Routing
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    Ints,
    ProbeRecord,
    Recorder,
    SequenceLoadRecord,
)
from explorer.training.batches import as_tensor
from explorer.training.devices import autocast
from explorer.training.finite import nonfinite_logits, refuse_nonfinite
from explorer.training.micro_batches import lm_loss_sum
from explorer.training.update import bias_LE
from explorer.wording import counted

EVALUATION_SEED = 2**40
"""First seed of evaluations; far from those of training."""


@dataclass
class Evaluation:
    """Sums over the held-out batches of one evaluation."""

    loss_sum: dict[str, float] = field(default_factory=dict)
    num_tokens: dict[str, int] = field(default_factory=dict)
    num_bytes: dict[str, int] = field(default_factory=dict)
    tokens_LE: dict[str, Ints] = field(default_factory=dict)
    """Assignments by domain; empty for a model without MoE layers."""

    @property
    def losses(self) -> dict[str, float]:
        """Nats per token, by domain."""
        return {d: self.loss_sum[d] / self.num_tokens[d] for d in self.loss_sum}

    @property
    def lm_loss(self) -> float:
        return mean_loss(self.losses)

    @property
    def bits_per_byte(self) -> float:
        """Mean over domains, with equal weights."""
        each = [bits_per_byte(loss, self.num_tokens[d], self.num_bytes[d]) for d, loss in self.losses.items()]
        return float(np.mean(each))

    @property
    def counts_LE(self) -> Ints:
        """Held-out assignments of all domains together, int64 [L, E]."""
        return np.asarray(np.sum(list(self.tokens_LE.values()), axis=0), dtype=np.int64)


@torch.no_grad()
def evaluate(
    model: MoETransformer,
    balancer: CombinedBalancer,
    config: RunConfig,
    corpus: Corpus,
    recorder: Recorder,
    *,
    step: int,
    num_tokens: int,
    per_sequence: bool = False,
) -> Evaluation:
    """Evaluate after `step` updates and record it; `per_sequence` also keeps loads per sequence."""
    device = next(model.parameters()).device
    result = Evaluation()
    model.eval()
    batches = corpus.held_out(num_tokens=num_tokens, sequence_length=config.training.sequence_length)
    for index, batch in enumerate(batches):
        tokens = as_tensor(batch.tokens, device)
        with autocast(device):
            # The seed depends on the batch: the same draws in every evaluation, different ones per batch.
            output = model(tokens[:, :-1], balancer, ForwardContext(seed=EVALUATION_SEED + index))
        loss = lm_loss_sum(output.logits_BSV, tokens[:, 1:])
        domain = batch.domain
        result.loss_sum[domain] = result.loss_sum.get(domain, 0.0) + loss.item()
        result.num_tokens[domain] = result.num_tokens.get(domain, 0) + tokens[:, 1:].numel()
        result.num_bytes[domain] = result.num_bytes.get(domain, 0) + batch.num_bytes
        if not output.layers:
            continue
        # The loss has already been synchronised, so this adds no wait on a GPU.
        refuse_nonfinite(
            nonfinite_logits(output.layers).cpu().numpy(), f"the evaluation after {counted(step, 'step')}"
        )
        counts_BLE = torch.stack([layer.counts_BE for layer in output.layers], 1).cpu().numpy()
        result.tokens_LE[domain] = result.tokens_LE.get(domain, 0) + counts_BLE.sum(0)
        if per_sequence:
            recorder.record(
                SequenceLoadRecord(
                    step=step,
                    split="held_out",
                    micro_batch=index,
                    domains_B=[domain] * len(counts_BLE),
                    tokens_BLE=counts_BLE,
                )
            )
    model.train()
    _record(result, model, balancer, recorder, step)
    return result


def _record(
    result: Evaluation, model: MoETransformer, balancer: CombinedBalancer, recorder: Recorder, step: int
) -> None:
    bias = bias_LE(model).cpu().numpy() if balancer.uses_bias else None
    for domain, loss in result.losses.items():
        recorder.record(
            EvalRecord(
                step=step,
                split="held_out",
                domain=domain,
                lm_loss=loss,
                num_tokens=result.num_tokens[domain],
                num_bytes=result.num_bytes[domain],
            )
        )
    for domain, tokens_LE in result.tokens_LE.items():
        recorder.record(
            EvalLoadRecord(
                step=step,
                split="held_out",
                domain=domain,
                tokens_LE=tokens_LE,
                expert_bias_LE=bias,
            )
        )


@torch.no_grad()
def record_probe(
    model: MoETransformer,
    balancer: CombinedBalancer,
    config: RunConfig,
    corpus: Corpus,
    recorder: Recorder,
    step: int,
) -> None:
    """Record the router logits of the fixed probe batch after `step` updates; nothing without routers."""
    if not model.routers:
        return
    device = next(model.parameters()).device
    batch = corpus.probe(
        num_tokens=config.training.probe_tokens, sequence_length=config.training.sequence_length
    )
    model.eval()
    with autocast(device):
        output = model(
            as_tensor(batch.tokens, device)[:, :-1], balancer, ForwardContext(seed=EVALUATION_SEED)
        )
    model.train()
    recorder.record(
        ProbeRecord(
            step=step,
            router_logits_PLE=torch.stack([x.routing.router_logits_TE for x in output.layers], 1)
            .cpu()
            .numpy(),
            selected_experts_PLK=torch.stack([_slots(x.routing, config.model) for x in output.layers], 1)
            .cpu()
            .numpy(),
            expert_bias_LE=bias_LE(model).cpu().numpy() if balancer.uses_bias else None,
        )
    )


def _slots(routing: Routing, model: ModelConfig) -> Tensor:
    """The selected experts in K slots; in E slots, the rest empty, where the number per token varies."""
    ids_TK = routing.topk_expert_ids_TK
    missing = model.num_experts - ids_TK.shape[1]
    return ids_TK if ids_TK.shape[1] == model.top_k else F.pad(ids_TK, (0, missing), value=model.num_experts)


def save_probe_document(config: RunConfig, corpus: Corpus, recorder: Recorder) -> None:
    """Save the probe batch's tokens as ids and text, once per run."""
    batch = corpus.probe(
        num_tokens=config.training.probe_tokens, sequence_length=config.training.sequence_length
    )
    ids = batch.tokens[:, :-1]
    recorder.save_json(
        "probe.json",
        {
            "sequence_length": config.training.sequence_length,
            "token_ids": ids.reshape(-1).tolist(),
            "tokens": [corpus.tokenizer.decode([token]) for token in ids.reshape(-1).tolist()],
            "domains": batch.domain_names,
        },
    )
    recorder.save_json("tokenizer.json", corpus.tokenizer.to_json())
