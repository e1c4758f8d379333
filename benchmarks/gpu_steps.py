"""Compare one optimizer step on a device with the same step on the CPU, and check for host waits."""

import contextlib
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.host_waits import has_grouped_kernel, host_waits
from explorer.config.rule_text import LossFree, Rule
from explorer.config.run import RunConfig
from explorer.config.strategies import STRATEGIES
from explorer.corpus import Corpus, load_corpus
from explorer.model import MoETransformer, build_model
from explorer.model.balancers import CombinedBalancer
from explorer.training import micro_batches
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step
from explorer.training.step_log import StepLog
from explorer.training.update import bias_LE

NEAR = 1e-5
"""Two compared scores closer than this may swap in float32 on another device."""
FLOAT32_LOSS = 1e-4
"""Largest relative difference of loss and gradient norm in float32, due to the order of summation."""
FLOAT32_BIAS = 1e-4
"""Largest difference of a bias that is computed from scores."""
FLOAT32_SUM = 1e-6
"""Largest difference of a bias whose rule sums fractions in any order; other biases computed from counts are
equal."""
BF16_LOSS = 1e-2
"""Largest relative loss difference in bf16, which has 8 bits of mantissa (2^-9 = 0.2 % per rounding)."""
BF16_COUNTS = 0.05
"""Largest share of a layer's assignments that differ in bf16. The router itself stays in float32."""


def compare_steps(config: RunConfig, preset: str, device: torch.device, deadline: float) -> dict[str, Any]:
    """Strategy -> differences; strategies with random draws are skipped, since a GPU draws other numbers."""
    corpus = load_corpus(config.corpus)
    found: dict[str, Any] = {}
    for name, strategy in STRATEGIES.items():
        run = strategy.config(config, preset)
        if draws(run):
            continue
        if time.monotonic() > deadline:
            break
        found[name] = compare_step(run, corpus, device)
    return found


def draws(config: RunConfig) -> bool:
    """Whether a training step of this configuration draws random numbers."""
    model = config.model
    return bool(model.router_noise or model.noisy_top_k or model.random_second or model.routing == "random")


def compare_step(config: RunConfig, corpus: Corpus, device: torch.device) -> dict[str, Any]:
    """Differences in step 0, from the same weights, and host waits in steps 1 and 2."""
    cpu = build_model(config.model, corpus.vocab_size, config.training.sequence_length, config.training.seed)
    twin = deepcopy(cpu).to(device)
    low = deepcopy(cpu).to(device)
    ties = near_ties(cpu, config, corpus)
    with precision(None):
        ours, our_bias = one_step(cpu, config, corpus)
        theirs, their_bias = one_step(twin, config, corpus)
    with precision(torch.bfloat16):
        rough, _ = one_step(low, config, corpus)
        waits = waits_of(low, config, corpus) if device.type == "cuda" else None
    result = {
        "counts_differ": moved(ours, theirs),
        "near_ties": ties,
        "bias_difference": difference(our_bias, their_bias),
        "bias_from_counts": difference(bias_of(theirs, config), their_bias),
        "loss_difference": relative(ours, theirs, "lm_loss"),
        "grad_norm_difference": relative(ours, theirs, "grad_norm"),
        "bf16_counts_share": moved(ours, rough) / max(1, int(ours.layers["tokens"].sum())),
        "bf16_loss_difference": relative(ours, rough, "lm_loss"),
        "waits": waits,
        "known_waits": list(host_waits(config)),
    }
    result["holds"] = (
        result["counts_differ"] <= ties
        and bias_holds(result, config)
        and max(result["loss_difference"], result["grad_norm_difference"]) <= FLOAT32_LOSS
        and result["bf16_counts_share"] <= BF16_COUNTS
        and result["bf16_loss_difference"] <= BF16_LOSS
        and waits_as_known(waits, result["known_waits"], device)
    )
    return result


def bias_holds(result: dict[str, Any], config: RunConfig) -> bool:
    """Whether the bias is correct.

    Every rule except the quantile rules reads only counts, from which a CPU computes the same bias.
    """
    moving = [rule for rule in config.balancer.rules if rule.moves_bias]
    if not all(isinstance(rule, LossFree) for rule in moving):
        return bool(result["bias_difference"] <= FLOAT32_BIAS)
    return bool(result["bias_from_counts"] <= (FLOAT32_SUM if any(map(adds_fractions, moving)) else 0.0))


def adds_fractions(rule: Rule) -> bool:
    """Whether the order of a sum affects the last bits: sums of signs are exact, of relative errors not."""
    return isinstance(rule, LossFree) and (
        rule.update_rule == "rms" or (rule.centred and rule.update_rule != "sign")
    )


