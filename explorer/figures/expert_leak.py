"""How far expert choice looks ahead, measured on the recorded scores of a probe."""

import json
from dataclasses import dataclass

import polars as pl

from explorer.charts import expert_leak as charts
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.layer_fit import percent
from explorer.figures.panel import Missing, Panel
from explorer.figures.probe_batch import probe_document
from explorer.figures.store import Store, Trace
from explorer.queries import probe as queries
from explorer.routing import routing_math
from explorer.routing.expert_leak import LeakCounts, expert_choice_leak

FEWEST = 16
"""Tokens of the smallest chunk."""
HOW = (
    "Recorded scores of one probe, each layer by itself. Each token in turn gets the scores of another one, "
    "and the experts choose again."
)
NO_PROBE = (
    "The leak is measured on recorded scores, and this run keeps no probe batch whose scores are known."
)


@dataclass(frozen=True, kw_only=True)
class LeakSettings:
    """The probe whose scores are used."""

    step: int | None = None
    """Updates before the probe; None: the last probe."""


def by_chunk(store: Store, arms: ArmSet, settings: LeakSettings) -> Panel | Missing:
    """Share of the tokens whose change moves an earlier token, or one of another sequence, by chunk size."""
    (arm,) = arms
    run, subject = arm.first, "Tokens that expert choice moves when a later one changes"
    trace = Trace(store)
    steps = [step for _, step, _ in trace.ask(queries.probes, [run], scored=True).rows()]
    length = (probe_document(trace, run) or {}).get("sequence_length")
    if not steps or not isinstance(length, int):
        return Missing(subject=subject, reason=NO_PROBE)
    step = steps[-1] if settings.step is None else settings.step
    router = routing_math.settings_of(json.loads(run.config), top_k=run.top_k, step=step)
    layers = trace.ask(queries.layer_probes, run, step)
    if router.score_func is None or not layers:
        return Missing(subject=subject, reason=NO_PROBE)
    scores = [routing_math.scores(probe.logits, router.score_func) for probe in layers.values()]
    counts = {
        chunk: sum(
            (expert_choice_leak(one, run.top_k, chunk=chunk, sequence_tokens=length) for one in scores),
            LeakCounts(trials=0, earlier_trials=0, other_trials=0, earlier_tokens=0),
        )
        for chunk in chunk_sizes(len(scores[0]))
    }
    return Panel(
        subject=subject,
        finding=sentence(counts, length),
        how=HOW,
        spec=specs.make(charts.by_chunk(leak_rows(counts), sequence_tokens=length)),
        table=leak_rows(counts),
        statements=trace.statements,
    )


def chunk_sizes(tokens: int) -> list[int]:
    """Powers of two from FEWEST to all tokens."""
    sizes = []
    size = FEWEST
    while size < tokens:
        sizes.append(size)
        size *= 2
    return [*sizes, tokens]


def leak_rows(counts: dict[int, LeakCounts]) -> pl.DataFrame:
    """chunk, reach, trials, changed, share: one row per chunk size and reach."""
    return pl.DataFrame(
        [
            {"chunk": chunk, "reach": reach, "trials": one.trials, "changed": n, "share": n / one.trials}
            for chunk, one in counts.items()
            for reach, n in ((charts.EARLIER, one.earlier_trials), (charts.OTHER, one.other_trials))
        ]
    )


def sentence(counts: dict[int, LeakCounts], sequence_tokens: int) -> str:
    """The leak with chunks of one sequence and with all tokens in one chunk."""
    tokens = max(counts)
    whole = counts[tokens]
    earlier, other = (percent(n / whole.trials) for n in (whole.earlier_trials, whole.other_trials))
    text = (
        f"with all {tokens:,} tokens in one chunk in {earlier}, and those of a token in another sequence in "
        f"{other}. Token choice changes none."
    )
    own = counts.get(sequence_tokens)
    if own is None or sequence_tokens == tokens:
        return f"Changing one token changes the experts of an earlier one {text}"
    return (
        f"If experts choose among the {sequence_tokens} tokens of a sequence, changing one token changes the "
        f"experts of an earlier one in {own.earlier_trials:,} of {own.trials:,} cases "
        f"({percent(own.earlier_trials / own.trials)}); {text}"
    )
