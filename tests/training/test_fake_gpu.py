"""A step on a GPU, held without one: nothing is left on the CPU, and nobody waits but who says so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentences import sentence
from tiny import make_tiny_config

from benchmarks.host_waits import host_waits
from explorer.config.strategies import STRATEGIES
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext
from explorer.model.transformer import ModelOutput

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("fake_gpu_worker.py")
WAITING = ("DataDependentOutputException", "DynamicOutputShapeException")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str | None]:
    """Strategy -> the exception of its step on the fake GPU, or None."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, str(WORKER)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def test_a_step_on_a_gpu_mixes_no_devices_and_waits_only_where_it_is_known(
    outcomes: dict[str, str | None],
) -> None:
    assert outcomes.keys() >= STRATEGIES.keys()
    for name, strategy in STRATEGIES.items():
        waits = host_waits(strategy.config(make_tiny_config()))
        error = outcomes[name]
        assert bool(waits) == (error is not None), f"{name}: {error}, known: {waits}"
        assert error is None or error.startswith(WAITING), f"{name}: {error}"


def test_rows_that_only_bf16_misaligns_do_not_reach_the_grouped_product(
    outcomes: dict[str, str | None],
) -> None:
    # The loop needs the loads on the host: that is a wait, not the refusal of a kernel.
    error = outcomes["rows that bf16 does not align"]
    assert error is not None
    assert error.startswith(WAITING), error
    assert (
        sentence("training.one_product_per_expert")
        in host_waits(make_tiny_config(hidden_size=20, expert_hidden_size=12))[0]
    )


@pytest.mark.parametrize("name", ["loss-free + V3 sequence loss", "quantile, by sequence"])
def test_a_pass_and_its_gradient_compile_as_one_graph(name: str) -> None:
    config = STRATEGIES[name].config(make_tiny_config(num_layers=1))
    model = build_model(config.model, 256, config.training.sequence_length, 0)
    balancer = CombinedBalancer(config.balancer.rules)
    tokens_BS = torch.randint(0, 256, (4, config.training.sequence_length))

    def gradients(forward: Callable[..., ModelOutput]) -> tuple[ModelOutput, list[torch.Tensor]]:
        # Grouped products compile in bf16 alone.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = forward(tokens_BS, balancer, ForwardContext(is_training=True))
        loss = output.logits_BSV.float().logsumexp(-1).mean()
        for layer in output.layers:
            loss = loss if layer.losses.objective is None else loss + layer.losses.objective
        return output, list(torch.autograd.grad(loss, list(model.parameters())))

    output, compiled = gradients(torch.compile(model, fullgraph=True, backend="aot_eager"))
    expected, eager = gradients(model)
    for layer, other in zip(output.layers, expected.layers, strict=True):
        assert torch.equal(layer.counts_BE, other.counts_BE)
        assert layer.counts_BE.dtype == torch.int64
        assert layer.routing.scores_TE.dtype == torch.float32
    for gradient, other in zip(compiled, eager, strict=True):
        torch.testing.assert_close(gradient, other, rtol=2e-2, atol=1e-4)
