"""One step of the bias rule, in integers, and whether the recorded bias moved as it says."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from explorer import balancing
from explorer.config import BalancerConfig
from explorer.errors import ConfigError
from explorer.queries import asked
from explorer.rules import LossFree
from explorer.ui import cached
from explorer.ui.arms import Run


@dataclass(frozen=True, kw_only=True)
class BiasMove:
    """What the update after one step did in one layer."""

    step: int
    rate: float
    """u of this update, in score units."""
    table: pl.DataFrame
    """expert, tokens, load_ratio, mean, error (mean − tokens), sign, before, after (computed), recorded (the
    bias that the next step used; NULL where none was recorded)."""

    @property
    def mean_load(self) -> float:
        return float(self.table["mean"][0])

    def expert(self, which: str) -> dict[str, float]:
        """The row of the busiest or the idlest expert, or of a numbered one."""
        if which in ("busiest", "idlest"):
            row = self.table.sort("tokens", "expert", descending=[which == "busiest", False])
            return dict(row.row(0, named=True))
        return dict(self.table.filter(pl.col("expert") == int(which)).row(0, named=True))

    @property
    def agrees(self) -> bool | None:
        """Whether every recorded bias is the computed one, to the last bit; None without a next step."""
        if self.table["recorded"].null_count():
            return None
        return bool((self.table["after"] == self.table["recorded"]).all())


def sign_rule(run: Run) -> LossFree:
    """The run's bias rule. Raises ConfigError unless it is the plain sign rule, additive and uncentred."""
    rules = BalancerConfig.parse(run.balancer).rules
    rule = rules[0] if len(rules) == 1 else None
    if not isinstance(rule, LossFree) or (rule.update_rule, rule.bias_form) != ("sign", "additive"):
        raise ConfigError("balancer", run.balancer, "is not the plain sign rule", "name a loss-free run")
    return rule


def bias_move(run: Run, layer: int, step: int) -> BiasMove:
    """Recompute the update after `step` from the recorded counts, and lay it beside what was recorded."""
    rule = sign_rule(run)
    now, following = cached.loads_at(run.version, layer, step), cached.loads_at(run.version, layer, step + 1)
    if now.is_empty() or now["step"][0] != step:
        raise ConfigError("step", step, "has no recorded loads in this run", "name a recorded step")
    row = cached.step_row(run.version, step)
    recorded_rate = None if row.is_empty() else row["bias_update_rate"][0]
    rate = float(rule.bias_update_rate if recorded_rate is None else recorded_rate)
    counts, before = now["tokens"].to_numpy(), now["expert_bias"].to_numpy().astype(np.float32)
    after = next_bias(counts, before, rate)
    is_next = not following.is_empty() and following["step"][0] == step + 1
    table = now.select(
        "expert",
        "tokens",
        "load_ratio",
        mean=pl.lit(float(counts.mean())),
        error=pl.Series(balancing.load_error(counts) * counts.mean()).round(6),
        sign=pl.Series(np.sign(counts.mean() - counts).astype(np.int64)),
        before=pl.Series(before),
        after=pl.Series(after),
        recorded=following["expert_bias"].cast(pl.Float32) if is_next else pl.lit(None, pl.Float32),
    )
    return BiasMove(step=step, rate=rate, table=asked.mark(table, asked.of(now, following, row)))


def next_bias(counts: np.ndarray, before: np.ndarray, rate: float) -> np.ndarray:
    """[..., E] float32 as in training: b + u · sign(mean − c)."""
    direction = np.sign(counts.mean(-1, keepdims=True) - counts).astype(np.float32)
    return np.asarray(before + np.float32(rate) * direction, dtype=np.float32)


def updates(run: Run) -> tuple[int, int]:
    """How many recorded bias updates equal the recomputed ones to the last bit, and how many there are."""
    rate = sign_rule(run).bias_update_rate
    equal = total = 0
    for layer in range(run.num_moe_layers):
        matrix = cached.load_matrix(run.version, layer)
        if matrix.bias is None or not np.array_equal(matrix.steps, matrix.last_steps):
            continue
        bias = matrix.bias.astype(np.float32)
        same = next_bias(matrix.tokens[:-1], bias[:-1], rate) == bias[1:]
        follows = np.diff(matrix.steps) == 1
        equal += int(same[follows].sum())
        total += int(same[follows].size)
    return equal, total
