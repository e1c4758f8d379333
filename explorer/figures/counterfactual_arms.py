"""One counterfactual rule on the probes of several runs."""

import numpy as np
import polars as pl

from explorer import metrics
from explorer.charts import counterfactual as charts
from explorer.charts import spec as specs
from explorer.charts.captions import number
from explorer.figures.arm_set import ArmSet
from explorer.figures.counterfactual import OPEN_LOOP, Replay, replayed
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import Store, Trace
from explorer.wording import counted

SUBJECT = "Imbalance of the replayed probes"
HOW = "MaxVio of each run's probe tokens after each update; circles: that of the recorded choice."


def imbalance(store: Store, arms: ArmSet, settings: Replay) -> Panel | Missing:
    """MaxVio over the updates, a line per arm (its first run); arms that cannot be replayed have none."""
    trace = Trace(store)
    subject = f"{SUBJECT}, layer {settings.layer}"
    frames, findings, reasons = [], [], []
    for arm in arms:
        result = replayed(trace, arm.first, settings)
        if isinstance(result, str):
            reasons.append(result)
            continue
        values = np.asarray(metrics.max_vio(result.outcome.loads_UE))
        recorded = float(np.asarray(metrics.max_vio(result.choice.loads_E)))
        frames.append(
            pl.DataFrame({"update": np.arange(len(values)), "max_vio": values}).select(
                pl.lit(arm.token).alias("run_id"), "update", "max_vio", recorded=pl.lit(recorded)
            )
        )
        findings.append(f"{number(float(values[-1]))} for {arms.names[arm.token]} ({number(recorded)})")
    if not frames:
        return Missing(subject=subject, reason=reasons[0])
    table = pl.concat(frames)
    updates = counted(settings.what_if.updates, "update")
    return Panel(
        subject=subject,
        finding=f"MaxVio after {updates} (in brackets that of the recorded choice): {', '.join(findings)}.",
        how=f"{HOW} {OPEN_LOOP}",
        spec=specs.make(
            charts.imbalances(table, labels=arms.names, families=arms.families, scopes=arms.scopes)
        ),
        table=table,
        statements=trace.statements,
    )
