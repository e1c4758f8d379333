"""One optimizer step of every strategy on a GPU that does not exist, in a process of its own.

Fake tensors carry shapes, types and a device but no numbers. What needs a number on the host (`.item()`,
`.tolist()`, the number of True values) raises, as does an operation on tensors of two devices, and grouped
products check the layout that a GPU demands. The device is registered for the whole process and
can't be taken away again, hence the process. Prints strategy -> the exception of its step, or null.
"""

import json
import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from tiny import make_tiny_config, make_tiny_corpus
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from explorer.config.run import RunConfig
from explorer.config.strategies import STRATEGIES
from explorer.corpus import Corpus
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import LayerContext
from explorer.training import micro_batches
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step

GPU = "fakegpu"
AUTOCAST = "AutocastPrivateUse1"


class Draws(torch.Generator):
    """A generator that says that it is the device's."""

    device = torch.device("meta")


class Module(_DummyBackendModule):
    """What `torch.autocast` asks of a device."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16]


def register_device() -> list[torch.library.Library]:
    """A device named `fakegpu` whose autocast casts what CUDA's casts; keep what this returns."""
    _setup_privateuseone_for_python_backend(GPU, backend_module=Module())
    rest = torch.library.Library("_", "IMPL")
    rest.fallback(torch.library.fallthrough_kernel, AUTOCAST)
    products = torch.library.Library("aten", "IMPL")
    for name in ("linear", "matmul", "mm", "bmm", "scaled_dot_product_attention"):
        products.impl(name, in_low_precision(getattr(torch.ops.aten, name)), AUTOCAST)
    Draws.device = torch.device(GPU)
    return [rest, products]


def in_low_precision(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation on bf16 copies of its float32 tensors."""

    def call(*arguments: Any, **options: Any) -> Any:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, AUTOCAST))
        with torch._C._ExcludeDispatchKeyGuard(keys):
            cast = [a.to(torch.bfloat16) if isinstance(a, torch.Tensor) else a for a in arguments]
            return operation(*cast, **options)

    return call


def move(model: torch.nn.Module) -> None:
    """Parameters and buffers onto the device, one by one: `Module.to` cannot swap fake parameters."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(parameter.detach().to(GPU))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(GPU)


def outcome(config: RunConfig, corpus: Corpus) -> str | None:
    """The exception of two steps in bf16; None if there is none. The first one samples and accumulates, the
    second one does neither."""

    def autocast(device: torch.device) -> torch.autocast:
        return torch.autocast(GPU, dtype=torch.bfloat16)

    # A generator needs a real device; which numbers are drawn does not matter here.
    draws = patch.object(LayerContext, "generator", lambda self, device: Draws())
    with FakeTensorMode(), draws, patch.object(micro_batches, "autocast", autocast):
        training = config.training
        model = build_model(config.model, corpus.vocab_size, training.sequence_length, training.seed)
        move(model)
        balancer = CombinedBalancer(config.balancer.rules)
        model.reset_bias(balancer.neutral_bias)
        optimizer = make_optimizer(model, config)
        try:
            for step, accumulation in ((0, training.gradient_accumulation_steps), (1, 1)):
                one = config.with_settings({"training.gradient_accumulation_steps": accumulation})
                train_step(model, optimizer, balancer, one, corpus, step, 1e-3)
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        return None


def main() -> None:
    kept = register_device()
    corpus = make_tiny_corpus()
    base = make_tiny_config(num_shared_experts=1, num_layers=1)
    configs = {name: strategy.config(base) for name, strategy in STRATEGIES.items()}
    # 20 and 12 numbers: rows of whole 16 bytes in float32 and of half ones in bf16.
    configs["rows that bf16 does not align"] = make_tiny_config(hidden_size=20, expert_hidden_size=12)
    outcomes = {name: outcome(config, corpus) for name, config in configs.items()}
    print(json.dumps(outcomes), flush=True)
    assert kept


if __name__ == "__main__":
    main()
    # The interpreter would end the autograd engine's thread of a device that has no driver.
    os._exit(0)
