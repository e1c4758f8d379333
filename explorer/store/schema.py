"""The tables of the index: those of `records.tables`, the list of runs, and the tables derived at ingest.

Internally a run is identified by a small integer (`run_key`): DuckDB skips row groups by the minimum and
maximum of a column, and run ids that share their first eight letters would defeat that. The physical
tables are in the schema `raw`; a view of the same name in `main` shows `run_id` instead, and the filter
on `run_id` still reaches the row groups through the join. Every query is written for the views; one
about a single run is run on the rows of that run (`store/snapshot.py`), since the join takes longer to plan
than most results to read.

There are no migrations: an index whose `schema_version()` differs is rebuilt from the run folders.
"""

import hashlib
from collections.abc import Iterable

from explorer.health.finding import TITLES
from explorer.records.tables import LAYER, RUN_ID, STEP, TABLES, Column
from explorer.store.episodes import EPISODES
from explorer.store.pyramids import PYRAMIDS

ORDINAL = Column("ordinal", "INTEGER", "rank of the step among those recorded in this table, from 0")

RUNS: tuple[Column, ...] = (
    RUN_ID,
    Column("path", "VARCHAR", "the run folder"),
    Column("dir_kind", "VARCHAR", "shipped (read-only, comes with the project) or own"),
    Column("name", "VARCHAR", "display name"),
    Column("created_at", "VARCHAR", "ISO 8601, UTC"),
    Column("source", "VARCHAR", "trained, or imported:<format>"),
    Column("preset", "VARCHAR", "name of the preset, or NULL"),
    Column("state", "VARCHAR", "running, finished, stopped, interrupted, failed or unreadable"),
    Column("seed", "BIGINT", "seed of weights and data order, or NULL"),
    Column("balancer", "VARCHAR", "text form of the rules"),
    Column("balancer_label", "VARCHAR", "legend label"),
    Column("balancer_family", "VARCHAR", "family of the rules now, e.g. aux_loss, or the routing's name"),
    Column(
        "count_scope", "VARCHAR", "tokens counted over: sequence, micro_batch, global_batch, chunk … or none"
    ),
    Column("config", "JSON", "the whole configuration"),
    Column("pair_key", "VARCHAR", "runs with equal keys differ in arm and seed only; NULL if unknown"),
    Column("config_digest", "VARCHAR", "digest of the configuration"),
    Column("versions", "JSON", "Python and package versions"),
    Column("device", "VARCHAR", "device name"),
    Column("corpus_digest", "VARCHAR", "digest of the text"),
    Column("num_moe_layers", "INTEGER", "MoE layers (L)"),
    Column("num_experts", "INTEGER", "routed experts per layer, or of the widest (E)"),
    Column("layers", "INTEGER[]", "the model's own layer numbers, ascending; NULL: 0 to L - 1"),
    Column("experts_per_layer", "INTEGER[]", "routed experts of each layer where they differ; NULL: E"),
    Column("top_k", "INTEGER", "experts per token (K)"),
    Column("unit", "VARCHAR", "what the loads count: assignments, or as an import says; NULL if unknown"),
    Column("scope", "VARCHAR", "where they are counted: global, rank or physical; NULL if unknown"),
    Column("phase", "VARCHAR", "training, prefill, decode, serving, … or unknown; NULL if unknown"),
    Column("tokens_per_step", "BIGINT", "tokens, not assignments, in one optimizer step"),
    Column("num_steps", "BIGINT", "planned optimizer steps"),
    Column("last_step", "BIGINT", "last step on disk, -1 before the first"),
    Column("generation", "BIGINT", "generation of the manifest, 0 without one"),
    Column("heartbeat", "DOUBLE", "seconds since the epoch of the last sign of life"),
    Column("wall_time_s", "DOUBLE", "seconds of training"),
    Column("tokens_per_second", "DOUBLE", "training throughput"),
    Column("problem", "VARCHAR", "why the run cannot be read; NULL when it can"),
    Column("message", "VARCHAR", "the run's own last message"),
)

