"""Training throughput against (a) a dense model with equal active parameters and (b) transformers' Mixtral.

    python -m benchmarks.training [--preset standard] [--rounds 20] [--profile]

All models run alternately in one process with one thread; the result is the ratio of tokens per second.
Goals: at least 0.8 of (a), not slower than (b). Every step is forward, backward, clipping and AdamW on
the same random tokens; nothing is recorded (benchmarks/recording.py measures that). `--profile` also shows
how much time goes into kernels that any such model calls (matrix products, attention, softmax of the
logits, AdamW), and how fast ours could be relative to (b) if everything else in it were free.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional as F

from benchmarks.side_by_side import ratio, time_in_turn
from explorer.config.presets import get_preset
from explorer.config.rule_text import parse_rules
from explorer.config.run import ModelConfig, RunConfig
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.experts import SwiGLU
from explorer.training.devices import autocast, quiet_cpu

CPU = torch.device("cpu")


def our_step(
    config: RunConfig, model: torch.nn.Module, balancer: str = "none", device: torch.device = CPU
) -> Callable[[], object]:
    rules = CombinedBalancer(parse_rules(balancer))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = random_tokens(config, device)

    def step() -> None:
        with autocast(device):
            output = model(tokens[:, :-1], rules)
        loss = F.cross_entropy(output.logits_BSV.flatten(0, 1).float(), tokens[:, 1:].flatten())
        for layer in output.layers:
            if layer.losses.objective is not None:
                loss = loss + layer.losses.objective
        finish(loss, model, optimizer)
        for router, layer in zip(model.routers, output.layers, strict=True):
            rules.update(router.expert_bias_E, layer.counts_BE.sum(0), 0)

    return step


def finish(loss: torch.Tensor, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def random_tokens(config: RunConfig, device: torch.device = CPU) -> torch.Tensor:
    shape = (config.training.micro_batch_size, config.training.sequence_length + 1)
    return torch.randint(0, config.corpus.vocab_size, shape).to(device)


def dense_model(config: RunConfig) -> torch.nn.Module:
    """The same transformer with one SwiGLU as wide as the experts that a token activates."""
    model = config.model
    width = (model.top_k + model.num_shared_experts) * model.expert_hidden_size
    twin = replace(model, num_dense_layers=model.num_layers - 1, dense_hidden_size=width)
    built = build_model(twin, config.corpus.vocab_size, config.training.sequence_length, 0)
    built.blocks[-1].ffn = SwiGLU(model.hidden_size, width, model.init_std)
    return built


def mixtral_step(config: RunConfig, device: torch.device = CPU) -> Callable[[], object]:
    """transformers' Mixtral at the same sizes, its own auxiliary loss off, grouped matrix products on."""
    from transformers import MixtralConfig, MixtralForCausalLM

    model = config.model
    mixtral = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=config.corpus.vocab_size,
            hidden_size=model.hidden_size,
            intermediate_size=model.expert_hidden_size,
            num_hidden_layers=model.num_layers,
            num_attention_heads=model.num_heads,
            num_key_value_heads=model.num_heads,
            num_local_experts=model.num_experts,
            num_experts_per_tok=model.top_k,
            max_position_embeddings=config.training.sequence_length,
            tie_word_embeddings=True,
            sliding_window=None,
            use_cache=False,
            attn_implementation="sdpa",
            experts_implementation="grouped_mm",
        )
    )
    mixtral.train()
    mixtral.to(device)
    optimizer = torch.optim.AdamW(mixtral.parameters(), lr=1e-3, fused=True)
    tokens = random_tokens(config, device)

    def step() -> None:
        with autocast(device):
            logits = mixtral(input_ids=tokens[:, :-1]).logits
        finish(F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten()), mixtral, optimizer)

    return step


FLOOR = (
    "aten::mm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "aten::_log_softmax",
    "aten::_log_softmax_backward_data",
    "aten::_fused_adamw_",
)
"""Kernels that every transformer of these sizes needs; each is a single library call."""


def profile(step: Callable[[], object], steps: int = 5) -> tuple[float, float]:
    """(seconds per step, of which in the kernels of `FLOOR`), both according to the profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            step()
    times = {event.key: event.self_cpu_time_total / 1e6 / steps for event in found.key_averages()}
    return sum(times.values()), sum(times.get(name, 0.0) for name in FLOOR)


def build(config: RunConfig, model: ModelConfig | None = None) -> torch.nn.Module:
    return build_model(model or config.model, config.corpus.vocab_size, config.training.sequence_length, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    config = get_preset(options.preset)
    # Mixtral has no shared expert, so ours is removed for this comparison.
    plain = replace(config, model=replace(config.model, num_shared_experts=0))
    with quiet_cpu(1):
        steps = {
            "ours": our_step(config, build(config)),
            "ours, loss_free": our_step(config, build(config), "loss_free"),
            "ours, aux_loss": our_step(config, build(config), "aux_loss"),
            "ours, loop": our_step(config, build(config, replace(config.model, dispatch="loop"))),
            "dense": our_step(config, dense_model(config)),
            "ours, no shared expert": our_step(plain, build(plain)),
            "Mixtral": mixtral_step(plain),
        }
        seconds = time_in_turn(steps, options.rounds)
        names = ("ours, no shared expert", "Mixtral") if options.profile else ()
        profiles = {name: profile(steps[name]) for name in names}
    tokens = config.training.tokens_per_step
    for name, values in seconds.items():
        median = sorted(values)[len(values) // 2]
        print(f"{name:<24}{median * 1e3:8.1f} ms per step {tokens / median:10,.0f} tokens/s")
    print(
        f"(a) tokens/s of ours over the dense model's: {ratio(seconds['dense'], seconds['ours'])}; goal 0.8"
    )
    against = ratio(seconds["Mixtral"], seconds["ours, no shared expert"])
    print(f"(b) tokens/s of ours over Mixtral's: {against}; goal 1.0")
    for rule in ("loss_free", "aux_loss"):
        print(f"step time of {rule} over none: {ratio(seconds[f'ours, {rule}'], seconds['ours'])}")
    for name, (whole, floor) in profiles.items():
        print(f"{name}: {whole * 1e3:.1f} ms per step, {floor / whole:.0%} of it in kernels that both need")
    if profiles:
        ours, theirs = profiles.values()
        print(f"ours over Mixtral's if everything else in ours were free: {theirs[0] / ours[1]:.2f}")


if __name__ == "__main__":
    main()
