"""Small frames with the columns that the queries return, for the tests of figures and captions."""

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.records.matrix import LoadMatrix

REFERENCES = {"uniform": (0.05, 0.06), "resampled": (0.10, 0.13)}


def load_matrix(
    tokens: NDArray[np.int64],
    bias: NDArray[np.float32] | None = None,
    *,
    first: int = 0,
    each: int = 1,
) -> LoadMatrix:
    """Tokens [S, E] from step `first` on, `each` steps per column."""
    steps = np.arange(first, first + each * len(tokens), each)
    return LoadMatrix(steps=steps, last_steps=steps + each - 1, tokens=tokens, bias=bias)


def heat_frame(bins: int = 6, experts: int = 4, stride: int = 1, each: int = 1) -> pl.DataFrame:
    """Expert 0 takes every token of its neighbour, expert 1 is dead, the others carry the uniform load."""
    ratios = [2.0, 0.0] + [1.0] * (experts - 2)
    rows = []
    for b in range(bins):
        first = b * stride * each
        for e, ratio in enumerate(ratios):
            tokens = round(100 * ratio)
            rows.append((b, first, first + (each - 1) * stride, e, ratio, ratio, ratio, tokens, tokens == 0))
    names = [
        "bin",
        "first_step",
        "last_step",
        "expert",
        "load_ratio",
        "min_ratio",
        "max_ratio",
        "tokens",
        "is_dead",
    ]
    schema = {n: pl.Float64 if "ratio" in n else pl.Int64 for n in names} | {"is_dead": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def loads_frame(ratios: list[float], step: int = 7) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "expert": list(range(len(ratios))),
            "tokens": [round(100 * r) for r in ratios],
            "load_ratio": ratios,
            "expert_bias": pl.Series([None] * len(ratios), dtype=pl.Float32),
            "mean_score": [0.5] * len(ratios),
            "mean_normalised_score": [0.25] * len(ratios),
            "step": [step] * len(ratios),
        }
    )


def bias_frame(last: dict[int, float], bins: int = 5) -> pl.DataFrame:
    """Straight lines from 0 to the given values."""
    rows = []
    for expert, end in last.items():
        for b in range(bins):
            value = end * b / (bins - 1)
            rows.append((b, 10 * b, 10 * b + 9, expert, value, value, value, value))
    names = ["bin", "first_step", "last_step", "expert", "bias_mean", "bias_min", "bias_max", "bias_last"]
    schema = {n: pl.Float64 if n.startswith("bias") else pl.Int64 for n in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def vio_frame(ends: dict[str, float], bins: int = 5) -> pl.DataFrame:
    """MaxVio that falls linearly from 4 to the given end."""
    rows = []
    for run_id, end in ends.items():
        for b in range(bins):
            value = 4 + (end - 4) * b / (bins - 1)
            rows.append(
                (run_id, b, 10 * b, 10 * b + 9, float(10 * b + 9), value, value * 0.9, value * 1.1, value, 10)
            )
    names = ["run_id", "bin", "first_step", "last_step", "x", "max_vio", "max_vio_min", "max_vio_max",
             "max_vio_mean100", "samples"]  # fmt: skip
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.Float64)
    schema |= {"run_id": pl.String, "bin": pl.Int64, "first_step": pl.Int64, "last_step": pl.Int64}
    return pl.DataFrame(rows, schema=schema | {"samples": pl.Int64}, orient="row")