def near_ties(model: MoETransformer, config: RunConfig, corpus: Corpus) -> int:
    """Selections of step 0 that depend on a difference below `NEAR`: rounding may rightly change them."""
    training, balancer = config.training, CombinedBalancer(config.balancer.rules)
    model.reset_bias(balancer.neutral_bias)
    found = 0
    for index in range(training.gradient_accumulation_steps):
        batch = corpus.batch(
            seed=training.seed,
            step=0,
            micro_batch=index,
            num_sequences=training.micro_batch_size,
            sequence_length=training.sequence_length,
        )
        with torch.no_grad():
            layers = model(torch.from_numpy(batch.tokens)[:, :-1], balancer).layers
        for compared_TE in (layer.routing.compared_TE for layer in layers):
            if compared_TE is not None and config.model.top_k < config.model.num_experts:
                best = compared_TE.topk(config.model.top_k + 1).values
                found += int((best[:, -2] - best[:, -1] < NEAR).sum())
    return found


def bias_of(log: StepLog, config: RunConfig) -> torch.Tensor:
    """The bias computed on a CPU from the counts of step 0, [L, E]; the neutral bias without a rule."""
    balancer = CombinedBalancer(config.balancer.rules)
    counts_LE = log.layers["tokens"].cpu()
    bias_LE = torch.full(counts_LE.shape, balancer.neutral_bias)
    balancer.update(bias_LE, counts_LE, 0)
    return bias_LE


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest absolute difference; 0 for empty tensors."""
    return float((ours - theirs.cpu()).abs().max()) if theirs.numel() else 0.0


def waits_as_known(waits: str | None, known: list[str], device: torch.device) -> bool:
    """Whether the host waits exactly where documented; without a kernel for grouped products, anywhere."""
    return waits is None or not has_grouped_kernel(device) or bool(waits) == bool(known)


def one_step(model: MoETransformer, config: RunConfig, corpus: Corpus) -> tuple[StepLog, torch.Tensor]:
    """Step 0, which samples every quantity, and the biases after it [L, E]."""
    balancer = CombinedBalancer(config.balancer.rules)
    model.reset_bias(balancer.neutral_bias)
    optimizer = make_optimizer(model, config)
    log = train_step(model, optimizer, balancer, config, corpus, 0, config.training.learning_rate)
    return log, bias_LE(model).clone() if model.routers else torch.zeros(0)


def waits_of(model: MoETransformer, config: RunConfig, corpus: Corpus) -> str:
    """CUDA's message if the host waits within a step; empty if it does not."""
    balancer = CombinedBalancer(config.balancer.rules)
    optimizer = make_optimizer(model, config)
    # The first optimizer step allocates memory and initialises libraries.
    train_step(model, optimizer, balancer, config, corpus, 1, config.training.learning_rate)
    torch.cuda.set_sync_debug_mode("error")
    try:
        # One sampled step and one that is not.
        for step in (config.training.sequence_load_interval, 2):
            train_step(model, optimizer, balancer, config, corpus, step, config.training.learning_rate)
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


@contextlib.contextmanager
def precision(dtype: torch.dtype | None) -> Iterator[None]:
    """Train in this precision on any device; None: float32 throughout."""

    def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=dtype) if dtype else contextlib.nullcontext()

    with patch.object(micro_batches, "autocast", autocast):
        yield


def moved(ours: StepLog, theirs: StepLog) -> int:
    """Number of assignments that went to another expert, over all layers."""
    difference = ours.layers["tokens"] - theirs.layers["tokens"].cpu()
    return int(difference.abs().sum()) // 2


def relative(ours: StepLog, theirs: StepLog, name: str) -> float:
    """|a - b| / |a| of two scalars."""
    a, b = float(ours.scalars[name]), float(theirs.scalars[name])
    return abs(a - b) / abs(a)


def row(name: str, step: dict[str, Any]) -> str:
    waits = "not checked" if step["waits"] is None else step["waits"] or "nothing"
    return (
        f"{name:<30} {'holds' if step['holds'] else 'DIFFERS':<8}"
        f" fp32: {step['counts_differ']} assignments ({step['near_ties']} near ties),"
        f" bias {step['bias_difference']:.1e}, loss {step['loss_difference']:.1e};"
        f" bf16: {step['bf16_counts_share']:.2%} of assignments, loss {step['bf16_loss_difference']:.1e};"
        f" waits: {waits}" + (f" (known: {'; '.join(step['known_waits'])})" if step["known_waits"] else "")
    )
