"""How small a difference n pairs of seeds can detect."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from explorer.charts import lessons
from explorer.charts import spec as specs
from explorer.errors import ConfigError
from explorer.figures.arm_set import ArmSet
from explorer.figures.pairs import paired, standard_deviation
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store, Trace
from explorer.metrics import power

METRIC = "lm_loss"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The arm that the others are compared with, and the difference that one would like to detect."""

    base: str
    """Its token."""
    nats: float

    def __post_init__(self) -> None:
        if not self.nats > 0:
            raise ConfigError("nats", self.nats, "must be above 0", "write 0.01")


def seeds_needed(store: Store, arms: ArmSet, settings: Resolution) -> Panel | Missing:
    """Held-out loss difference that n pairs of seeds detect with a power of 80 %, against n."""
    trace = Trace(store)
    base = next(arm for arm in arms if arm.token == settings.base)
    subject = f"Seeds and resolution, against {base.label}"
    rows, sentences, have = [], [], 0
    for arm in (arm for arm in arms if arm is not base):
        name, difference = arms.names[arm.token], paired(trace.ask, arm, base, METRIC)
        deviation, have = standard_deviation(list(difference.differences.values())), difference.n
        if deviation is None:
            reason = f"{arm.label} and {base.label} have fewer than two seeds in common."
            return Missing(subject=subject, reason=reason)
        needed = power.pairs_needed(deviation, settings.nats)
        most = max(100, 2 * needed)
        counts = sorted({*range(2, 12), have, *np.geomspace(12, most, 40).round().astype(int).tolist()})
        rows += [(name, arm.family, n, power.detectable(deviation, n)) for n in counts]
        sentences.append(
            f"{name}: the differences of {have} seeds have a standard deviation of {deviation:.4f} "
            f"nats; {needed} pairs detect {settings.nats:g} nats with 80 % power."
        )
    frame = pl.DataFrame(
        rows,
        schema={"comparison": pl.String, "family": pl.String, "pairs": pl.Int64, "detectable": pl.Float64},
        orient="row",
    )
    return Panel(
        subject=subject,
        finding=" ".join(sentences),
        how="(t(0.975) + t(0.80)) · s / √n with n − 1 degrees of freedom; s is the standard deviation of the "
        "paired differences. The point marks the seeds that are here. Both axes are logarithmic.",
        spec=specs.make(
            lessons.seeds_and_resolution(
                frame,
                target=settings.nats,
                have=have,
                scopes={arm.label: arm.first.scope for arm in arms},
            )
        ),
        table=frame,
        statements=trace.statements,
    )
