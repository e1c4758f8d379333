"""The probe batch as one layer routes it: scores, choices and gates, recomputed from the record.

Shapes: T tokens, E experts, K slots.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts.microscope import BROUGHT, CHOSEN, LEFT, PUSHED
from explorer.errors import ExplorerError
from explorer.figures.arms import Run
from explorer.figures.store import Trace
from explorer.queries import probe as queries
from explorer.queries.probe import LayerProbe
from explorer.recording import RunFolder
from explorer.routing import routing_math
from explorer.routing.routing_math import RouterSettings, settings_of

Floats = NDArray[np.float32]
MOST_BATCHES = 8
"""Routed batches that are remembered: 10 MB each at 256 experts and 2,048 tokens."""
NO_DOCUMENT = (
    "The run folder has no readable probe.json with the text of these tokens, so tokens are shown by number."
)
ONLY_IDS = "The imported trace names its tokens by id and keeps no text, so ids are shown."
NO_NAMES = (
    "The imported trace does not name its tokens, so they are shown by number, in the order of the file."
)
UNSCORED = "This trace keeps the selected experts of each token, without scores, gates and biases."
BLANKS = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}


@dataclass(frozen=True, kw_only=True)
class TextSpan:
    """One text of the probe: consecutive tokens of one domain."""

    domain: str
    start: int
    end: int
    """One past its last token."""


def text_spans(num_tokens: int, length: int, domains: Sequence[str]) -> list[TextSpan]:
    """The texts of a batch of T tokens, `length` tokens each; a text without a domain is named by number."""
    starts = range(0, num_tokens, length)
    return [
        TextSpan(
            domain=domains[i] if i < len(domains) else f"text {i + 1}",
            start=start,
            end=min(start + length, num_tokens),
        )
        for i, start in enumerate(starts)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeText:
    """The tokens of the probe batch as text. Equal to itself alone, as `LayerProbe` is."""

    texts: list[str]
    """The text of every token, [T]."""
    spans: list[TextSpan]
    is_known: bool = True
    """False where nothing names the tokens, which then have numbers."""
    note: str = ""
    """Why they have numbers, or ids instead of text."""

    @property
    def domains(self) -> list[str]:
        """The domain of every token, [T]."""
        return [s.domain for s in self.spans for _ in range(s.start, s.end)]


def probe_text(document: Mapping[str, Any] | None, num_tokens: int) -> ProbeText:
    """The texts of probe.json for a batch of T tokens; numbers where the document does not fit the batch."""
    if document is not None and "source" in document:
        return _trace_text(document, num_tokens)
    texts, length, domains = ((document or {}).get(name) for name in ("tokens", "sequence_length", "domains"))
    fits = (
        isinstance(texts, list)
        and len(texts) == num_tokens
        and all(isinstance(text, str) for text in texts)
        and isinstance(length, int)
        and length > 0
        and isinstance(domains, list)
    )
    if not fits:
        numbers = [f"#{i}" for i in range(num_tokens)]
        spans = text_spans(num_tokens, num_tokens, [])
        return ProbeText(texts=numbers, spans=spans, is_known=False, note=NO_DOCUMENT)
    assert isinstance(texts, list)
    assert isinstance(length, int)
    assert isinstance(domains, list)
    return ProbeText(texts=texts, spans=text_spans(num_tokens, length, [str(d) for d in domains]))


def _trace_text(document: Mapping[str, Any], num_tokens: int) -> ProbeText:
    """The tokens of an imported trace: as text, as ids, or by number; one span per sequence."""
    texts, ids, of = (document.get(name) for name in ("tokens", "token_ids", "sequences"))
    if not isinstance(of, list) or len(of) != num_tokens or not all(type(n) is int for n in of):
        of = [0] * num_tokens
    starts = [i for i in range(num_tokens) if not i or of[i] != of[i - 1]]
    domains = document.get("domains")
    named = domains if isinstance(domains, list) else []
    spans = [
        TextSpan(
            domain=str(named[of[i]]) if 0 <= of[i] < len(named) else f"sequence {of[i] + 1}",
            start=i,
            end=end,
        )
        for i, end in zip(starts, [*starts[1:], num_tokens], strict=True)
    ]
    if isinstance(texts, list) and len(texts) == num_tokens and all(isinstance(t, str) for t in texts):
        return ProbeText(texts=texts, spans=spans)
    if isinstance(ids, list) and len(ids) == num_tokens:
        return ProbeText(texts=[str(one) for one in ids], spans=spans, note=ONLY_IDS)
    numbers = [f"#{i}" for i in range(num_tokens)]
    return ProbeText(texts=numbers, spans=spans, is_known=False, note=NO_NAMES)


def visible(text: str) -> str:
    """A token's text with its blanks as symbols."""
    return "".join(BLANKS.get(letter, letter) for letter in text) or "∅"


