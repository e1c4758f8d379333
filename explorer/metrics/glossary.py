"""The Glossary: definition, formula and source of every term of the app. The single source of these texts.

The Glossary page prints all of it; tooltips take `tip(key)`. Metrics are defined in `explorer/metrics`, with
their texts in `catalogue.py`; the other terms are in the `glossary_*.py` beside this file.
Formulas are LaTeX. Symbols are those of the papers: N routed experts, K per token, T tokens,
c_i assignments of expert i, s_{i,t} score of expert i for token t, b_i bias.
"""

from collections.abc import Sequence

from explorer.metrics import glossary_reading, glossary_rules, glossary_serving
from explorer.metrics.catalogue import METRICS, Metric
from explorer.metrics.events import DETECTED, RECORDED, EventKind
from explorer.metrics.term import EVENTS, READING, ROUTING, RULES, Term
from explorer.metrics.term import METRICS as OF_METRICS


def _metric(metric: Metric) -> Term:
    """The term of a metric: its definition, range and reference values."""
    ends = (("Range", metric.range), ("at balance", metric.at_balance), ("worst case", metric.at_worst))
    words = ", ".join(f"{name} ${value}$" for name, value in ends if value)
    return Term(
        key=metric.key,
        title=metric.title,
        section=OF_METRICS,
        text=metric.text,
        formula=metric.formula,
        note=" ".join(part for part in (metric.note, words and f"{words}.") if part),
        sources=metric.sources,
    )


def _event(kind: EventKind) -> Term:
    """The term of a kind of event."""
    return Term(
        key=f"event_{kind.key}",
        title=kind.title,
        section=EVENTS,
        text=kind.text,
        formula=kind.formula,
        note=kind.note,
        sources=kind.sources,
    )


_SECTIONS = (ROUTING, RULES, OF_METRICS, EVENTS, READING)
_MADE = (*map(_metric, METRICS), *map(_event, (*DETECTED, *RECORDED)))
TERMS: tuple[Term, ...] = tuple(
    sorted(
        (*_MADE, *glossary_rules.TERMS, *glossary_reading.TERMS, *glossary_serving.TERMS),
        key=lambda one: _SECTIONS.index(one.section),
    )
)
"""Every term, section by section."""


def term(key: str) -> Term:
    """The entry of a key. Raises KeyError for an unknown one."""
    return {t.key: t for t in TERMS}[key]


def tip(key: str) -> str:
    """The tooltip of a term."""
    return term(key).text


def search(text: str, terms: Sequence[Term] = TERMS) -> list[Term]:
    """Terms that contain every word of `text` in title, key or text."""
    words = dict.fromkeys(text.lower().split())
    texts = [(t, f"{t.title} {t.key} {t.text} {t.note}".lower()) for t in terms]
    return [term for term, content in texts if all(word in content for word in words)]
