"""Runs whose tokens do not choose their experts, on every page; a dense one has no loads at all."""

from pathlib import Path

import polars as pl
import pytest
from app_pages import Opener, charts, load_maps, text_tables, words
from sentences import sentence
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.presets import arm_config
from explorer.recording import run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.training import train
from explorer.ui.train import orders as train_orders
from explorer.ui.train import rule_list

ARMS = ("loss_free", "expert_choice:chunk=16", "dense")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trained run an arm."""
    runs = tmp_path_factory.mktemp("routings")
    base = make_tiny_config("none", num_steps=6, sequence_load_interval=2)
    for text in ARMS:
        config = arm_config(base, text, "tiny")
        info = run_info_from_config(config, run_id=config.family, preset="tiny")
        with RunWriter.create(runs, info) as recorder:
            result = train(config, recorder, corpus=make_tiny_corpus())
            recorder.set_results(result.figures)
    return runs


@pytest.mark.parametrize("page", ["overview", "compare", "replay", "train"])
def test_a_page_shows_runs_with_and_without_loads(open_app: Opener, folder: Path, page: str) -> None:
    app = open_app(folder, page, runs=["loss_free", "expert_choice", "dense"])
    assert not app.exception
    assert not app.error
    text = words(app)
    assert sentence("compare.differ_in_more") not in text, "the routing is what is compared"
    if page == "compare":
        assert sentence("compare.no_experts_dense") in text
        assert sentence("compare.later_tokens") in text
        assert charts(app) + len(load_maps(app)) >= 6
        (figures,) = text_tables(app)
        row = figures.row(by_predicate=pl.col("balancing") == sentence("labels.dense"), named=True)
        assert row["MaxVio held-out"] == row["effective experts"] == row["collapsed"] == "–"
        assert float(row["perplexity"]) > 1
    if page == "overview":
        table = app.dataframe[0].value
        assert set(table["balancing"]) == {
            sentence("labels.loss_free_short", rate="0.003"),
            "expert choice 16",
            "dense",
        }
        assert list(table[table["balancing"] == "dense"]["run"]) == ["/compare?runs=dense"]
    if page == "replay":
        assert "dense" not in app.selectbox[0].options


def test_a_link_into_replay_of_a_dense_run_says_that_it_has_no_loads(open_app: Opener, folder: Path) -> None:
    app = open_app(folder, "replay", run="dense")
    assert not app.exception
    assert "has no loads" in words(app)


def test_a_dense_run_alone_is_compared_by_its_perplexity(open_app: Opener, folder: Path) -> None:
    app = open_app(folder, "compare", runs=["dense"])
    assert not app.exception
    assert sentence("compare.no_experts") in words(app)
    assert any("erplexity" in chart.proto.alt for chart in app.get("vega_lite_chart"))


def test_the_train_page_takes_routings_as_arms() -> None:
    settings = make_tiny_config("none").to_dict()
    configs = train_orders.make_configs(
        "tiny", settings, ["loss_free", "expert_choice:chunk=8", "dense"], "0,1"
    )
    assert [(c.arm, c.seed) for c in configs[:3]] == [
        ("loss_free", 0), ("expert_choice:chunk=8", 0), ("dense", 0),
    ]  # fmt: skip
    assert len({c.pair_key for c in configs}) == 1
    assert {"expert_choice", "expert_threshold", "hash", "random", "dense"} <= set(rule_list.COMMON)
