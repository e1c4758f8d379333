"""What the auxiliary loss costs: the comparisons of several claims on one question, put together."""

from dataclasses import dataclass
from statistics import stdev

import polars as pl

from explorer.charts import evidence as charts
from explorer.evidence.report import Result
from explorer.figures.evidence import short
from explorer.figures.evidence_values import comparison
from explorer.wording import counted

QUESTION = "What does the auxiliary loss cost?"
SCHEMA = {"part of the price": pl.String, "measured": pl.String, "value": pl.String, "verdict": pl.String}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the answer, and the comparison of a claim that measures it."""

    title: str
    claim: str
    number: int
    """Of the comparison within the claim, from 1."""


LOSS = Part(title="Language loss", claim="A8", number=1)
BALANCE = Part(title="Balance", claim="A8", number=2)
SCOPE = Part(title="A narrow scope", claim="X1", number=1)
PARTS = (
    LOSS,
    BALANCE,
    SCOPE,
    Part(title="Scope or rule", claim="X1", number=2),
    Part(title="A large α", claim="A7", number=2),
    Part(title="Pull on the routers", claim="C7", number=1),
    Part(title="The same pull, loss-free", claim="C7", number=2),
)


def answer() -> str:
    """The answer in a few sentences, from paired seeds; empty where too few runs are here."""
    results = [comparison(part.claim, part.number) for part in (LOSS, BALANCE, SCOPE)]
    loss, balance, scope = results
    if loss is None or balance is None or scope is None:
        return ""
    scatter = short(stdev(loss.values.values()))
    return (
        f"Loss-free minus auxiliary loss, both tuned and counted over the global batch: {_value(loss)} nats "
        f"of held-out loss and {_value(balance)} of MaxVio, in {counted(len(loss.values), 'pair')} of seeds. "
        f"Single pairs scatter with a standard deviation of {scatter:g} nats, so a few seeds cannot show "
        f"this difference. Counting the loads per sequence instead of over the global batch changes the loss "
        f"of the auxiliary-loss arm by {_value(scope)} nats."
    )


def table() -> pl.DataFrame:
    """One row per part that enough runs measure: what, the comparison in words, its value and verdict."""
    rows = [
        (part.title, one.comparison.words, _measured(one), f"{one.verdict} (claim {part.claim})")
        for part in PARTS
        if (one := comparison(part.claim, part.number)) is not None
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _measured(one: Result) -> str:
    """Mean difference with half of its 95 % interval, pairs and scale; or in how many runs it happened."""
    if one.comparison.region.never:
        above = sum(value > 0 for value in one.values.values())
        return f"above 0 in {above} of {counted(len(one.values), 'run')}, {one.scale}"
    return f"{_value(one)} ({counted(len(one.values), 'pair')}, {one.scale})"


def _value(one: Result) -> str:
    """`−0.0229 ± 0.0108`."""
    effect = one.effect
    assert effect is not None, "enough pairs have an effect"
    return f"{charts.signed(short(effect.mean))} ± {short(effect.half_width):g}"
