"""One batch and one layer as the Microscope shows them: everything that is worked out, nothing that is drawn.

Shapes: T tokens, E experts, K slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.charts.microscope import BROUGHT, CHOSEN, LEFT, PUSHED
from explorer.queries.probe import LayerProbe
from explorer.routing import routing_math
from explorer.routing.routing_math import RouterSettings
from explorer.ui.components.token_text import Sequence, sequences_of

Floats = NDArray[np.float32]
BLANKS = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}


@dataclass(frozen=True, kw_only=True)
class ProbeText:
    """The texts of the probe batch."""

    texts: list[str]
    sequences: list[Sequence]
    is_known: bool = True
    """False where the run folder has no readable probe.json: tokens are then called by their number."""

    @property
    def domains(self) -> list[str]:
        """The domain of every token, [T]."""
        return [s.domain for s in self.sequences for _ in range(s.start, s.end)]


def probe_text(document: Mapping[str, Any] | None, num_tokens: int) -> ProbeText:
    """The texts as probe.json gives them, for a batch of T tokens."""
    found = document or {}
    texts, length, domains = (found.get(name) for name in ("tokens", "sequence_length", "domains"))
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
        return ProbeText(texts=numbers, sequences=sequences_of(num_tokens, num_tokens, []), is_known=False)
    assert isinstance(texts, list)
    assert isinstance(length, int)
    assert isinstance(domains, list)
    return ProbeText(texts=texts, sequences=sequences_of(num_tokens, length, [str(d) for d in domains]))


def visible(text: str) -> str:
    """A token's text with its blanks as signs."""
    return "".join(BLANKS.get(letter, letter) for letter in text) or "∅"


@dataclass(frozen=True, kw_only=True)
class View:
    """What a layer made of the probe after `step` updates."""

    step: int
    layer: int
    settings: RouterSettings
    logits: Floats
    """[T, E]"""
    bias: Floats | None
    """[E]; None without a bias rule."""
    scores: Floats | None
    """[T, E]; None where the run does not say how they come from the logits."""
    compared: Floats | None
    """[T, E] score with bias, -inf where a token may not go; None where tokens do not choose by it."""
    before: NDArray[np.int64] | None
    """[T, K] what the scores alone would choose."""
    after: NDArray[np.int64]
    """[T, K] what was recorded, first choice first; E in an empty slot."""
    gates: Floats | None
    """[T, K] of the same slots."""
    unexplained: int
    """Tokens whose recorded experts are not those that the recorded logits and bias give."""
    text: ProbeText
    source: LayerProbe
    """What was recorded; it knows the SQL that it came from."""

    @property
    def num_tokens(self) -> int:
        return len(self.logits)

    @property
    def num_experts(self) -> int:
        return int(self.logits.shape[1])

    @property
    def moved(self) -> NDArray[np.bool_] | None:
        """[T] whether the bias gave a token other experts; None without a bias, or if nobody can say."""
        if self.before is None or self.bias is None:
            return None
        return ~routing_math.same_sets(self.before, self.after, self.num_experts)

    def chosen_by(self, token: int) -> list[int]:
        """The experts of a token, first choice first."""
        return [e for e in self.after[token].tolist() if e < self.num_experts]

    def would_choose(self, token: int) -> list[int]:
        """The same by the scores alone."""
        return [] if self.before is None else [e for e in self.before[token].tolist() if e < self.num_experts]


def view_of(probe: LayerProbe, settings: RouterSettings, text: ProbeText, *, step: int, layer: int) -> View:
    """Work out everything from what was recorded."""
    scores = compared = before = gates = None
    after, unexplained = probe.chosen, 0
    if settings.score_func is not None:
        scores = routing_math.scores(probe.logits, settings.score_func)
        gates = routing_math.gates(probe.logits, after, settings)
        if settings.chooses:
            compared = routing_math.compared(scores, probe.bias, settings)
            worked_out = routing_math.choose(compared, scores, settings)
            same = routing_math.same_sets(worked_out, after, probe.num_experts)
            unexplained = int((~same).sum())
            unbiased = routing_math.compared(scores, None, settings)
            before = routing_math.choose(unbiased, scores, settings)
        if not settings.best_first:
            # Not in any order of the token's: its first expert is then the one that weighs most.
            order = np.argsort(-gates, axis=-1, kind="stable")
            after, gates = np.take_along_axis(after, order, -1), np.take_along_axis(gates, order, -1)
    return View(
        step=step,
        layer=layer,
        settings=settings,
        logits=probe.logits,
        bias=probe.bias,
        scores=scores,
        compared=compared,
        before=before,
        after=after,
        gates=gates,
        unexplained=unexplained,
        text=text,
        source=probe,
    )


def token_table(view: View, token: int) -> pl.DataFrame:
    """One row an expert: expert, logit, score, bias, compared (score with bias), rank_before, rank_after,
    gate, state, before, after.

    NULL where it is not known; compared and the ranks are NULL for an expert that the token may not use, and
    gate for one that was not chosen.
    """
    experts = view.num_experts
    after, before = view.chosen_by(token), view.would_choose(token)
    gates = (
        {} if view.gates is None else dict(zip(view.after[token].tolist(), view.gates[token], strict=True))
    )
    scores, compared = view.scores, view.compared
    rank_after = _ranks(compared, token)
    rank_before = _ranks(alone(view), token)
    rows = [
        {
            "expert": e,
            "logit": float(view.logits[token, e]),
            "score": None if scores is None else float(scores[token, e]),
            "bias": None if view.bias is None else float(view.bias[e]),
            "compared": _finite(compared, token, e),
            "rank_before": rank_before[e] if rank_before else None,
            "rank_after": rank_after[e] if rank_after else None,
            "gate": float(gates[e]) if e in gates else None,
            "state": _state(e, before if view.before is not None and view.bias is not None else after, after),
            "before": view.before is not None and view.bias is not None and e in before,
            "after": e in after,
        }
        for e in range(experts)
    ]
    types: dict[str, type[pl.DataType]] = dict.fromkeys(("expert", "rank_before", "rank_after"), pl.Int32)
    types |= dict.fromkeys(("logit", "score", "bias", "compared", "gate"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides=types)


def alone(view: View) -> Floats | None:
    """What the choice would compare without the bias, [T, E]; None where tokens do not choose by it."""
    if view.scores is None or view.compared is None:
        return None
    return routing_math.compared(view.scores, None, view.settings)


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


def cut_off(values: Floats | None, chosen: list[int], token: int) -> float | None:
    """Half way between the worst chosen and the best rejected value of a token; None where there are none."""
    if values is None or not chosen:
        return None
    row = values[token]
    rest = np.delete(row, chosen)
    rest = rest[np.isfinite(rest)]
    return float(row[chosen].min() + rest.max()) / 2 if len(rest) else None
