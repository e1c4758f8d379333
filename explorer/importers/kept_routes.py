"""Routes per token that an import keeps beside the counts: the first tokens of a trace, in all layers.

A token is identified by its sequence in the file and its position in it, and by its id where the file states
ids: so two traces of the same tokens can be compared (`explorer.figures.token_identity`).
Shapes: P kept tokens, L layers, K experts per token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.token_names import TOKENS_OF, Spans, TokenLog, identity_text, name_tokens
from explorer.wording import counted

Ids = NDArray[np.int64]
KEPT_OPTIONS = ("routes", TOKENS_OF)
DEFAULT_TOKENS = 2048
MOST_TOKENS = 1 << 16
MOST_ROWS = 1 << 20
"""Tokens × layers: each is a row of the table `probe_scores`."""


@dataclass(frozen=True, kw_only=True)
class KeptRoutes:
    """The routes of P tokens, and the document that identifies these tokens (`probe.json`)."""

    ids_PLK: Ids
    document: Mapping[str, Any]
    logits_PLE: NDArray[np.float32] | None = None


def most_tokens(options: Options) -> int:
    """The limit that the option `routes` sets; 0 keeps none."""
    limit = options.integer("routes", most=MOST_TOKENS)
    return DEFAULT_TOKENS if limit is None else limit


@dataclass
class LayerSample:
    """The first `most` rows of one layer that name K experts, by their number in the file."""

    most: int
    row_P: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    ids_PK: Ids = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))

    @property
    def is_full(self) -> bool:
        """Whether it holds as many tokens as it may."""
        return len(self.row_P) >= self.most

    def add(self, row_T: Ids, ids_TK: Ids, left_out: Spans) -> None:
        """Take the next rows; left_out: blocks of rows that are no tokens, as far as they are known."""
        if self.is_full or not len(row_T):
            return
        self.row_P = np.concatenate([self.row_P, row_T])
        self.ids_PK = np.concatenate([self.ids_PK, ids_TK]) if self.ids_PK.size else ids_TK.copy()
        self.leave_out(left_out)
        self.row_P, self.ids_PK = self.row_P[: self.most], self.ids_PK[: self.most]

    def leave_out(self, spans: Spans) -> None:
        """Drop the rows of these blocks."""
        inside_P = np.zeros(len(self.row_P), dtype=bool)
        for first, last in spans:
            inside_P |= (self.row_P >= first) & (self.row_P <= last)
        if inside_P.any():
            self.row_P, self.ids_PK = self.row_P[~inside_P], self.ids_PK[~inside_P]


def shared_rows(samples: Sequence[LayerSample]) -> Ids:
    """The rows that are in the samples of all layers, ascending."""
    rows = samples[0].row_P
    for sample in samples[1:]:
        rows = np.intersect1d(rows, sample.row_P, assume_unique=True)
    return rows


def keep_routes(
    samples: Sequence[LayerSample],
    log: TokenLog,
    rows: int,
    left_out: Spans,
    top_k: int | None,
    options: Options,
    report: Report,
) -> KeptRoutes | None:
    """The tokens that every layer has a route of, among the samples; None if there are none.

    rows: of each layer in the file; left_out: blocks of rows that are no token in any layer; top_k: K of the
    run, without which a list of experts is no whole route.
    """
    if not samples or samples[0].most == 0:
        return None
    row_P = shared_rows(samples)[: max(1, MOST_ROWS // len(samples))]
    if not len(row_P):
        return None
    if samples[0].ids_PK.shape[1] != top_k:
        report.note("routes_left_out", "Routes per token are not kept without --option top_k of the file.")
        return None
    parts = [sample.ids_PK[np.searchsorted(sample.row_P, row_P)] for sample in samples]
    names = name_tokens(row_P, log, rows, left_out, options)
    total = int(names["source"]["rows"])
    report.note(
        "routes_kept",
        f"Routes are kept for {len(row_P):,} of {counted(total, 'token')}, the first that every layer has a "
        f"route of (--option routes=N, at most {MOST_TOKENS:,}; routes=0 keeps none). {identity_text(names)}",
        tokens=len(row_P),
        of=total,
    )
    return KeptRoutes(ids_PLK=np.stack(parts, axis=1), document=names)


class FirstRoutes:
    """The routes of one step of training, whose batches come layer by layer. A batch is one sequence."""

    def __init__(self, most: int, num_layers: int) -> None:
        self._samples = [LayerSample(most) for _ in range(num_layers)]
        self._sizes: list[list[int]] = [[] for _ in range(num_layers)]

    def add(self, layer: int, ids_TK: Ids) -> None:
        """The next batch of a layer, by its place; a row with a negative id has no route."""
        good_T = (ids_TK >= 0).all(axis=1)
        first = sum(self._sizes[layer])
        self._samples[layer].add(first + np.flatnonzero(good_T), ids_TK[good_T], ())
        self._sizes[layer].append(len(ids_TK))

    def routes(self, top_k: int | None, options: Options, report: Report) -> KeptRoutes | None:
        """None where layers saw different batches."""
        sizes = self._sizes[0]
        if any(other != sizes for other in self._sizes) or self._samples[0].most == 0:
            return None
        log = TokenLog()
        for size in sizes:
            log.add(size)
        return keep_routes(self._samples, log, log.rows, (), top_k, options, report)


def common_spans(layers: Sequence[Spans]) -> list[tuple[int, int]]:
    """The rows that lie in a block in every layer."""
    common = list(layers[0]) if layers else []
    for spans in layers[1:]:
        pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in spans if max(a, c) <= min(b, d)]
        common = sorted(pairs)
    return common
