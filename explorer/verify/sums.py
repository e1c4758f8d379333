"""Sums: compare assignments with K × tokens, and every finer table with the loads of its steps."""

import polars as pl

from explorer.config.model import ModelConfig
from explorer.verify.data import RunData
from explorer.verify.findings import Check, Findings, at, first_row

CELL = ["step", "layer", "expert"]
FIXED_ROUTINGS = ("token_choice", "hash", "random")
"""Routings in which every token gets the same number of experts."""


def assignments_per_token(model: ModelConfig, *, evaluation: bool = False) -> int | None:
    """K if the routing gives every token exactly K experts, else None. Includes dropped assignments."""
    if model.routing not in FIXED_ROUTINGS:
        return None
    if evaluation and model.eval_top_k is not None:
        return model.eval_top_k
    is_random = model.random_second and not evaluation
    return None if model.top_p is not None or is_random else model.top_k


def check_sums(run: RunData) -> Check:
    """Every sum that is determined by the run's description or another of its tables."""
    findings = Findings("sums")
    loads = run.frame("expert_loads")
    _check_counts(findings, run)
    _check_totals(findings, run)
    for table, keys in (("sequence_loads", ["split"]), ("rank_loads", [])):
        rows = run.frame(table)
        train = rows.filter(pl.col("split") == "train") if keys else rows
        _check_parts(findings, train, loads.select(*CELL, "tokens"), CELL, table, "expert_loads")
    held_out = run.frame("sequence_loads").filter(pl.col("split") == "held_out")
    by_domain = [*CELL, "domain"]
    evaluated = run.frame("eval_loads").filter(pl.col("split") == "held_out").select(*by_domain, "tokens")
    _check_parts(findings, held_out, evaluated, by_domain, "sequence_loads", "eval_loads")
    _check_evaluations(findings, run)
    for sentence in run.unreadable.values():
        findings.skip(sentence)
    return findings.check()


def _check_counts(findings: Findings, run: RunData) -> None:
    """No count is negative, and no expert drops more assignments than it has."""
    for table in ("expert_loads", "eval_loads", "sequence_loads", "rank_loads"):
        rows = run.frame(table)
        wrong = rows.filter(pl.col("tokens").is_null() | (pl.col("tokens") < 0))
        if wrong.height:
            row = first_row(wrong)
            findings.differ(
                at(row, table, column="tokens", recorded=row["tokens"], expected="0 or more"), wrong.height
            )
    loads = run.frame("expert_loads")
    dropped = loads.filter((pl.col("dropped_tokens") < 0) | (pl.col("dropped_tokens") > pl.col("tokens")))
    if dropped.height:
        row = first_row(dropped)
        expected = f"between 0 and {row['tokens']}"
        findings.differ(
            at(
                row,
                "expert_loads",
                column="dropped_tokens",
                recorded=row["dropped_tokens"],
                expected=expected,
            ),
            dropped.height,
        )


def _check_totals(findings: Findings, run: RunData) -> None:
    """Per step and layer, K × the tokens of the step; the same in every layer."""
    per_token = assignments_per_token(run.config.model) if run.config else None
    if per_token is None:
        if run.info.num_moe_layers:
            findings.skip("The configuration does not fix the number of assignments per token.")
        return
    tokens = run.frame("steps").sort("step").select("step", tokens=_tokens_of_step(run.info.tokens_per_step))
    totals = run.frame("expert_loads").group_by("step", "layer").agg(total=pl.col("tokens").sum())
    sums = totals.join(tokens, on="step").with_columns(expected=pl.col("tokens") * per_token)
    note = f"{per_token} × the tokens of the step"
    findings.compare(sums, "expert_loads", "assignments of the layer:", "total", "expected", note)


def _tokens_of_step(otherwise: int) -> pl.Expr:
    """From the running total; after a gap, from the run's description."""
    seen, before = pl.col("tokens_seen"), pl.col("tokens_seen").shift(1).fill_null(0)
    follows = pl.col("step") == pl.col("step").shift(1).fill_null(-1) + 1
    return pl.when(follows).then(seen - before).otherwise(otherwise)


def _check_parts(
    findings: Findings, parts: pl.DataFrame, whole: pl.DataFrame, keys: list[str], table: str, of: str
) -> None:
    """The rows of a finer table add up to the rows of another one, in the steps that it has."""
    sums = parts.group_by(keys).agg(total=pl.col("tokens").sum())
    note = f"tokens in {of}"
    findings.compare(sums.join(whole, on=keys), table, "sum of tokens:", "total", "tokens", note)


def _check_evaluations(findings: Findings, run: RunData) -> None:
    """Per domain and layer, K × the tokens over which the loss was computed."""
    per_token = assignments_per_token(run.config.model, evaluation=True) if run.config else None
    if per_token is None:
        return
    keys = ["step", "split", "domain"]
    totals = run.frame("eval_loads").group_by(*keys, "layer").agg(total=pl.col("tokens").sum())
    sums = totals.join(run.frame("evals").select(*keys, "num_tokens"), on=keys)
    sums = sums.with_columns(expected=pl.col("num_tokens") * per_token)
    note = f"{per_token} × num_tokens in evals"
    findings.compare(sums, "eval_loads", "assignments of the layer:", "total", "expected", note)
