"""Charts in the form of the Loss-Free Balancing paper (Wang et al. 2024): one line per run."""

from dataclasses import replace

from explorer.charts import captions, losses
from explorer.charts import spec as specs
from explorer.figures import balance
from explorer.figures.arm_set import ArmSet
from explorer.figures.panel import Panel
from explorer.figures.store import Store, Trace
from explorer.queries import balance as balance_queries
from explorer.queries import losses as queries


def max_vio_of_batches(store: Store, arms: ArmSet, settings: balance.MaxVioSettings) -> Panel:
    """MaxVio of every training batch for arms of one run each.

    The table has the columns of `queries.balance.max_vio_series`, tokens per step among them.
    """
    panel = balance.max_vio(store, arms, settings)
    series = Trace(store).ask(balance_queries.max_vio_series, arms.runs, None, settings.bins, settings.x)
    return replace(panel, table=series)


def loss_of_expert_choice(store: Store, arms: ArmSet, settings: None) -> Panel:
    """Language loss over training for arms of one run each, expert choice among them."""
    trace = Trace(store)
    train = trace.ask(queries.loss_series, arms.runs)
    held = trace.ask(queries.eval_series, arms.runs)
    chart = losses.loss_curves(
        train, held, labels=arms.labels, families=arms.families, metric="lm_loss", log_y=False
    )
    return Panel(
        subject="Training loss of expert choice and of token choice",
        finding=captions.loss_curves(train, held, labels=arms.labels),
        how="Lines are training text, points held-out text. A leak would lower the line of expert choice "
        "against the others; it says nothing about the text that such a model generates, where later tokens "
        "do not exist yet.",
        spec=specs.make(chart),
        table=train,
        statements=trace.statements,
    )