@dataclass(frozen=True, kw_only=True)
class RoutedBatch:
    """How one layer routes the probe batch after `step` updates."""

    step: int
    layer: int
    settings: RouterSettings
    num_experts: int
    logits: Floats | None
    """[T, E]; None for a trace of routes without scores, whose slots have no order either."""
    bias: Floats | None
    """[E]; None without a bias rule."""
    scores: Floats | None
    """[T, E]; None where the configuration does not say how scores come from logits."""
    compared: Floats | None
    """[T, E] score with bias, -inf where a token may not go; None where tokens do not choose."""
    unbiased: Floats | None
    """[T, E] the same without the bias."""
    before: NDArray[np.int64] | None
    """[T, K] the choice by scores alone."""
    after: NDArray[np.int64]
    """[T, K] the recorded choice, first choice first; E in an empty slot."""
    gates: Floats | None
    """[T, K] of the same slots."""
    mismatched: int
    """Tokens whose recorded experts differ from those that follow from the recorded logits and bias."""
    text: ProbeText

    @property
    def num_tokens(self) -> int:
        return len(self.after)

    @cached_property
    def moved(self) -> NDArray[np.bool_] | None:
        """[T] whether the bias changed a token's experts; None without a bias, or where it is unknown."""
        if self.before is None or self.bias is None:
            return None
        return ~routing_math.same_sets(self.before, self.after, self.num_experts)

    def chosen_by(self, token: int) -> list[int]:
        """The experts of a token, first choice first."""
        return [e for e in self.after[token].tolist() if e < self.num_experts]

    def would_choose(self, token: int) -> list[int]:
        """The experts of a token by scores alone."""
        return [] if self.before is None else [e for e in self.before[token].tolist() if e < self.num_experts]


def routed_batch(trace: Trace, run: Run, step: int, layer: int) -> RoutedBatch | None:
    """The probe after `step` updates in one layer of a run; None where it was not recorded."""
    probe = trace.ask(queries.layer_probe, run, step, layer)
    settings = settings_of(json.loads(run.config), top_k=run.top_k, step=step)
    if probe is None:
        routes = trace.ask(queries.routes, run, step, run.width(layer), layer).get(layer)
        if routes is None:
            return None
        text = trace.ask(_text, run, run.path, len(routes))
        return _unscored(routes, run.width(layer), replace(settings, note=UNSCORED), text, step, layer)
    text = trace.ask(_text, run, run.path, len(probe.logits))
    return route(probe, settings, text, step=step, layer=layer)


def probe_document(trace: Trace, run: Run) -> dict[str, Any] | None:
    """probe.json of a run: token_ids, tokens, domains; None if unreadable."""
    return trace.ask(_document, run, run.path)


def _text(_cursor: object, _run_id: str, path: str, num_tokens: int) -> ProbeText:
    """The tokens of a run's probe as text, read like a query so that a store can cache it."""
    return probe_text(_document(_cursor, _run_id, path), num_tokens)


