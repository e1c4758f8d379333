"""Router logits that are NaN or infinite stop a run where they appear, and leave a readable run."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from runs_in_memory import train_tiny
from sentences import pattern, sentence
from torch import Tensor

from explorer.cli import main
from explorer.errors import TrainingError
from explorer.model.router import Router
from explorer.recording import RunFolder
from explorer.training.finite import refuse_nonfinite

forward = Router.forward


def spoil(
    monkeypatch: pytest.MonkeyPatch, *, calls: int, value: float, layer: int, experts: list[int]
) -> None:
    """From the `calls`-th training pass on, one token's logits of a layer are `value`. Two layers."""
    seen = [0]

    def spoiled(self: Router, x_TD: Tensor) -> Tensor:
        logits = forward(self, x_TD)
        if torch.is_grad_enabled():
            seen[0] += 1
            passes, here = divmod(seen[0] - 1, 2)
            if passes >= calls and here == layer:
                mask = torch.zeros_like(logits, dtype=torch.bool)
                mask[3, experts] = True
                return logits.masked_fill(mask, value)
        return logits

    monkeypatch.setattr(Router, "forward", spoiled)


@pytest.mark.parametrize("arm", ["none", "loss_free:u=0.01", "aux_loss:scope=global_buffered+z_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("score_func", ["sigmoid", "softmax"])
def test_the_run_stops_with_step_layer_and_expert(
    monkeypatch: pytest.MonkeyPatch, arm: str, value: float, score_func: str
) -> None:
    # Two micro-batches a step: the 9th pass is the second of step 4.
    spoil(monkeypatch, calls=9, value=value, layer=1, experts=[2])
    with pytest.raises(TrainingError) as caught:
        train_tiny(arm, score_func=score_func)
    message = str(caught.value)
    assert sentence("model.not_finite_expert", layer=1, expert=2) in message
    assert "in step 4 " in message
    assert sentence("errors.lower_learning_rate") in message
    assert message.endswith(".")


def test_an_infinity_that_no_loss_would_show_stops_the_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # A sigmoid turns it into a score of 0 or 1: loss and gradient stay finite.
    spoil(monkeypatch, calls=0, value=float("-inf"), layer=0, experts=[0, 3])
    with pytest.raises(TrainingError, match=pattern("model.not_finite", layer=0, experts="0, 3", step=0)):
        train_tiny("none", score_func="sigmoid")


def test_the_first_bad_layer_is_named() -> None:
    counts = np.array([[0, 0, 0], [0, 5, 0], [7, 7, 7]])
    with pytest.raises(
        TrainingError,
        match=pattern("model.not_finite_expert", layer=1, expert=1)
        + " .* "
        + pattern("model.not_finite_tokens", step=3, tokens=5),
    ):
        refuse_nonfinite(counts, "step 3")
    refuse_nonfinite(np.zeros((2, 3), dtype=np.int64), "step 3")


def test_an_evaluation_stops_the_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(self: Router, x_TD: Tensor) -> Tensor:
        return forward(self, x_TD) * (1.0 if torch.is_grad_enabled() else float("nan"))

    monkeypatch.setattr(Router, "forward", spoiled)
    with pytest.raises(
        TrainingError, match="layer 0, experts 0, 1, 2, 3, .* " + pattern("model.after_evaluation", steps=0)
    ):
        train_tiny("none")


def train(runs: Path, *settings: str) -> int:
    values = [part for setting in settings for part in ("--set", setting)]
    arm = ["--balancer", "loss_free", "--run-id", "bad", "--runs", str(runs)]
    return main(["train", "--preset", "tiny", *arm, "--json", *values])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_through_the_command_line_the_run_failed_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    spoil(monkeypatch, calls=7, value=value, layer=1, experts=[3])
    assert train(tmp_path) != 0
    shown = capsys.readouterr()
    assert sentence("model.not_finite_expert", layer=1, expert=3) in shown.err
    assert "Traceback" not in shown.err
    status = json.loads((tmp_path / "bad" / "status.json").read_text(encoding="utf-8"))
    assert status["state"] == "failed"
    assert sentence("model.not_finite_expert", layer=1, expert=3) in status["message"]
    assert "in step 7 " in status["message"]
    folder = RunFolder(tmp_path / "bad")
    assert folder.status.last_step == 6
    for table in ("steps", "expert_loads", "layer_steps"):
        assert folder.read(table)["step"].max() <= 6
    steps = folder.read("steps").sort("step")
    assert steps["step"].to_list() == list(range(7))
    assert steps["lm_loss"].is_finite().all()
    loads = folder.read("expert_loads")
    assert loads.group_by("step", "layer").agg(pl.col("tokens").sum())["tokens"].unique().to_list() == [128]


def test_a_learning_rate_beyond_all_measure_ends_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing is faked here: after some updates the numbers overflow.
    assert train(tmp_path, "training.learning_rate=1e37", "training.warmup_steps=0") != 0
    status = RunFolder(tmp_path / "bad").status
    assert status.state == "failed"
    assert sentence("errors.lower_learning_rate") in status.message
    assert "Traceback" not in capsys.readouterr().err
