"""Generate docs/metrics.md from the catalogue: `python -m explorer.metrics.markdown docs/metrics.md`."""

import sys
from pathlib import Path

from explorer.files import write_whole
from explorer.metrics.catalogue import GROUPS, METRICS, Metric
from explorer.metrics.events import DETECTED, RECORDED, EventKind
from explorer.metrics.peers import CONVERSIONS, Conversion
from explorer.metrics.sources import Source

HEAD = """# Metrics and their definitions

Printed from `explorer/metrics/` (`catalogue.py`, `peers.py`); do not edit by hand, but run
`python -m explorer.metrics.markdown docs/metrics.md`.

Every metric is one function of `explorer.metrics` and, where the index has the data, one expression in SQL
(`explorer/store/expressions.py`, `explorer/queries/`); property tests hold the two and a slow reference
together. Symbols: $N$ routed experts, $K$ chosen per token, $T$ tokens, $c_i$ assignments of expert $i$,
$\\bar c = KT/N$ their mean, $f_i = c_i/(KT)$ the share. "At worst" is what top-K routing can do worst: all
tokens take the same $K$ experts. Layers are measured one by one and then averaged, never pooled. Experts
without a token are in every denominator. Where nothing was routed at all a ratio is undefined (NaN, NULL)."""

EVENTS = """## Events on the time axis

Detected in SQL at ingest (`explorer/store/episodes.py`) and listed by `explorer.queries.events`;
thresholds and their reasons: `explorer/metrics/events.py`. A step is a recorded step, however far it is from
the one before."""

PEERS = """## What other tools print for the same counts

The same name often means a different number. A loss also depends on the mean probabilities $P$; the formulas
assume $P_i = f_i$, while the value at balance holds for every $P$. The Glossary page computes every row of
this table for counts that you choose or type."""


def metrics_markdown() -> str:
    """The text of docs/metrics.md."""
    blocks = [HEAD]
    for group in GROUPS:
        blocks.append(f"## {group}")
        blocks += [_metric(entry) for entry in METRICS if entry.group == group]
    blocks += [EVENTS, *(_event(entry) for entry in (*DETECTED, *RECORDED))]
    blocks += [PEERS, _conversions(CONVERSIONS)]
    return "\n\n".join(blocks) + "\n"


def _metric(metric: Metric) -> str:
    lines = [f"### {metric.title}", "", metric.text]
    if metric.formula:
        lines += ["", f"$${metric.formula}$$"]
    if metric.note:
        lines += ["", metric.note]
    ends = (("range", metric.range), ("at balance", metric.at_balance), ("at worst", metric.at_worst))
    facts = [f"{name} ${value}$" for name, value in ends if value]
    if metric.unit:
        facts.append(f"unit: {metric.unit}")
    lines += ["", f"- `{metric.key}`" + "".join(f"; {fact}" for fact in facts)]
    lines.append(f"- function `explorer.metrics.{metric.function.__name__}`")
    if metric.store:
        lines.append(f"- query `explorer.queries.{metric.store}`")
    if metric.sources:
        lines.append(f"- source: {'; '.join(_linked(s) for s in metric.sources)}")
    return "\n".join(lines)


def _event(kind: EventKind) -> str:
    lines = [f"### {kind.title}", "", kind.text]
    if kind.formula:
        lines += ["", f"$${kind.formula}$$"]
    if kind.note:
        lines += ["", kind.note]
    lines += ["", f"- `{kind.key}`", f"- source: {'; '.join(_linked(s) for s in kind.sources)}"]
    return "\n".join(lines)


def _linked(source: Source) -> str:
    return f"[{source.words}]({source.link})" if source.link else source.words


def _conversions(conversions: tuple[Conversion, ...]) -> str:
    rows = [
        "| tool | its metric | from ours | at balance | caveat |",
        "|---|---|---|---|---|",
    ]
    for entry in conversions:
        formula = entry.formula.replace("|", r"\vert ")
        rows.append(
            f"| [{entry.tool}]({entry.link}) | {entry.name} | ${formula}$ | ${entry.balance_words}$ "
            f"| {entry.trap} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), metrics_markdown().encode())
