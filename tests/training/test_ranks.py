"""Data parallel training: 16 sequences a step in one batch, in four micro-batches, on four processes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import polars as pl
import pytest
import torch
from ranks_worker import made
from sentences import pattern, sentence
from tiny import make_tiny_config

from explorer.config.presets import get_preset
from explorer.config.rule_text import LossFree
from explorer.errors import ConfigError
from explorer.model.balancers import CombinedBalancer
from explorer.recording import RunFolder
from explorer.running.into_folder import train_run
from explorer.training.ranks import SINGLE_PROCESS, Ranks, check_shares

ROOT = Path(__file__).resolve().parents[2]
ARMS = (
    "none",
    "loss_free:u=0.01",
    "aux_loss:scope=sequence,coeff=0.1",
    "aux_loss:coeff=0.1",
    "loss_free+seq_aux+z_loss",
    "quantile",
    "quantile:num_bins=0",
    "expert_threshold",
)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


FORKED = [sys.executable, str(ROOT / "tests/support/forked_ranks.py")]
"""Starts the same processes, but loads torch only once; that torchrun does it is shown by one test."""


def launch(processes: int, *command: str, start: Sequence[str] = FORKED) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*start, str(processes), *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Every arm on four processes."""
    out = tmp_path_factory.mktemp("ranks") / "found.pt"
    done = launch(4, str(ROOT / "tests/training/ranks_worker.py"), str(out), *ARMS)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(out, weights_only=False)


alone = cache(lambda arm, micro_batches: made(arm, micro_batches, SINGLE_PROCESS))


@pytest.mark.parametrize("arm", ARMS)
def test_p11_p12_one_batch_four_micro_batches_and_four_ranks_count_the_same(four: dict, arm: str) -> None:
    whole, accumulated, parallel = alone(arm, 1), alone(arm, 4), four[arm]
    for other in (accumulated, parallel):
        assert torch.equal(whole["tokens"], other["tokens"])
        assert other["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        for name, value in whole["state"].items():
            # Rules that read counts give the same bits; an exact quantile reads scores, which round.
            if name.endswith("expert_bias_E") and "num_bins=0" not in arm:
                assert torch.equal(value, other["state"][name]), name
            else:
                torch.testing.assert_close(other["state"][name], value, rtol=2e-4, atol=2e-5, msg=name)


def test_four_ranks_end_with_the_same_weights_bit_for_bit(four: dict) -> None:
    first, *others = four["states"]
    assert len(others) == 3
    for other in others:
        assert all(torch.equal(value, other[name]) for name, value in first.items())


def test_counts_of_every_rank_are_kept_and_add_up(four: dict) -> None:
    run = four["loss_free:u=0.01"]
    by_rank = torch.stack(run["by_rank"])
    assert by_rank.shape == (8, 4, 2, 4)
    assert torch.equal(by_rank.sum(1), run["tokens"])
    assert by_rank.sum(-1).unique().tolist() == [4 * 16 * 2]
    # The sequences of all ranks reach the recorder of the first one, under their place in the step.
    assert run["micro_batches"] == [0, 1, 2, 3]
    assert run["by_sequence"].tolist() == run["tokens"].sum(0).tolist()
    assert alone("none", 4)["by_rank"] == []


def test_one_rank_that_wants_to_stop_stops_all_at_the_same_step(four: dict) -> None:
    assert four["stopped"]["steps"] == 3


def test_a_switch_heard_by_the_first_rank_is_made_by_all_at_the_same_step(four: dict) -> None:
    planned = "none/3/loss_free:bias_update_rate=0.01/6/aux_loss:coeff=0.1"
    assert four["balancers"] == [planned] * 4
    alone_and_planned = made(planned, 4, SINGLE_PROCESS)
    assert torch.equal(four["switched"]["tokens"], alone_and_planned["tokens"])
    # A rule that one process could follow and four cannot.
    refused = [answer for answer in four["switched"]["answers"] if "refused" in answer]
    assert len(refused) == 1
    assert sentence("training.one_process_buffer") in refused[0]


def test_p12_the_sign_of_the_sum_is_not_the_mean_of_the_signs() -> None:
    """Rank-local imbalance is not global imbalance: four ranks that each overload another expert."""
    by_rank = torch.tensor([[37, 1, 1, 1], [1, 37, 1, 1], [1, 1, 37, 1], [1, 1, 1, 37]])
    local = (by_rank.max(-1).values / by_rank.float().mean(-1)).mean()
    assert local == pytest.approx(3.7)
    assert by_rank.sum(0).unique().tolist() == [40]
    rule = CombinedBalancer([LossFree(bias_update_rate=0.1)])
    together, each = torch.zeros(4), torch.zeros(4, 4)
    rule.update(together, by_rank.sum(0), 0)
    rule.update(each, by_rank, 0)
    assert together.tolist() == [0, 0, 0, 0]
    # And where they do not cancel: one very busy rank outvoted by three.
    lopsided = torch.tensor([[40, 0], [18, 22], [18, 22], [18, 22]])
    bias, votes = torch.zeros(2), torch.zeros(4, 2)
    rule.update(bias, lopsided.sum(0), 0)
    rule.update(votes, lopsided, 0)
    assert bias[0] < 0 < votes.mean(0)[0]


def test_micro_batches_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match="gradient_accumulation_steps = 6.*"
        + pattern("training.multiple_of_processes", processes=4)
        + ".*8",
    ):
        check_shares(make_tiny_config(gradient_accumulation_steps=6), Ranks(rank=0, size=4))
    check_shares(make_tiny_config(gradient_accumulation_steps=8), Ranks(rank=3, size=4))
    assert [list(Ranks(rank=r, size=4).share(8)) for r in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]


