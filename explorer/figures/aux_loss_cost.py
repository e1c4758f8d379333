"""What the auxiliary loss costs: the comparisons of several claims on one question, put together."""

from dataclasses import dataclass
from statistics import stdev

import polars as pl

from explorer.charts import evidence as charts
from explorer.evidence.report import Result
from explorer.figures.evidence import is_lost, short
from explorer.figures.evidence_values import comparison, whole_claim
from explorer.wording import counted

QUESTION = "What does the auxiliary loss cost?"
SCHEMA = dict.fromkeys(("cost", "measured", "value", "runs", "verdict"), pl.String)

LOST = ": significant on its own, not after the correction"
"""Why a comparison may be unresolved although its interval excludes 0."""


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
        f"Both tuned and counted over the global batch, the auxiliary loss ends {_other_way(loss)} in "
        f"held-out loss (nats) than loss-free, and {_other_way(balance)} in MaxVio, over "
        f"{counted(len(loss.values), 'pair')} of seeds. Single pairs scatter with a standard deviation of "
        f"{scatter:g} nats, so a few seeds cannot show this difference in loss. Counted per sequence, the "
        f"auxiliary loss ends {_higher(scope, 1)} (nats) than counted over the global batch."
    )


def _other_way(one: Result) -> str:
    """`0.0229 ± 0.0108 higher`: the effect from the side of the arm that was subtracted."""
    return _higher(one, -1)


def _higher(one: Result, sign: int) -> str:
    effect = one.effect
    assert effect is not None, "enough pairs have an effect"
    mean = sign * short(effect.mean)
    return f"{abs(mean):g} ± {short(effect.half_width):g} {'higher' if mean > 0 else 'lower'}"


def table() -> pl.DataFrame:
    """One row per part that enough runs measure: cost, comparison in words, value, runs and verdict."""
    rows = [
        (part.title, one.comparison.words, _value(one), _runs(one), _verdict(part, one))
        for part in PARTS
        if (one := comparison(part.claim, part.number)) is not None
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _verdict(part: Part, one: Result) -> str:
    """The verdict on this comparison, and the one on its claim if they differ."""
    whole = whole_claim(part.claim)
    assert whole is not None, "the part has a result"
    verdict = f"{one.verdict}{LOST}" if is_lost(one) else one.verdict
    name = f"“{whole.claim.name}”"
    if whole.verdict == one.verdict:
        return f"{verdict} ({name})"
    place = f"one of the {len(whole.results)} comparisons of {name}"
    return f"{verdict} ({place}; claim as a whole: {whole.verdict})"


def _runs(one: Result) -> str:
    """`48 pairs, quick`, on one line."""
    is_count = one.comparison.region.never
    number = counted(len(one.values), "run" if is_count else "pair")
    return f"{number}, {one.scale}".replace(" ", "\N{NO-BREAK SPACE}")


def _value(one: Result) -> str:
    """Mean difference ± half-width of its 95 % interval, on one line; or in how many runs it is above 0."""
    if one.comparison.region.never:
        text = f"above 0 in {sum(value > 0 for value in one.values.values())} of {len(one.values)}"
    else:
        effect = one.effect
        assert effect is not None, "enough pairs have an effect"
        text = f"{charts.signed(short(effect.mean))} ± {short(effect.half_width):g}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")
