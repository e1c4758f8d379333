"""The columns of every query: charts and exports rely on these names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from store_runs import write_run

from explorer.errors import ConfigError
from explorer.queries import balance, biases, comparison, domains, events, loads, losses, runs, steps
from explorer.records.tables import TABLES
from explorer.store import Index
from explorer.store.schema import RUNS

Query = Callable[[Any, str], pl.DataFrame]
BIN = ["bin", "first_step", "last_step"]
QUERIES: dict[str, tuple[Query, list[str]]] = {
    "load_heatmap": (
        lambda cur, run: loads.load_heatmap(cur, run, 0),
        [*BIN, "expert", "load_ratio", "min_ratio", "max_ratio", "tokens", "is_dead"],
    ),
    "loads_at": (
        lambda cur, run: loads.loads_at(cur, run, 0, 7),
        ["expert", "tokens", "load_ratio", "expert_bias", "mean_score", "mean_normalised_score", "step"],
    ),
    "bias_trajectories": (
        lambda cur, run: biases.bias_trajectories(cur, run, 1),
        [*BIN, "expert", "bias_mean", "bias_min", "bias_max", "bias_last", "bias_not_finite"],
    ),
    "max_vio_series": (
        lambda cur, run: balance.max_vio_series(cur, [run], x="tokens"),
        [
            *("run_id", *BIN, "x", "max_vio", "max_vio_min", "max_vio_max"),
            *("max_vio_mean100", "tokens", "samples"),
        ],
    ),
    "uniform_series": (
        lambda cur, run: balance.uniform_series(cur, run, x="tokens"),
        [*BIN, "x", "tokens", "uniform_mean", "uniform_p95"],
    ),
    "layer_balance": (
        lambda cur, run: balance.layer_balance(cur, [run]),
        [
            "run_id",
            "layer",
            "max_vio_batch",
            "max_vio_global",
            "effective_experts",
            "idle_experts",
            "collapsed",
        ],
    ),
    "loss_series": (
        lambda cur, run: losses.loss_series(cur, [run], x="time"),
        [
            "run_id",
            *BIN,
            "x",
            "lm_loss",
            "lm_loss_min",
            "lm_loss_max",
            "perplexity",
            "perplexity_min",
            "perplexity_max",
            "aux_loss",
            "samples",
            "lm_loss_not_finite",
            "not_finite_from",
        ],
    ),
    "eval_series": (
        lambda cur, run: losses.eval_series(cur, [run]),
        ["run_id", "step", "x", "domain", "lm_loss", "perplexity", "bits_per_byte"],
    ),
    "summary": (
        lambda cur, run: comparison.summary(cur, [run]),
        [
            *("run_id", "name", "balancer", "balancer_label", "balancer_family", "count_scope", "seed"),
            *("pair_key", "preset", "state", "perplexity", "lm_loss", "bits_per_byte", "max_vio_batch"),
            *("max_vio_global", "worst_layer", "worst_max_vio", "effective_experts", "tokens_per_second"),
            *("wall_time_s", "last_step", "num_steps"),
        ],
    ),
    "domain_expert": (
        lambda cur, run: domains.domain_expert(cur, run, 0),
        ["domain", "expert", "tokens", "load_ratio"],
    ),
    "events": (events.events, ["step", "layer", "expert", "kind", "detail", "source"]),
    "event_counts": (
        lambda cur, run: events.event_counts(cur, [run]),
        ["run_id", "kind", "events", "layers", "first_step", "last_step", "source"],
    ),
    "step_row": (
        lambda cur, run: steps.step_row(cur, run, 3),
        [*(column.name for column in TABLES["steps"]), "ordinal"],
    ),
}


@pytest.fixture(scope="module")
def cur(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("columns")
    write_run(folder / "runs")
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder / "runs"])
        with index.cursor() as cursor:
            yield cursor


@pytest.mark.parametrize("name", QUERIES)
def test_a_recorded_run_gives_the_promised_columns(cur: Any, name: str) -> None:
    query, columns = QUERIES[name]
    frame = query(cur, "run")
    assert frame.columns == columns
    assert frame.height > 0


@pytest.mark.parametrize("name", QUERIES)
def test_an_unknown_run_gives_the_same_columns_without_rows(cur: Any, name: str) -> None:
    query, _ = QUERIES[name]
    unknown = query(cur, "nobody")
    assert unknown.schema == query(cur, "run").schema
    assert unknown.height == 0


@pytest.mark.parametrize(
    "query",
    [balance.max_vio_series, losses.loss_series, losses.eval_series, balance.layer_balance],
    ids=lambda query: query.__name__,
)
def test_no_runs_at_all_give_the_same_columns(cur: Any, query: Any) -> None:
    assert query(cur, []).schema == query(cur, ["run"]).schema
    assert query(cur, []).height == 0


@pytest.mark.parametrize("query", [balance.max_vio_series, losses.loss_series, losses.eval_series])
def test_an_unknown_axis_is_refused(cur: Any, query: Any) -> None:
    with pytest.raises(ConfigError, match="step, tokens, time"):
        query(cur, ["run"], x="epochs")


def test_runs_list_every_column_and_their_age(cur: Any) -> None:
    frame = runs.list_runs(cur)
    assert frame.columns == [*(column.name for column in RUNS), "age_s"]
    assert 0 <= frame["age_s"][0] < 600


def test_quotes_in_a_run_id_are_data(cur: Any) -> None:
    assert loads.load_heatmap(cur, "run' OR '1'='1", 0).height == 0