SHARED = "training.gradient_accumulation_steps=2"


def test_the_command_line_under_torchrun_records_one_run(tmp_path: Path) -> None:
    command = ["-m", "explorer", "train", "--preset", "tiny", "--runs", str(tmp_path), "--set", SHARED]
    done = launch(2, *command, "--run-id", "shared", "--json", start=TORCHRUN)
    assert done.returncode == 0, done.stderr[-2000:]
    summaries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(run["run_id"], run["state"]) for run in summaries] == [("shared", "finished")]
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]
    run = json.loads((tmp_path / "shared" / "run.json").read_text())
    assert run["device"].endswith("× 2")
    ranks = pl.read_parquet(tmp_path / "shared" / "rank_loads*.parquet")
    loads = pl.read_parquet(tmp_path / "shared" / "expert_loads*.parquet")
    keys = ["step", "layer", "expert"]
    added = ranks.group_by(keys).agg(pl.col("tokens").sum()).sort(keys)
    assert added.equals(loads.filter(pl.col("step") % 5 == 0).select(*keys, "tokens").sort(keys))


def test_a_run_stopped_on_one_process_goes_on_on_two(tmp_path: Path) -> None:
    config = get_preset("tiny").with_setting("training.gradient_accumulation_steps", 2)
    polls = iter(range(100))
    stopped = train_run(config, tmp_path, run_id="half", should_stop=lambda: next(polls) >= 10)
    assert stopped.result.state == "stopped"
    whole = train_run(config, tmp_path, run_id="whole")
    done = launch(2, "-m", "explorer", "train", "--resume", str(stopped.path), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    keys = ["step", "layer", "expert", "tokens"]
    resumed, expected = (
        RunFolder(path).read("expert_loads", keys).sort(keys) for path in (stopped.path, whole.path)
    )
    assert resumed["step"].max() == 19
    assert resumed.equals(expected)


def test_a_step_that_cannot_be_shared_writes_nothing(tmp_path: Path) -> None:
    done = launch(2, "-m", "explorer", "train", "--preset", "tiny", "--runs", str(tmp_path))
    assert done.returncode != 0
    assert "training.gradient_accumulation_steps = 1" in done.stderr
    assert list(tmp_path.iterdir()) == []
