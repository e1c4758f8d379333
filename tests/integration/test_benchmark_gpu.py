"""The GPU benchmark on a CPU: it measures everything, finds a difference, and refuses without a GPU."""

import json
from copy import deepcopy

import pytest
import torch

from benchmarks import gpu, gpu_live, gpu_speed, gpu_steps
from explorer.config.strategies import STRATEGIES


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    """The exit code, and what it prints as JSON."""
    code = gpu.main(["--device", "cpu", "--preset", "tiny", "--rounds", "1", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_a_step_is_compared_for_every_strategy_that_draws_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, result = measured(capsys, "--part", "steps")
    left_out = STRATEGIES.keys() - result["steps"].keys()
    assert left_out == {"router noise", "noisy top-K", "random second expert", "random"}
    assert code == 0, [name for name, step in result["steps"].items() if not step["holds"]]


def test_a_device_that_counts_otherwise_is_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_model(model: torch.nn.Module) -> torch.nn.Module:
        twin = deepcopy(model)
        for router in twin.routers:
            router.weight_ED.data = router.weight_ED.data.flip(0)
        return twin

    monkeypatch.setattr(gpu_steps, "deepcopy", another_model)
    monkeypatch.setattr(gpu_steps, "STRATEGIES", {"loss-free": STRATEGIES["loss-free"]})
    code, result = measured(capsys, "--part", "steps")
    assert code == 1
    assert result["steps"]["loss-free"]["counts_differ"] > 0
    assert result["steps"]["loss-free"]["bias_difference"] > 0


def test_ragged_routings_are_timed_and_say_what_waits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Building Mixtral takes seconds and is not what is tested.
    monkeypatch.setattr(gpu_speed, "mixtral_step", lambda config, device: lambda: None)
    code, result = measured(capsys, "--part", "speed")
    assert code == 0
    speeds = result["speed"]["tiny"]
    assert {"Mixtral", "dense, same active parameters", "ours, capacity 1.25"} <= speeds.keys()
    assert all(speed["tokens_per_second"] > 0 for speed in speeds.values())
    assert not speeds["ours"]["waits"]
    assert speeds["ours, capacity 1.25"]["waits"]


def test_a_live_run_is_switched_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_live, "STEPS", 3)
    outcome = gpu_live.live_run("cpu", "tiny")
    assert outcome["holds"], outcome
    assert outcome["switched_at"][0] <= outcome["steps"] - gpu_live.STEPS


def test_without_a_gpu_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("benchmarks.gpu needs a GPU: training.device = 'cuda': ")
    assert not printed.out