def _document(_cursor: object, _run_id: str, path: str) -> dict[str, Any] | None:
    """probe.json of a run folder, read like a query so that a store can cache it; None if unreadable."""
    try:
        document = RunFolder(Path(path)).document("probe")
    except (ExplorerError, OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _unscored(
    routes: NDArray[np.int64],
    num_experts: int,
    settings: RouterSettings,
    text: ProbeText,
    step: int,
    layer: int,
) -> RoutedBatch:
    """A batch of which only the selected experts are known."""
    return RoutedBatch(
        step=step,
        layer=layer,
        settings=settings,
        num_experts=num_experts,
        logits=None,
        bias=None,
        scores=None,
        compared=None,
        unbiased=None,
        before=None,
        after=routes,
        gates=None,
        mismatched=0,
        text=text,
    )


@lru_cache(maxsize=MOST_BATCHES)
def route(
    probe: LayerProbe, settings: RouterSettings, text: ProbeText, *, step: int, layer: int
) -> RoutedBatch:
    """Recompute scores, the choice without bias, and gates from the recorded logits, bias and choice.

    The latest batches are remembered, since every panel of a page asks for the same one.
    """
    scores = compared = unbiased = before = gates = None
    after, mismatched = probe.routes, 0
    if settings.score_func is not None:
        scores = routing_math.scores(probe.logits, settings.score_func)
        gates = routing_math.gates(probe.logits, after, settings)
        if settings.chooses:
            compared = routing_math.compared(scores, probe.bias, settings)
            recomputed = routing_math.choose(compared, scores, settings)
            same = routing_math.same_sets(recomputed, after, probe.num_experts)
            mismatched = int((~same).sum())
            unbiased = routing_math.compared(scores, None, settings)
            before = routing_math.choose(unbiased, scores, settings)
        if not settings.best_first:
            # The recorded order is not one of preference: put the expert with the largest gate first.
            order = np.argsort(-gates, axis=-1, kind="stable")
            after, gates = np.take_along_axis(after, order, -1), np.take_along_axis(gates, order, -1)
    return RoutedBatch(
        step=step,
        layer=layer,
        settings=settings,
        num_experts=probe.num_experts,
        logits=probe.logits,
        bias=probe.bias,
        scores=scores,
        compared=compared,
        unbiased=unbiased,
        before=before,
        after=after,
        gates=gates,
        mismatched=mismatched,
        text=text,
    )


def token_table(batch: RoutedBatch, token: int) -> pl.DataFrame:
    """One row per expert: expert, logit, score, bias, compared (score with bias), rank_before, rank_after,
    gate, state, before, after.

    NULL where a value is unknown; compared and the ranks are NULL for an expert that the token may not use,
    gate for an expert that was not chosen.
    """
    experts = batch.num_experts
    after, before = batch.chosen_by(token), batch.would_choose(token)
    gates = (
        {} if batch.gates is None else dict(zip(batch.after[token].tolist(), batch.gates[token], strict=True))
    )
    scores, compared = batch.scores, batch.compared
    is_biased = batch.before is not None and batch.bias is not None
    rank_after = _ranks(compared, token)
    rank_before = _ranks(batch.unbiased, token)
    rows = [
        {
            "expert": e,
            "logit": None if batch.logits is None else float(batch.logits[token, e]),
            "score": None if scores is None else float(scores[token, e]),
            "bias": None if batch.bias is None else float(batch.bias[e]),
            "compared": _finite(compared, token, e),
            "rank_before": rank_before[e] if rank_before else None,
            "rank_after": rank_after[e] if rank_after else None,
            "gate": float(gates[e]) if e in gates else None,
            "state": _state(e, before if is_biased else after, after),
            "before": is_biased and e in before,
            "after": e in after,
        }
        for e in range(experts)
    ]
    types: dict[str, type[pl.DataType]] = dict.fromkeys(("expert", "rank_before", "rank_after"), pl.Int32)
    types |= dict.fromkeys(("logit", "score", "bias", "compared", "gate"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides=types)


def _ranks(values: Floats | None, token: int) -> list[int | None]:
    if values is None:
        return []
    row = values[token : token + 1]
    return [
        int(rank) if np.isfinite(value) else None
        for rank, value in zip(routing_math.ranks(row)[0], row[0], strict=True)
    ]


def _finite(values: Floats | None, token: int, expert: int) -> float | None:
    value = None if values is None else float(values[token, expert])
    return value if value is not None and np.isfinite(value) else None


def _state(expert: int, before: list[int], after: list[int]) -> str:
    if expert in after:
        return CHOSEN if expert in before else BROUGHT
    return PUSHED if expert in before else LEFT


def cut_off(values: Floats | None, experts: list[int], token: int) -> float | None:
    """Midpoint of a token's lowest chosen and highest rejected value; None where there is no such pair."""
    if values is None or not experts:
        return None
    row = values[token]
    rest = np.delete(row, experts)
    rest = rest[np.isfinite(rest)]
    return float(row[experts].min() + rest.max()) / 2 if len(rest) else None