DERIVED: dict[str, tuple[Column, ...]] = {
    "layer_metrics": (
        RUN_ID,
        STEP,
        ORDINAL,
        LAYER,
        Column("tokens", "BIGINT", "assignments of all experts"),
        Column("max_tokens", "BIGINT", "assignments of the busiest expert"),
        Column("min_tokens", "BIGINT", "assignments of the idlest expert"),
        Column("dropped_tokens", "BIGINT", "assignments beyond capacity, of all experts"),
        Column("max_vio", "DOUBLE", "max / mean - 1; NULL where nothing was routed"),
        Column("effective_experts", "DOUBLE", "exp of the load entropy; NULL where nothing was routed"),
        Column("coefficient_of_variation", "DOUBLE", "deviation / mean; NULL where nothing was routed"),
        Column("total_variation", "DOUBLE", "half sum of |f - 1/E|; NULL where nothing was routed"),
        Column("idle_experts", "INTEGER", "experts without a token"),
        Column("bias_spread", "DOUBLE", "largest minus smallest bias; NULL without a bias"),
        Column("max_vio_mean100", "DOUBLE", "mean of max_vio over the last 100 samples (fewer at the start)"),
        Column("low_streak", "INTEGER", "samples in a row, this one included, with effective experts <= E/2"),
    ),
    "layer_summary": (
        RUN_ID,
        LAYER,
        Column("samples", "BIGINT", "final samples averaged: 100, or the last quarter of fewer than 400"),
        Column("max_vio_batch", "DOUBLE", "mean of max_vio over them; NULL if one of them is NULL"),
        Column("effective_experts", "DOUBLE", "mean of effective_experts over them"),
        Column("idle_experts", "DOUBLE", "mean of idle_experts over them"),
        Column("collapsed", "BOOLEAN", "whether low_streak ever reached 100"),
        Column("max_vio_global", "DOUBLE", "max_vio of the last held-out counts, domains summed"),
    ),
    "episodes": EPISODES,
}

DERIVED |= {pyramid.table: pyramid.columns for pyramid in PYRAMIDS}

INTERNAL: dict[str, tuple[Column, ...]] = {
    "diagnoses": (
        RUN_ID,
        Column("findings", "VARCHAR", "JSON list of what is wrong with the router; no row: not yet computed"),
    ),
    "ingested_parts": (
        RUN_ID,
        Column("table_name", "VARCHAR", "table that the part belongs to", key=True),
        Column("part", "VARCHAR", "file name", key=True),
        Column("attempt", "INTEGER", "attempt that wrote it"),
        Column("first_step", "BIGINT", "first step it may hold; NULL if compacted"),
        Column("last_step", "BIGINT", "last step it may hold; NULL if compacted"),
        Column("below", "BIGINT", "only rows of earlier steps count; NULL: all do"),
    ),
    "progress": (
        RUN_ID,
        Column("table_name", "VARCHAR", "expert_loads or steps", key=True),
        Column("samples", "BIGINT", "recorded steps so far"),
        Column("rolled", "BIGINT", "samples that the roll-ups cover; later ones are read from the table"),
        Column("clustered", "BIGINT", "samples whose rows lie sorted by layer"),
        Column("last_step", "BIGINT", "last recorded step"),
    ),
}

WITH_ORDINAL = ("expert_loads", "steps")
"""Tables whose samples are numbered, because roll-ups are built from them."""


def index_columns(table: str) -> tuple[Column, ...]:
    """Columns of a table of the index, `run_id` first."""
    if table in TABLES:
        columns = TABLES[table]
        return (*columns, ORDINAL) if table in WITH_ORDINAL else columns
    return {**DERIVED, **INTERNAL, "runs": RUNS}[table]


def data_tables() -> list[str]:
    """Every table with rows of runs, except for the list of runs itself."""
    return [*TABLES, *DERIVED, *INTERNAL]


def statements() -> list[str]:
    """The SQL that creates an empty index."""
    result = [
        "CREATE SCHEMA raw",
        f"CREATE TABLE raw.runs (run_key INTEGER, fingerprint VARCHAR, {_columns(RUNS)})",
    ]
    names = ", ".join(c.name for c in RUNS)
    result.append(f"CREATE VIEW runs AS SELECT {names} FROM raw.runs")
    for table in data_tables():
        columns = index_columns(table)[1:]
        result.append(f"CREATE TABLE raw.{table} (run_key INTEGER, {_columns(columns)})")
        select_list = ", ".join(f"t.{c.name}" for c in columns)
        result.append(
            f"CREATE VIEW {table} AS SELECT r.run_id, {select_list} "
            f"FROM raw.{table} t JOIN raw.runs r USING (run_key)"
        )
    return result


def schema_version() -> str:
    """Digest that differs, and so rebuilds older indexes, after a change of a table or a new kind of finding.

    The findings of large runs are stored.
    """
    return hashlib.sha256("\n".join([*statements(), *TITLES]).encode()).hexdigest()[:16]


def _columns(columns: Iterable[Column]) -> str:
    return ", ".join(f"{c.name} {c.sql_type}" for c in columns)
