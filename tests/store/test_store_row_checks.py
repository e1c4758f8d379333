"""Rows that break a rule are refused with file, value and rule; they are never changed or doubled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sentences import pattern, sentence
from store_runs import make_info, random_counts, record_final, record_steps, sequence_record

from explorer.errors import UnreadableRunError
from explorer.recording import RunFolder
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LayerRecord, ProbeRecord, RankLoadRecord
from explorer.store import Index, row_checks

S, L, E, K = 4, 2, 4, 2
TABLES = (
    "steps",
    "expert_loads",
    "layer_steps",
    "sequence_loads",
    "rank_loads",
    "evals",
    "eval_loads",
    "probe_scores",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a row in every table, compacted."""
    recorder = RunWriter.create(tmp_path_factory.mktemp("runs"), make_info(num_steps=S))
    record_steps(recorder, random_counts(S, L, E), range(S))
    recorder.record(sequence_record(S, 0, random_counts(2, L, E)))
    recorder.record(RankLoadRecord(step=S, tokens_RLE=random_counts(2, L, E)))
    recorder.record(LayerRecord(step=S, num_layers=L, switched_slots_L=np.ones(L, dtype=np.int64)))
    logits = np.zeros((3, L, E))
    recorder.record(
        ProbeRecord(step=S, router_logits_PLE=logits, selected_experts_PLK=np.tile([0, 3], (3, L, 1)))
    )
    record_final(recorder, L, E, S)
    recorder.finish("finished")
    return recorder.path


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(template, tmp_path / "runs" / "run")


def rewrite(run: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = run / f"{table}-g1.parquet"
    change(pl.read_parquet(path)).write_parquet(path)


def problem(run: Path) -> str:
    """Why the index refuses the run; nothing of it may be in there then."""
    with Index.open(run.parent.parent / "index.duckdb") as index:
        message = index.ingest([run.parent]).problems.get("run", "")
        with index.cursor() as cur:
            rows = sum(cur.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    assert (rows == 0) is bool(message)
    return message


def first_row(column: str, value: object, dtype: type[pl.DataType] | None = None) -> pl.Expr:
    """The column with `value` in its first row."""
    values = (
        pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.lit(value, dtype=dtype))
        .otherwise(pl.col(column).cast(dtype) if dtype else pl.col(column))
    )
    return values.alias(column)


@pytest.mark.parametrize("table", TABLES)
def test_two_rows_of_one_key_are_named(run: Path, table: str) -> None:
    rewrite(run, table, lambda f: pl.concat([f, f.tail(1)]))
    message = problem(run)
    assert f"runs/run: {table} " + sentence("store.rows_of_step", rows=2) + " " in message
    assert "must hold one" in message


def test_two_rows_of_one_key_in_two_parts_are_named(run: Path, tmp_path: Path) -> None:
    recorder = RunWriter.resume(run, S)
    record_steps(recorder, random_counts(2, L, E), range(S, S + 2))
    recorder.flush()
    other = RunFolder(run).parts("expert_loads")[-1].path
    other.with_name(f"expert_loads-1-{S + 1}-{S + 2}.parquet").write_bytes(other.read_bytes())
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"committed_step": S + 2}))
    rewrite_part = pl.read_parquet(other).filter(pl.col("step") == S + 1)
    rewrite_part.write_parquet(other.with_name(f"expert_loads-1-{S + 1}-{S + 2}.parquet"))
    assert "expert_loads " + sentence(
        "store.rows_of_expert", rows=2, step=S + 1, layer=0, expert=0
    ) in problem(run)


def test_many_experts_are_counted_by_their_whole_key(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "MAX_BITS", 1)
    rewrite(run, "expert_loads", lambda f: pl.concat([f, f.tail(1)]))
    assert sentence("store.rows_of_expert", rows=2, step=S - 1, layer=L - 1, expert=E - 1) in problem(run)


