"""Every bias step that ships, worked out again: the same bits that were logged. And against the trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from explorer.config.rule_text import LossFree
from explorer.model.bias_balancers import LossFreeBalancing
from explorer.recording import RunFolder, list_runs
from explorer.routing.bias_step import RuleInForce, recompute, rule_in_force

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
LOSS_FREE = [listing for listing in list_runs(RUNS) if "loss_free" in listing.info.balancer]


def logged(folder: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """Counts [S, L, E], and the bias of every step and of the last evaluation [S + 1, L, E]."""
    rows = folder.read("expert_loads").sort("step", "layer", "expert")
    shape = (rows["step"].n_unique(), rows["layer"].n_unique(), -1)
    last = folder.read("eval_loads").filter(pl.col("step") == shape[0])
    last = last.group_by("layer", "expert").agg(pl.col("expert_bias").unique()).explode("expert_bias")
    final = last.sort("layer", "expert")["expert_bias"].to_numpy().reshape(1, *shape[1:])
    bias = rows["expert_bias"].to_numpy().reshape(shape)
    return rows["tokens"].to_numpy().reshape(shape), np.concatenate([bias, final]).astype(np.float32)


@pytest.mark.parametrize("listing", LOSS_FREE, ids=lambda listing: listing.run_id)
def test_every_step_of_every_layer_comes_out_as_it_was_logged(listing):
    folder = RunFolder(listing.path)
    tokens, bias = logged(folder)
    worked_out = 0
    for step in range(len(tokens)):
        force = rule_in_force(folder.info.config, step)
        if isinstance(force, str):
            assert np.isnan(bias[step]).all(), force
            continue
        for layer in range(tokens.shape[1]):
            update = recompute(force, tokens[step, layer], bias[step, layer])
            assert not update.is_rounded
            assert update.after_E.tobytes() == bias[step + 1, layer].tobytes(), (step, layer)
            worked_out += 1
    assert worked_out == np.isfinite(bias[:-1, :, 0]).sum() > 0


def test_there_are_loss_free_runs_with_a_schedule_and_without():
    assert len(LOSS_FREE) == 8
    assert sum("/" in listing.info.balancer for listing in LOSS_FREE) == 1


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("update_rule", ["sign", "proportional", "rms"])
@pytest.mark.parametrize("more", [{}, {"step_decay": "sqrt"}, {"step_decay": "harmonic"}])
@pytest.mark.parametrize("experts", [3, 8, 64, 160])
def test_the_trainer_itself_does_the_same(
    update_rule: str, centred: bool, more: dict[str, Any], experts: int
) -> None:
    rule = LossFree(bias_update_rate=0.0037, update_rule=update_rule, centred=centred, **more)
    trainer = LossFreeBalancing(rule)
    trainer.since = 4
    rng = np.random.default_rng(experts)
    bias_LE = rng.normal(0, 0.1, (3, experts)).astype(np.float32)
    for step in range(4, 12):
        tokens = rng.integers(0, 4000, (3, experts))
        expected = torch.from_numpy(bias_LE.copy())
        trainer.update(expected, torch.from_numpy(tokens), step)
        force = RuleInForce(rule=rule, updates=step - 3, is_frozen=False, restarts=False)
        for layer in range(3):
            update = recompute(force, tokens[layer], bias_LE[layer])
            assert update.equals(expected[layer].numpy()).all()
            if not update.is_rounded:
                assert update.after_E.tobytes() == expected[layer].numpy().tobytes()
        bias_LE = expected.numpy()