def loss_frame(ends: dict[str, float], bins: int = 5) -> pl.DataFrame:
    rows = []
    for run_id, end in ends.items():
        for b in range(bins):
            value = 6 + (end - 6) * b / (bins - 1)
            rows.append(
                (run_id, b, 10 * b, 10 * b + 9, float(10 * b + 9), value, value, value, math.exp(value))
            )
    names = [
        "run_id",
        "bin",
        "first_step",
        "last_step",
        "x",
        "lm_loss",
        "lm_loss_min",
        "lm_loss_max",
        "perplexity",
    ]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.Float64)
    schema |= {"run_id": pl.String, "bin": pl.Int64, "first_step": pl.Int64, "last_step": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


EVAL_COLUMNS = ("run_id", "step", "x", "domain", "lm_loss", "perplexity", "bits_per_byte")


def eval_frame(ends: dict[str, float]) -> pl.DataFrame:
    rows = [
        (run_id, step, float(step), domain, loss, math.exp(loss), None)
        for run_id, end in ends.items()
        for step, loss in ((0, 6.0), (50, end))
        for domain in ("all", "code")
    ]
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(EVAL_COLUMNS, pl.Float64)
    schema |= {"run_id": pl.String, "step": pl.Int64, "domain": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def summary_frame(rows: list[tuple[str, str, int, float | None, float | None]]) -> pl.DataFrame:
    """(balancer, count scope, seed, perplexity, max_vio_global) -> columns of `queries.summary`."""
    from explorer.config.rule_text import family, label_rules, parse_rules

    return pl.DataFrame(
        [
            {
                "run_id": f"run-{i}",
                "name": balancer,
                "balancer": balancer,
                "balancer_label": label_rules(parse_rules(balancer)),
                "balancer_family": family(parse_rules(balancer)),
                "count_scope": scope,
                "seed": seed,
                "pair_key": "same",
                "perplexity": perplexity,
                "max_vio_global": max_vio,
            }
            for i, (balancer, scope, seed, perplexity, max_vio) in enumerate(rows)
        ],
        schema_overrides={"perplexity": pl.Float64, "max_vio_global": pl.Float64, "seed": pl.Int64},
    )


SWEEP = [
    ("none", "none", 0, 12.4, 3.1),
    ("none", "none", 1, 12.5, 3.0),
    ("loss_free", "global_batch", 0, 12.0, 0.15),
    ("loss_free", "global_batch", 1, 12.1, 0.14),
    ("loss_free", "global_batch", 2, 12.2, 0.16),
    ("aux_loss:scope=sequence,coeff=0.1", "sequence", 0, 13.0, 0.2),
    ("aux_loss:scope=sequence,coeff=0.001", "sequence", 0, 12.2, 0.9),
    ("aux_loss:scope=sequence,coeff=0.01", "sequence", 0, 12.3, 0.4),
]


def domain_frame() -> pl.DataFrame:
    rows = [("code", 0, 150, 1.5), ("code", 1, 50, 0.5), ("prose", 0, 0, 0.0), ("prose", 1, 200, 2.0)]
    schema = {"domain": pl.String, "expert": pl.Int64, "tokens": pl.Int64, "load_ratio": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _difference(
    arm: str, mean: float, half: float | None, values: list[float], **more: object
) -> dict[str, object]:
    resolved = half is not None and abs(mean) > half
    return {"metric": "perplexity", "arm": arm, "mean": mean, "half_width": half, "resolved": resolved,
            "values": values, **more}  # fmt: skip


DIFFERENCES = [
    _difference("loss-free", -0.3, 0.1, [-0.25, -0.35], family="loss_free"),
    _difference("auxiliary loss", -0.05, 0.2, [0.04, -0.14], family="aux_loss"),
    _difference("loss-free", -2.0, None, [-2.0], metric="MaxVio"),
]


COMPARISONS = [
    {
        "words": "held-out loss (nats), loss-free − aux",
        "mean": -0.02,
        "low": -0.03,
        "high": -0.01,
        "values": {0: -0.02, 1: -0.03, 2: -0.01},
        "published": -0.0063,
        "region_low": float("-inf"),
        "region_high": 0.0,
        "never": False,
        "verdict": "supported",
        "reading": "supported",
    },
    {
        "words": "counter-examples",
        "mean": 0.0,
        "low": 0.0,
        "high": 0.0,
        "values": {0: 0.0, 1: 0.0},
        "published": None,
        "region_low": float("-inf"),
        "region_high": float("inf"),
        "never": True,
        "verdict": "supported",
        "reading": "supported",
    },
]
VERDICTS = pl.DataFrame(
    {
        "id": ["A1", "B1"],
        "name": ["first", "a second claim with two lines"],
        "verdict": ["supported", "contradicted"],
        "claim": ["one", "two"],
        "effect": ["−0.02 ± 0.01", "–"],
    }
)