@pytest.mark.parametrize(
    ("table", "column", "rule"),
    [
        ("steps", first_row("step", None), "step is NULL"),
        ("steps", first_row("step", -1), "step = -1: " + sentence("errors.between", low=0, high=4)),
        (
            "steps",
            first_row("step", 10**12),
            f"step = {10**12}: " + sentence("errors.between", low=0, high=4),
        ),
        ("steps", first_row("step", 2**64 - 1, pl.UInt64), f"step = {2**64 - 1}: must lie"),
        ("steps", pl.col("step") + 0.5, "step " + sentence("store.type_of", kind="DOUBLE", right="BIGINT")),
        (
            "steps",
            first_row("tokens_seen", -5),
            "tokens_seen = -5 " + sentence("store.at_step_must_lie", step=0),
        ),
        (
            "steps",
            pl.col("lm_loss").cast(pl.String),
            "lm_loss " + sentence("store.type_of", kind="VARCHAR", right="DOUBLE"),
        ),
        (
            "expert_loads",
            first_row("tokens", -1),
            "tokens = -1 " + sentence("store.at_step_must_lie", step=0),
        ),
        ("expert_loads", first_row("tokens", None), "tokens " + sentence("store.not_null") + " 0"),
        (
            "expert_loads",
            first_row("tokens", 2**63, pl.UInt64),
            f"tokens = {2**63} " + sentence("store.at_step_must_lie", step=0),
        ),
        (
            "expert_loads",
            pl.col("tokens") * 1.0,
            "tokens " + sentence("store.type_of", kind="DOUBLE", right="BIGINT"),
        ),
        (
            "expert_loads",
            pl.lit(float("nan")).alias("tokens"),
            "tokens " + sentence("store.type_found") + " DOUBLE",
        ),
        (
            "expert_loads",
            first_row("expert", E),
            f"expert = {E} " + sentence("store.at_step_between", step=0, low=0, high=E - 1),
        ),
        (
            "expert_loads",
            first_row("layer", L),
            f"layer = {L} " + sentence("store.at_step_between", step=0, low=0, high=L - 1),
        ),
        ("eval_loads", first_row("layer", -1), "layer = -1 at step 4"),
        ("sequence_loads", first_row("expert", 99), "expert = 99 at step 4"),
        ("evals", first_row("domain", None), "domain is NULL"),
        ("evals", first_row("num_tokens", -1), "num_tokens = -1"),
        ("layer_steps", first_row("layer", 7), "layer = 7"),
        ("probe_scores", pl.lit([0.0] * 9).alias("router_logits"), sentence("store.logit_per_expert")),
        ("probe_scores", pl.lit([4]).alias("selected_experts"), "chooses experts 4 to 4"),
        ("probe_scores", pl.lit([-1]).alias("selected_experts"), "chooses experts -1 to -1"),
        (
            "probe_scores",
            pl.lit("x").alias("router_logits"),
            "router_logits " + sentence("store.type_found") + " VARCHAR",
        ),
        (
            "probe_scores",
            pl.lit([0.5]).alias("selected_experts"),
            "selected_experts " + sentence("store.type_found") + " DOUBLE[]",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(run: Path, table: str, column: pl.Expr, rule: str) -> None:
    rewrite(run, table, lambda f: f.with_columns(column))
    message = problem(run)
    assert message.startswith(f"{run}/{table}-g1.parquet: ")
    assert rule in message
    assert message.endswith(sentence("errors.restore_from_copy"))


@pytest.mark.parametrize("column", ["step", "layer", "expert", "tokens"])
def test_a_required_column_that_is_left_out_is_named(run: Path, column: str) -> None:
    rewrite(run, "expert_loads", lambda f: f.drop(column))
    assert "expert_loads-g1.parquet: " + sentence("store.lacks_column", column=column) in problem(run)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        (
            "num_experts",
            E + 1,
            f"num_experts = {E + 1}: must be {E}: expert_loads-g1.parquet " + sentence("store.holds_experts"),
        ),
        ("num_experts", 2**20, f"must be {E}"),
        (
            "num_experts",
            E - 1,
            f"expert = {E - 1} " + sentence("store.at_step_between", step=0, low=0, high=E - 2),
        ),
        ("num_moe_layers", L + 1, f"must be {L}"),
        ("num_moe_layers", L - 1, f"layer = {L - 1}"),
        ("num_moe_layers", 0, "layer = 0 at step 0"),
    ],
)
def test_sizes_agree_with_the_rows(run: Path, field: str, value: int, rule: str) -> None:
    file = run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    assert rule in problem(run)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("expert_loads", pl.col("tokens", "layer", "expert", "step").cast(pl.UInt8)),
        ("expert_loads", pl.col("expert_bias").cast(pl.Float64)),
        ("expert_loads", pl.lit(None, pl.String).alias("mean_score")),
        ("steps", pl.lit(1).alias("grad_norm")),
        ("steps", pl.lit("x").alias("a column of somebody")),
        ("evals", pl.col("domain").cast(pl.Categorical)),
        ("evals", pl.lit("x").alias("source_file")),
    ],
)
def test_other_types_that_hold_the_same_values_are_read(run: Path, table: str, column: pl.Expr) -> None:
    rewrite(run, table, lambda f: f.with_columns(column))
    assert problem(run) == ""
    assert RunFolder(run).read(table).height > 0


@pytest.mark.parametrize(
    "column",
    [
        pl.col("tokens") + 0.5,
        pl.col("tokens").cast(pl.String),
        first_row("tokens", -1),
        first_row("tokens", None),
        first_row("step", None),
        first_row("expert", 2**40),
    ],
)
def test_a_folder_reads_no_other_value_either(run: Path, column: pl.Expr) -> None:
    rewrite(run, "expert_loads", lambda f: f.with_columns(column))
    with pytest.raises(
        UnreadableRunError, match=r"expert_loads-g1\.parquet " + pattern("errors.damaged") + r" \("
    ):
        RunFolder(run).read("expert_loads")
