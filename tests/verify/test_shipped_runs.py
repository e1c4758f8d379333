"""The runs in data/runs: whole, as documented, and what today's trainer would train."""

from itertools import groupby, product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from explorer.config.run import RunConfig
from explorer.metrics import max_vio_batch, max_vio_global, perplexity
from explorer.recording import RunFolder, list_runs
from explorer.records.records import LoadRecord, MemoryRecorder, StepRecord
from explorer.training import train

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
ARMS = ("none", "aux_loss", "aux_loss:scope=sequence", "loss_free")
LISTINGS = list_runs(RUNS)


def counts(frame: pl.DataFrame, steps: int) -> np.ndarray:
    """[steps, L, E] from rows in any order."""
    ordered = frame.sort("step", "layer", "expert")
    return ordered["tokens"].to_numpy().reshape(steps, ordered["layer"].n_unique(), -1)


def test_every_shipped_run_is_readable_finished_and_small():
    assert len(LISTINGS) == 35
    assert {(listing.problem, listing.status.state) for listing in LISTINGS} == {(None, "finished")}
    size = sum(file.stat().st_size for file in RUNS.rglob("*") if file.is_file())
    assert size <= 25e6
    assert not [file for file in RUNS.rglob("*") if file.suffix in (".pt", ".tmp")]


def test_the_main_comparison_has_four_arms_and_five_seeds_that_are_pairs():
    arms_and_seeds = {(listing.info.balancer, listing.info.seed) for listing in LISTINGS}
    assert set(product(ARMS, range(5))) <= arms_and_seeds
    assert len({listing.info.pair_key for listing in LISTINGS}) == 1


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.run_id)
def test_configuration_counts_and_figures_agree(listing):
    folder = RunFolder(listing.path)
    config = RunConfig.from_dict(folder.info.config)
    assert (config.digest, config.pair_key) == (folder.info.config_digest, folder.info.pair_key)
    steps, results = config.training.num_steps, folder.status.results
    evals = folder.read("evals").filter(pl.col("step") == steps)
    losses = dict(zip(evals["domain"], evals["lm_loss"], strict=True))
    assert perplexity(losses) == pytest.approx(results["perplexity"], rel=1e-12)
    if config.model.routing == "dense":
        assert folder.read("expert_loads").is_empty()
        return
    loads = counts(folder.read("expert_loads"), steps)
    assert set(loads.sum(-1).ravel()) == {config.training.tokens_per_step * config.model.top_k}
    assert max_vio_batch(loads) == pytest.approx(results["max_vio_batch"], rel=1e-12)
    held_out = folder.read("eval_loads").filter(pl.col("step") == steps)
    per_layer = held_out.group_by("layer", "expert").agg(pl.col("tokens").sum(), step=pl.lit(0))
    assert held_out["tokens"].sum() >= 32_000 * config.model.top_k * config.model.num_moe_layers
    assert max_vio_global(counts(per_layer, 1)[0]) == pytest.approx(results["max_vio_global"], rel=1e-12)


def test_arms_of_one_seed_saw_the_same_weights_and_data():
    first = [
        (listing.info.seed, RunFolder(listing.path).read("steps").sort("step")["lm_loss"][0])
        for listing in LISTINGS
        if listing.info.balancer in ARMS
    ]
    for _, group in groupby(sorted(first), key=lambda pair: pair[0]):
        assert len(set(group)) == 1


@pytest.mark.parametrize("balancer", ["none", "loss_free", "aux_loss", "aux_loss-scope-sequence"])
def test_gradients_at_the_routers_are_recorded_every_25_steps(balancer):
    rows = RunFolder(RUNS / f"standard-{balancer}-seed0").read("layer_steps")
    sampled = rows.filter(pl.col("router_grad_norm_lm").is_not_null())
    assert sorted(set(sampled["step"])) == list(range(0, 800, 25))
    assert sampled["router_grad_norm_lm"].min() > 0
    # A bias sends no gradient: that is the difference.
    assert sampled["router_grad_cosine"].count() == (len(sampled) if "aux_loss" in balancer else 0)


def test_the_rule_changes_half_way_and_says_so():
    folder = RunFolder(RUNS / "standard-none-400-loss_free-seed0")
    events = folder.read("events").filter(pl.col("kind") == "balancer_changed")
    assert events["step"].to_list() == [400]
    bias = folder.read("expert_loads").group_by("step").agg(pl.col("expert_bias").null_count()).sort("step")
    assert [count > 0 for count in bias["expert_bias"]] == [True] * 400 + [False] * 400


@pytest.mark.parametrize("balancer", ["loss_free", "aux_loss-scope-sequence"])
def test_todays_trainer_still_trains_the_shipped_run(balancer):
    """The first steps, to rounding: another processor adds floats in another order."""
    shipped = RunFolder(RUNS / f"standard-{balancer}-seed0")
    config = RunConfig.from_dict(shipped.info.config).with_setting("training.eval_tokens", 768)
    config = config.with_setting("training.probe_tokens", 0)
    recorder, steps = MemoryRecorder(), 4
    train(config, recorder, lambda: len(recorder.of(StepRecord)) >= steps)
    losses = [record.lm_loss for record in recorder.of(StepRecord)]
    recorded = shipped.read("steps").sort("step")["lm_loss"].to_list()[:steps]
    assert losses == pytest.approx(recorded, rel=1e-4)
    loads = np.stack([record.tokens_LE for record in recorder.of(LoadRecord)])
    moved = np.abs(loads - counts(shipped.read("expert_loads").filter(pl.col("step") < steps), steps)).sum()
    assert moved / loads.sum() < 0.01
