"""Plausibility checks of a file's loads: dense layers, differing totals, experts without a token.

Shapes: L layers of the file, E experts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.importers.bias_checks import BiasChecks
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.importers.trace import Counts, LoadStep
from explorer.metrics import max_vio
from explorer.wording import counted, listed, percent

SHOWN_EXPERTS = 8
"""Maximum number of a layer's experts listed in a message."""
REGULAR = 0.9
"""Share of equal distances from which on a log counts as regular, so that a longer distance is a hole."""
SHARE_TOLERANCE = 1e-3
"""Tolerance of totals of shares, which often have four digits."""


def live_layers(
    totals_L: Sequence[float] | NDArray[Any], in_file: Sequence[int], source: Source, report: Report
) -> list[int]:
    """Positions of the layers with any tokens. A layer of zeros is dense, or was not recorded; it is
    left out, not reported as dead. Raises ForeignFileError if no layer is left."""
    totals = np.asarray(totals_L)
    live = np.flatnonzero(totals > 0).tolist()
    if not live:
        raise source.problem(
            "", "holds no assignment at all: every count is 0", "record again with the router's counts"
        )
    silent = [in_file[position] for position in range(len(totals)) if position not in set(live)]
    if silent:
        report.left_out(
            "dense_layers",
            f"{counted(len(silent), 'layer')} ({_numbers(silent)}) without a single assignment: dense "
            "layers, or not recorded. They are left out; their experts are not called dead.",
            place=f"layers {_numbers(silent)}",
            layers=len(silent),
        )
    return live


def checked_steps(
    steps: Iterable[LoadStep], layers: Sequence[int], report: Report, *, are_counts: bool = True
) -> Iterator[LoadStep]:
    """Pass the steps through; after the last one, the checks of loads and biases are in the report.

    are_counts: if false, totals of rounded shares have a tolerance.
    """
    checks, biases = LoadChecks(layers, 0.0 if are_counts else SHARE_TOLERANCE), BiasChecks()
    for step in steps:
        checks.add(step)
        biases.add(step)
        yield step
    checks.report(report)
    biases.report(report)


