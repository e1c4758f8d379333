"""Train a model and examine it: measurements that need its weights, which no run folder keeps.

leak       does a later token change the experts of earlier ones?
ablation   what does a model lose without its shared expert, or without one of the routed experts?
gradients  how large is the gradient of every expert at the end of training?
"""

from collections.abc import Callable

import torch
from torch import Tensor

from explorer.config.run import RunConfig
from explorer.corpus import Corpus, load_corpus
from explorer.errors import one_of
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.leak import measure_leak
from explorer.model.transformer import MoELayer
from explorer.records.records import NullRecorder
from explorer.training.batches import step_batches
from explorer.training.evaluation import evaluate
from explorer.training.loop import train
from explorer.training.meters import StepMeters
from explorer.training.micro_batches import accumulate_gradients
from explorer.training.ranks import SINGLE_PROCESS

TRIALS = 32
MOST_EXPERTS = 4
"""Routed experts per layer that are removed, one at a time."""
Measurements = dict[str, float | None]


def examine(config: RunConfig, what: str) -> Measurements:
    """Train without recording, then measure. what: leak, ablation or gradients."""
    one_of("what", what, EXAMINATIONS)
    corpus = load_corpus(config.corpus)
    measurements: Measurements = {}

    def measure(model: MoETransformer, balancer: CombinedBalancer, _: RunConfig) -> None:
        measurements.update(EXAMINATIONS[what](model, balancer, config, corpus))

    result = train(config, NullRecorder(), corpus=corpus, on_finished=measure)
    return {**measurements, "lm_loss": result.figures["lm_loss"]}


def _leak(
    model: MoETransformer, balancer: CombinedBalancer, config: RunConfig, corpus: Corpus
) -> Measurements:
    batches = corpus.held_out(
        num_tokens=config.training.eval_tokens, sequence_length=config.training.sequence_length
    )
    tokens_BS = torch.cat([torch.from_numpy(batch.tokens) for batch in batches])
    inputs_BS = tokens_BS[: config.training.micro_batch_size, :-1]
    leak = measure_leak(model, inputs_BS, balancer, trials=TRIALS)
    return {"leaking_tokens": leak.share("earlier_experts"), "leaking_logits": leak.share("earlier_logits")}


def _ablation(
    model: MoETransformer, balancer: CombinedBalancer, config: RunConfig, corpus: Corpus
) -> Measurements:
    """Increase of the held-out loss without the shared expert of one layer, and without one routed expert;
    means over layers."""

    def loss() -> float:
        return evaluate(
            model,
            balancer,
            config,
            corpus,
            NullRecorder(),
            step=config.training.num_steps,
            num_tokens=config.training.eval_tokens,
        ).lm_loss

    whole, shared, routed = loss(), [], []
    for layer in (block.ffn for block in model.blocks if isinstance(block.ffn, MoELayer)):
        if layer.shared is not None:
            shared.append(_without(layer.shared.down.weight, loss) - whole)
        for expert in range(min(MOST_EXPERTS, config.model.num_experts)):
            routed.append(_without(layer.experts.down_EFD[expert], loss) - whole)
    if not shared:
        return {"cost_of_routed": sum(routed) / len(routed)}
    costs = sum(shared) / len(shared), sum(routed) / len(routed)
    return {"cost_of_shared": costs[0], "cost_of_routed": costs[1], "cost_difference": costs[0] - costs[1]}


@torch.no_grad()
def _without(weight: Tensor, loss: Callable[[], float]) -> float:
    """The loss while an output matrix is zero."""
    original = weight.clone()
    weight.zero_()
    result = loss()
    weight.copy_(original)
    return result


def _gradients(
    model: MoETransformer, balancer: CombinedBalancer, config: RunConfig, corpus: Corpus
) -> Measurements:
    """Gradient norm of the weakest expert over its layer's mean, and the share of experts without any."""
    step = config.training.num_steps
    model.zero_grad()
    meters = StepMeters(is_sampled=False)
    batches = step_batches(corpus, config.training, step, SINGLE_PROCESS)
    accumulate_gradients(model, balancer, config.training, step, batches, SINGLE_PROCESS, meters)
    weakest, without = [], []
    for name, parameter in model.named_parameters():
        if name.endswith("down_EFD") and parameter.grad is not None:
            norms_E = parameter.grad.flatten(1).norm(dim=1)
            weakest.append(float(norms_E.min() / norms_E.mean()))
            without.append(float((norms_E == 0).float().mean()))
    model.zero_grad()
    return {
        "least_gradient": sum(weakest) / len(weakest),
        "experts_without_gradient": sum(without) / len(without),
    }


EXAMINATIONS: dict[str, Callable[[MoETransformer, CombinedBalancer, RunConfig, Corpus], Measurements]] = {
    "leak": _leak,
    "ablation": _ablation,
    "gradients": _gradients,
}
