"""The GPU benchmark on a CPU: it measures everything, finds a difference, and refuses without a GPU."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_live, gpu_speed, gpu_steps
from explorer.config.presets import get_preset
from explorer.config.strategies import STRATEGIES, Strategy


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


@pytest.mark.parametrize(
    ("strategy", "off_by", "holds"),
    [
        ("loss-free", 0.0, True),
        ("loss-free", 1e-8, False),
        ("loss-free, proportional", 1e-8, False),
        ("loss-free, centred", 1e-8, False),
        ("loss-free, RMS-normalised", 1e-8, True),
        ("loss-free, RMS-normalised", 1e-5, False),
        ("centred, proportional", 1e-8, True),
        ("centred, proportional", 1e-5, False),
        ("quantile", 1e-5, True),
        ("quantile", 1e-3, False),
    ],
)
def test_a_bias_may_be_off_by_the_order_of_a_sum_and_by_nothing_else(
    strategy: str, off_by: float, holds: bool
) -> None:
    rules = {"centred, proportional": "loss_free:update_rule=proportional,centred=true"}
    arm = Strategy(arm=rules[strategy]) if strategy in rules else STRATEGIES[strategy]
    differences = {"bias_from_counts": off_by, "bias_difference": off_by}
    assert gpu_steps.bias_holds(differences, arm.config(get_preset("tiny"), "tiny")) is holds


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
    # A busy machine is no difference.
    monkeypatch.setattr(gpu_live, "LIMIT_S", 240.0)
    outcome = gpu_live.live_run("cpu", "tiny")
    assert outcome["holds"], outcome
    assert outcome["switched_at"][0] <= outcome["steps"] - gpu_live.STEPS


@pytest.mark.parametrize("limit_s", [0.0, 60.0])
def test_a_live_run_that_never_switches_is_a_difference_and_no_crash(
    limit_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended at once, or its time is over."""
    monkeypatch.setattr(gpu_live, "LIMIT_S", limit_s)
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, bufsize=0) as process:
        outcome = gpu_live.judged(gpu_live.steer(process, tmp_path / "live"), tmp_path)
    assert not outcome["holds"]
    assert outcome["switched_at"] == []


def test_without_a_gpu_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("benchmarks.gpu needs a GPU: training.device = 'cuda': ")
    assert not printed.out
