"""Traces of routes: which K experts each token took, counted row by row in the order of the file.

Rows that are not user tokens are left out and reported: the block of identical routes of a
warm-up, unfilled rows, padding. Shapes: T rows, K experts per token, E experts.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ForeignFileError
from explorer.importers.kept_routes import LayerSample
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import Counts
from explorer.metrics import max_vio
from explorer.wording import counted

Ids = NDArray[np.int64]
WARM_UP_ROWS = 16
"""This many identical consecutive routes are not text but an engine's profile run, or a captured graph."""
MOST_CELLS = 1 << 26
"""Maximum number of counts in memory, over all windows (512 MiB)."""
MOST_DISTINCT = 1 << 20
REPEATED_SHARE = 0.5


@dataclass(frozen=True)
class Block:
    """A run of identical routes."""

    first_row: int
    last_row: int
    rows: int
    """Rows with this route; between them may lie rows that are missing."""
    route: tuple[int, ...]


@dataclass
class LayerTally:
    """Counts of one layer. `window`: kept rows per step; None: all rows are one step."""

    num_experts: int
    window: int | None = None
    keep_warm_up: bool = False
    split_at_blocks: bool = False
    sample: LayerSample = field(default_factory=lambda: LayerSample(0))
    """Rows that are kept as routes."""
    windows: list[Counts] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    rows: int = 0
    num_kept: int = 0
    missing: int = 0
    unfilled: int = 0
    fill: int = 0
    repeated: int = 0
    _open: tuple[Ids, int, int, int] | None = None
    """Route, first row, last row and length of the current run of identical routes."""
    _hashes: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def add(self, ids_TK: Ids, first_row: int | None = None) -> None:
        """Count the next rows; a negative id is missing. `first_row`: position in the file."""
        if not len(ids_TK):
            return
        row_T = (self.rows if first_row is None else first_row) + np.arange(len(ids_TK))
        self.rows += len(ids_TK)
        good_T = (ids_TK >= 0).all(axis=1)
        self.missing += int((~good_T).sum())
        if ids_TK.shape[1] > 1:
            same_T = good_T & (ids_TK == ids_TK[:, :1]).all(axis=1)
            self.unfilled += int(same_T.sum())
            good_T &= ~same_T
        self._add_runs(ids_TK[good_T], row_T[good_T])
        if not self.sample.is_full:
            self.sample.add(row_T[good_T], ids_TK[good_T], self.left_out)

    def _add_runs(self, ids_TK: Ids, row_T: Ids) -> None:
        if not len(ids_TK):
            return
        starts = np.flatnonzero(np.r_[True, (ids_TK[1:] != ids_TK[:-1]).any(axis=1)])
        lengths = np.diff(np.r_[starts, len(ids_TK)])
        routes, first = ids_TK[starts], row_T[starts]
        last = row_T[np.r_[starts[1:], len(ids_TK)] - 1]
        if self._open is not None:
            route, row, end, length = self._open
            if np.array_equal(route, routes[0]):
                lengths[0] += length
                first[0] = row
            else:
                routes = np.concatenate([route[None], routes])
                lengths, first, last = np.r_[length, lengths], np.r_[row, first], np.r_[end, last]
        self._open = (routes[-1], int(first[-1]), int(last[-1]), int(lengths[-1]))
        self._close(routes[:-1], lengths[:-1], first[:-1], last[:-1])

    def _close(self, routes: Ids, lengths: Ids, first: Ids, last: Ids) -> None:
        """Count completed runs of routes; only record the position of long ones."""
        long = np.flatnonzero(lengths >= WARM_UP_ROWS)
        begin = 0
        for end in [*long.tolist(), len(routes)]:
            part = slice(begin, end)
            self.repeated += int((lengths[part] - 1).sum())
            self._count(np.repeat(routes[part], lengths[part], axis=0))
            if end < len(routes):
                route = tuple(routes[end].tolist())
                self.blocks.append(Block(int(first[end]), int(last[end]), int(lengths[end]), route))
                if self.split_at_blocks:
                    self.windows.append(np.zeros(self.num_experts, dtype=np.int64))
                if self.keep_warm_up:
                    self._count(np.repeat(routes[end : end + 1], lengths[end], axis=0))
            begin = end + 1

    def _count(self, ids_TK: Ids) -> None:
        if not len(ids_TK):
            return
        experts = self.num_experts
        if self.window is None:
            place = np.full(len(ids_TK), max(0, len(self.windows) - 1))
        else:
            place = (self.num_kept + np.arange(len(ids_TK))) // self.window
        self.num_kept += len(ids_TK)
        first, last = int(place[0]), int(place[-1])
        if (last + 1) * experts > MOST_CELLS:
            raise ForeignFileError(
                f"tokens_per_step = {self.window} makes more than {last:,} steps, too many to hold; give "
                "more."
            )
        while len(self.windows) <= last:
            self.windows.append(np.zeros(experts, dtype=np.int64))
        cells = ((place - first)[:, None] * experts + ids_TK).ravel()
        counts = np.bincount(cells, minlength=(last - first + 1) * experts).reshape(-1, experts)
        for offset, row in enumerate(counts):
            self.windows[first + offset] += row
        if ids_TK.shape[1] > 1:
            self.fill += int((ids_TK == np.arange(ids_TK.shape[1])).all(axis=1).sum())
        self._add_distinct(ids_TK)

    def _add_distinct(self, ids_TK: Ids) -> None:
        if len(self._hashes) >= MOST_DISTINCT:
            return
        with np.errstate(over="ignore"):
            weights = np.random.default_rng(0).integers(1, 2**62, ids_TK.shape[1]) * 2 + 1
            hashes = (ids_TK * weights).sum(axis=1)
        self._hashes = np.union1d(self._hashes, hashes)

    def finish(self) -> None:
        """Count the run of routes that is still open."""
        if self._open is not None:
            route, row, end, length = self._open
            self._open = None
            self._close(route[None], np.array([length]), np.array([row]), np.array([end]))
            self.sample.leave_out(self.left_out)
        self.windows = self.windows or [np.zeros(self.num_experts, dtype=np.int64)]

    @property
    def left_out(self) -> list[tuple[int, int]]:
        """First and last row of the blocks that are left out, with the current run if it is one by now."""
        if self.keep_warm_up:
            return []
        spans = [(block.first_row, block.last_row) for block in self.blocks]
        if self._open is not None and self._open[3] >= WARM_UP_ROWS:
            spans.append(self._open[1:3])
        return spans

    @property
    def distinct(self) -> int:
        """Number of distinct routes among the kept rows, up to a limit."""
        return len(self._hashes)

    @property
    def total_E(self) -> Counts:
        """Counts of all windows."""
        total: Counts = np.sum(self.windows, axis=0)
        return total

    @property
    def with_blocks_E(self) -> Counts:
        """Counts including the blocks of identical routes."""
        total = self.total_E
        if not self.keep_warm_up:
            for block in self.blocks:
                np.add.at(total, list(block.route), block.rows)
        return total


