"""Tokens per second on a device: ours by routing, a dense model, transformers' Mixtral."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.host_waits import host_waits
from benchmarks.training import build, dense_model, mixtral_step, our_step
from explorer.config.run import RunConfig

ROUTINGS: dict[str, dict[str, Any]] = {
    "ours, top-p 0.2": {"model.top_p": 0.2},
    "ours, capacity 1.25": {"model.capacity_factor": 1.25},
    "ours, expert choice": {"model.routing": "expert_choice"},
    "ours, expert threshold": {"model.routing": "expert_threshold"},
}
"""Routings with possibly empty slots, in which the host waits (`host_waits`)."""


def speeds(config: RunConfig, device: torch.device, rounds: int, deadline: float) -> dict[str, Any]:
    """Arm -> tokens per second and host waits, one arm at a time; arms past the deadline are skipped.

    Each arm gets the device to itself, since a size that fills it leaves no room for a second model.
    """
    # Mixtral has neither shared experts nor a dense first layer.
    plain = replace(config, model=replace(config.model, num_shared_experts=0, num_dense_layers=0))
    arms: dict[str, tuple[RunConfig, Callable[[RunConfig], Callable[[], object]]]] = {
        "ours": (config, lambda c: our_step(c, build(c), device=device)),
        "ours, loss_free": (config, lambda c: our_step(c, build(c), "loss_free", device)),
        "ours, aux_loss": (config, lambda c: our_step(c, build(c), "aux_loss", device)),
        "dense, same active parameters": (config, lambda c: our_step(c, dense_model(c), device=device)),
        "ours, no shared expert": (plain, lambda c: our_step(c, build(c), device=device)),
        "Mixtral": (plain, lambda c: mixtral_step(c, device)),
    }
    for name, settings in ROUTINGS.items():
        arms[name] = (config.with_settings(settings), lambda c: our_step(c, build(c), device=device))
    found: dict[str, Any] = {}
    for name, (run, make) in arms.items():
        if time.monotonic() > deadline:
            break
        found[name] = timed(run, make, device, rounds)
        if "ours" in name:
            found[name]["waits"] = list(host_waits(run))
    return found


def timed(
    config: RunConfig,
    make: Callable[[RunConfig], Callable[[], object]],
    device: torch.device,
    rounds: int,
) -> dict[str, Any]:
    """Median of `rounds` steps, with as many sequences as the device has memory for."""
    while True:
        try:
            # Built on the device: initialising the weights on a CPU takes longer than all steps on a GPU.
            with device:
                step = make(config)
            seconds = step_seconds(step, device, rounds)
            del step
        except torch.OutOfMemoryError as error:
            if config.training.micro_batch_size == 1:
                return {"error": str(error).strip().splitlines()[0]}
            half = config.training.micro_batch_size // 2
            config = replace(config, training=replace(config.training, micro_batch_size=half))
        else:
            tokens = config.training.micro_batch_size * config.training.sequence_length
            return {
                "tokens_per_second": tokens / seconds,
                "ms_per_step": seconds * 1e3,
                "tokens_per_step": tokens,
                "memory_gb": memory_gb(device),
            }
        finally:
            release(device)


def step_seconds(step: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median seconds per step, including the work on the device."""
    seconds = []
    for _ in range(3 + rounds):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[3:])


def memory_gb(device: torch.device) -> float | None:
    """Peak memory allocated on a GPU, in 10^9 bytes."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def release(device: torch.device) -> None:
    """Release the memory of the previous arm."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def row(name: str, speed: dict[str, Any]) -> str:
    if "error" in speed:
        return f"{name:<32} does not fit: {speed['error']}"
    memory = "" if speed["memory_gb"] is None else f", {speed['memory_gb']:.1f} GB"
    waits = f"; waits for {'; '.join(speed['waits'])}" if speed.get("waits") else ""
    return (
        f"{name:<32}{speed['tokens_per_second']:12,.0f} tokens/s {speed['ms_per_step']:9.1f} ms per step of"
        f" {speed['tokens_per_step']:,} tokens{memory}{waits}"
    )