class LoadChecks:
    """Sums over the steps of a run."""

    def __init__(self, layers: Sequence[int], tolerance: float) -> None:
        self._layers = list(layers)
        self._tolerance = tolerance
        self._sum_LE: Counts | None = None
        self._steps = 0
        self._silent_steps = 0
        self._largest_difference = 0.0
        self._place = ""
        self._extremes = ""
        """The layers with the lowest and the highest total of the step at `_place`."""
        self._differing = 0
        self._last_step: int | None = None
        self._distances: Counter[int] = Counter()
        self._first_of: dict[int, int] = {}
        """Distance between neighbouring steps -> the step before its first occurrence."""

    def add(self, step: LoadStep) -> None:
        """Add one step."""
        self._steps += 1
        if self._last_step is not None:
            distance = step.step - self._last_step
            self._distances[distance] += 1
            self._first_of.setdefault(distance, self._last_step)
        self._last_step = step.step
        if self._sum_LE is None:
            self._sum_LE = np.zeros_like(step.tokens_LE)
        self._sum_LE += step.tokens_LE
        totals_L = step.tokens_LE.sum(axis=1)
        mean = float(totals_L.mean())
        if mean == 0:
            self._silent_steps += 1
            return
        difference = float(totals_L.max() - totals_L.min()) / mean
        if difference <= self._tolerance:
            return
        self._differing += 1
        if difference > self._largest_difference:
            self._largest_difference, self._place = difference, f"step {step.step}"
            self._extremes = self._described(totals_L, difference)

    def _described(self, totals_L: NDArray[np.int64], difference: float) -> str:
        """`layer 0 adds up to 0, layer 1 to 2,048`, and by how much they differ where neither is 0."""
        low, high = int(totals_L.argmin()), int(totals_L.argmax())
        text = (
            f"the loads of layer {self._layers[low]} add up to {totals_L[low]:,}, those of layer "
            f"{self._layers[high]} to {totals_L[high]:,}"
        )
        return text if totals_L[low] == 0 else f"{text}, a difference of {percent(difference, 2)}"

    def report(self, report: Report) -> None:
        """Write down what was seen."""
        if self._sum_LE is None:
            return
        if self._silent_steps:
            report.note(
                "silent_steps",
                f"{counted(self._silent_steps, 'step')} of {self._steps:,} without any assignment.",
                steps=self._silent_steps,
            )
        self._report_holes(report)
        self._report_totals(report)
        self._report_idle(report, self._sum_LE)
        self._report_balance(report, self._sum_LE)

    def _report_holes(self, report: Report) -> None:
        """Steps that a regular log leaves out; a log at irregular steps has no holes."""
        if not self._distances:
            return
        usual, times = self._distances.most_common(1)[0]
        holes = {d: n for d, n in self._distances.items() if d > usual > 0 and d % usual == 0}
        if not holes or times < REGULAR * self._distances.total():
            return
        missing = sum((d // usual - 1) * n for d, n in holes.items())
        first = min(self._first_of[d] for d in holes) + usual
        is_one = missing == 1
        report.warning(
            "missing_steps",
            f"{counted(missing, 'step')} of {self._steps + missing:,} {'is' if is_one else 'are'} missing"
            f"{'' if is_one else ', the first of them'}: step {first:,}. Charts join the steps on both "
            "sides.",
            place=f"step {first}",
            steps=missing,
        )

    def _report_totals(self, report: Report) -> None:
        if self._differing:
            report.warning(
                "layer_totals",
                f"{self._place.capitalize()}: {self._extremes}. Where every token reaches every layer, these "
                f"totals are equal.{self._others()} The loads are kept as they are.",
                place=self._place,
                largest_difference=self._largest_difference,
                steps=self._differing,
            )

    def _others(self) -> str:
        """How many steps differ beside the one that is described."""
        others = self._differing - 1
        return f" They differ in {others:,} more {'step' if others == 1 else 'steps'}." if others else ""

    def _report_idle(self, report: Report, sum_LE: Counts) -> None:
        idle_LE = sum_LE == 0
        if not idle_LE.any():
            return
        rows = [
            f"layer {self._layers[row]}: {_named(np.flatnonzero(idle_LE[row]))}"
            for row in np.flatnonzero(idle_LE.any(axis=1))[:4].tolist()
        ]
        report.note(
            "idle_experts",
            f"{counted(int(idle_LE.sum()), 'expert')} of {idle_LE.size:,} without a token in the whole file "
            f"({'; '.join(rows)}{' …' if idle_LE.any(axis=1).sum() > 4 else ''}).",
            experts=int(idle_LE.sum()),
        )
        alone = np.flatnonzero((~idle_LE).sum(axis=1) == 1).tolist()
        if alone and sum_LE.shape[1] > 1:
            names = [self._layers[row] for row in alone]
            report.warning(
                "single_expert",
                f"In {counted(len(alone), 'layer')} ({_numbers(names)}) one expert holds every assignment. A "
                "capture that was never filled looks like this (all ids 0); check what recorded it.",
                place=f"layers {_numbers(names)}",
                layers=len(alone),
            )

    def _report_balance(self, report: Report, sum_LE: Counts) -> None:
        vio_L = np.asarray(max_vio(sum_LE), dtype=float)
        if not np.isfinite(vio_L).any():
            return
        worst, mean = int(np.nanargmax(vio_L)), float(np.nanmean(vio_L))
        steps = "" if self._steps == 1 else f", all {self._steps:,} steps together"
        largest = (
            f" (mean of {len(vio_L)} layers), {vio_L[worst]:.2f} in the worst, layer {self._layers[worst]}"
        )
        report.note(
            "imbalance",
            f"MaxVio {mean:.2f}{largest if len(vio_L) > 1 else ''}{steps}.",
            place=f"layer {self._layers[worst]}",
            max_vio_mean=mean,
            max_vio_worst=float(vio_L[worst]),
        )


def _numbers(layers: Sequence[int]) -> str:
    return str(layers[0]) if len(layers) == 1 else listed(layers)


def _named(experts: NDArray[np.int64]) -> str:
    noun = "expert" if len(experts) == 1 else "experts"
    names = f"{noun} {', '.join(map(str, experts[:SHOWN_EXPERTS].tolist()))}"
    return names if len(experts) <= SHOWN_EXPERTS else f"{names} and {len(experts) - SHOWN_EXPERTS} more"