def report_routes(tally: LayerTally, layer: int, top_k: int, source: Source, report: Report) -> None:
    """Report the checks of one layer's rows. Raises ForeignFileError if no row is left."""
    place = f"layer {layer}"
    if tally.num_kept == 0:
        what = "not a single row is left"
        if tally.unfilled:
            what = f"all {tally.unfilled:,} rows name one expert {top_k} times, as an unfilled capture does"
        elif tally.blocks:
            what = "every row belongs to a block of identical routes; --option warm_up=keep counts them"
        raise source.problem(place, what, "record again, or check what wrote the file")
    _report_blocks(tally, layer, report)
    if tally.unfilled:
        report.left_out(
            "unfilled_rows",
            f"Layer {layer}: {counted(tally.unfilled, 'row')} name one expert {top_k} times, as rows that "
            "were never filled do (a dense layer, or a capture that a fused kernel bypassed).",
            place=place,
            rows=tally.unfilled,
        )
    if tally.missing:
        report.left_out(
            "missing_rows",
            f"Layer {layer}: {counted(tally.missing, 'row')} with a negative id: their routes are missing.",
            place=place,
            rows=tally.missing,
        )
    _report_fill(tally, layer, top_k, report)
    if tally.repeated > REPEATED_SHARE * tally.num_kept and tally.num_kept >= WARM_UP_ROWS:
        report.warning(
            "identical_rows",
            f"Layer {layer}: {tally.repeated:,} of {tally.num_kept:,} rows repeat the row before. Captured "
            "graphs that replay one batch look like this.",
            place=place,
            rows=tally.repeated,
        )
    more = "at least " if tally.distinct >= MOST_DISTINCT else ""
    report.note(
        "distinct_routes",
        f"Layer {layer}: {tally.num_kept:,} rows take {more}{counted(tally.distinct, 'distinct route')}. "
        "Rows that share a prefix are not independent, so the random-routing baseline is too narrow for "
        "them.",
        place=place,
        rows=tally.num_kept,
        routes=tally.distinct,
    )


def _report_blocks(tally: LayerTally, layer: int, report: Report) -> None:
    if not tally.blocks:
        return
    rows = sum(block.rows for block in tally.blocks)
    before = float(np.asarray(max_vio(tally.with_blocks_E)))
    after = float(np.asarray(max_vio(tally.total_E)))
    first = tally.blocks[0]
    starts = " and ".join(f"{block.first_row:,}" for block in tally.blocks[:4])
    route = ",".join(map(str, first.route))
    sentence = (
        f"Layer {layer}: {rows:,} of {tally.rows:,} rows form {counted(len(tally.blocks), 'block')} of "
        f"identical routes ({route}; from row {starts}), as the warm-up of an engine writes them. "
    )
    counts = {"rows": rows, "blocks": len(tally.blocks), "of_rows": tally.rows, "max_vio_with": before}
    if tally.keep_warm_up:
        report.warning(
            "warm_up", f"{sentence}They were kept as asked.", place=f"row {first.first_row}", **counts
        )
        return
    report.left_out(
        "warm_up",
        f"{sentence}They are left out: MaxVio {after:.2f} without them, {before:.2f} with them "
        "(--option warm_up=keep).",
        place=f"row {first.first_row}",
        max_vio_without=after,
        **counts,
    )
    is_whole = not tally.split_at_blocks
    if is_whole and len(tally.blocks) > 1 and all(block.route == first.route for block in tally.blocks):
        report.warning(
            "engine_starts",
            f"Layer {layer}: {len(tally.blocks)} warm-up blocks, so {len(tally.blocks)} starts of an "
            f"engine are in one file (rows {starts}); --option split=starts makes a run of each.",
            place=f"row {tally.blocks[1].first_row}",
            starts=len(tally.blocks),
        )


def _report_fill(tally: LayerTally, layer: int, top_k: int, report: Report) -> None:
    """Rows 0, 1, 2, …: some engines fill unused slots with them. A few are ordinary routes."""
    if top_k < 2:
        return
    chance = 1.0
    for slot in range(top_k):
        chance /= max(1, tally.num_experts - slot)
    if tally.fill > 10 + 10 * chance * tally.num_kept:
        report.warning(
            "padding_fill",
            f"Layer {layer}: {counted(tally.fill, 'row')} of {tally.num_kept:,} name the experts 0 to "
            f"{top_k - 1} in order, as padding does; they are counted. Leave padding out where the file is "
            "written.",
            place=f"layer {layer}",
            rows=tally.fill,
        )
