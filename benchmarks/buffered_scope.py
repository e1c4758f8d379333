"""How much the buffered global-batch auxiliary loss differs from the global-batch one, by accumulation steps.

    python -m benchmarks.buffered_scope [--preset quick] [--train-steps 0,100] [--steps 20]

With `scope=global_buffered` a micro-batch takes f from the micro-batches of its step so far; with
`global_batch` from all of them. The table compares their router gradients, on the same weights and the same
tokens of one step, split into 1, 2, 4 ... micro-batches. `per step`: relative difference
‖g - g_global‖ / ‖g_global‖, mean over the steps; `lasting`: the same for gradients summed over the steps,
the part that does not average out at fixed weights. The micro-batch and sequence scopes are listed for
comparison. No goal: this measures how two losses differ.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.config.presets import get_preset
from explorer.config.rule_text import SCOPES, AuxLoss
from explorer.config.run import BalancerConfig, RunConfig
from explorer.corpus import Corpus, load_corpus
from explorer.model import MoETransformer, build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext
from explorer.training.devices import quiet_cpu
from explorer.training.gradients import auxiliary_sum, router_gradients
from explorer.training.loop import make_optimizer
from explorer.training.meters import assignments_LE
from explorer.training.schedules import learning_rate
from explorer.training.step import train_step

SHOWN = ("global_buffered", "micro_batch", "sequence")


@dataclass(frozen=True, kw_only=True)
class ScopeDifference:
    """Difference between the auxiliary gradients of a count scope and of the global batch."""

    relative: float
    """‖g - g_global‖ / ‖g_global‖ at all routers, mean over the steps."""
    cosine: float
    """Cosine between the two, mean over the steps."""
    lasting: float
    """Relative difference of the gradients summed over the steps: the part that does not average out."""


def scope_differences(
    model: MoETransformer, config: RunConfig, corpus: Corpus, accumulation: int, steps: Sequence[int] = (0,)
) -> dict[str, ScopeDifference]:
    """Scope -> difference of its auxiliary gradient from the global one, on the tokens of some steps.

    Each step's sequences are cut into `accumulation` micro-batches; the weights stay unchanged.
    """
    by_step = [_scope_gradients(model, config, corpus, accumulation, step) for step in steps]
    result = {}
    for scope in by_step[0].keys() - {"global_batch"}:
        pairs = [(gradients[scope], gradients["global_batch"]) for gradients in by_step]
        cosines = [torch.nn.functional.cosine_similarity(g, whole, dim=0) for g, whole in pairs]
        total, whole_total = (torch.stack(side).sum(0) for side in zip(*pairs, strict=True))
        result[scope] = ScopeDifference(
            relative=float(torch.stack([(g - w).norm() / w.norm() for g, w in pairs]).mean()),
            cosine=float(torch.stack(cosines).mean()),
            lasting=float((total - whole_total).norm() / whole_total.norm()),
        )
    return result


def _scope_gradients(
    model: MoETransformer, config: RunConfig, corpus: Corpus, accumulation: int, step: int
) -> dict[str, Tensor]:
    """Scope -> auxiliary gradient at all routers, flat, of one step's sequences."""
    training = config.training
    batch = corpus.batch(
        seed=training.seed,
        step=step,
        micro_batch=0,
        num_sequences=training.micro_batch_size,
        sequence_length=training.sequence_length,
    )
    device = next(model.parameters()).device
    parts = torch.from_numpy(batch.tokens).to(device).chunk(accumulation)
    return {
        scope: auxiliary_gradient(model, AuxLoss(coeff=1.0, scope=scope), parts).flatten() for scope in SCOPES
    }


def auxiliary_gradient(model: MoETransformer, rule: AuxLoss, micro_batches: Sequence[Tensor]) -> Tensor:
    """Gradient of the step's auxiliary loss at all routers, [L, E, D], times its coefficient.

    micro_batches: token ids [B, S + 1] of each, equally weighted. Leaves the model unchanged.
    """
    balancer = CombinedBalancer([rule])
    inputs = [tokens[:, :-1] for tokens in micro_batches]
    step_LE: Tensor | None = None
    if balancer.needs_step_counts:
        with torch.no_grad():
            step_LE = torch.stack([assignments_LE(model(x, balancer).layers) for x in inputs]).sum(0)
    total: Tensor | None = None
    earlier_LE: Tensor | None = None
    for x in inputs:
        context = ForwardContext(is_training=True, step_counts_LE=step_LE, earlier_counts_LE=earlier_LE)
        layers = model(x, balancer, context).layers
        auxiliary = auxiliary_sum(layers)
        assert auxiliary is not None
        gradient = router_gradients(auxiliary / len(inputs), model)
        total = gradient if total is None else total + gradient
        here_LE = assignments_LE(layers)
        earlier_LE = here_LE if earlier_LE is None else earlier_LE + here_LE
    assert total is not None
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--balancer", default="aux_loss", help="balancer that trains the model first")
    parser.add_argument("--train-steps", default="0,100", help="numbers of training steps before measuring")
    parser.add_argument("--steps", type=int, default=20, help="batches to measure on")
    options = parser.parse_args()
    base = get_preset(options.preset)
    config = replace(base, balancer=BalancerConfig.parse(options.balancer))
    corpus = load_corpus(config.corpus)
    with quiet_cpu(1):
        model = build_model(config.model, corpus.vocab_size, config.training.sequence_length, seed=0)
        optimizer, balancer = make_optimizer(model, config), CombinedBalancer(config.balancer.rules)
        done = 0
        for wanted in sorted(int(text) for text in options.train_steps.split(",")):
            while done < wanted:
                rate = learning_rate(config.training, done)
                train_step(model, optimizer, balancer, config, corpus, done, rate)
                done += 1
            print(f"\n{options.preset}, after {done} steps of {options.balancer}, {options.steps} batches")
            print(f"{'micro-batches':>13} {'scope':>16} {'per step':>10} {'cosine':>8} {'lasting':>8}")
            accumulation = 1
            while accumulation <= config.training.micro_batch_size:
                measured = range(10_000, 10_000 + options.steps)
                found = scope_differences(model, config, corpus, accumulation, measured)
                for scope in SHOWN:
                    d = found[scope]
                    numbers = f"{d.relative:>10.3f} {d.cosine:>8.3f} {d.lasting:>8.3f}"
                    print(f"{accumulation:>13} {scope:>16} {numbers}", flush=True)
                accumulation *= 2


if __name__ == "__main__":
    main()
