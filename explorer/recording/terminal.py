"""The line about the routers that a training run prints, so that imbalance is visible in the terminal."""

import importlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from explorer.metrics.counts import max_vio
from explorer.metrics.windows import DEAD_STEPS, bias_spread
from explorer.recording.info import RunInfo
from explorer.recording.layout import Layout
from explorer.recording.notices import Notices
from explorer.records.records import LoadRecord, StepRecord

DEFAULT_INTERVAL_S = 30.0


class Health(Protocol):
    """What a reporter asks of `explorer.health.live.LiveHealth`."""

    def add(self, loads: LoadRecord, step: StepRecord | None = None) -> None:
        """Take in checked loads and the losses of their step."""

    def lines(self) -> list[str]:
        """Findings that were not said yet."""


def live_health(info: RunInfo) -> Health | None:
    """The checks of a run's health; None where they cannot be loaded.

    By name: `explorer.health` reads what this package writes, and depends on it.
    """
    with suppress(ImportError):
        return cast(Health, importlib.import_module("explorer.health.live").LiveHealth(info))
    return None


class Reporter:
    """Adds up the counts of an interval and prints one line at its end; events at once.

    Counts of an interval are added up before MaxVio is taken, so the line shows lasting imbalance, not the
    noise of single steps.
    """

    def __init__(
        self,
        layout: Layout,
        notices: Notices,
        interval_s: float | None = DEFAULT_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        health: Health | None = None,
    ) -> None:
        """interval_s: seconds between lines; None prints none, and no events. health: asked once per line."""
        self._health = health
        self._layout, self._notices, self._interval_s, self._clock = layout, notices, interval_s, clock
        cells = sum(layout.widths)
        self._tokens_C = np.zeros(cells, dtype=np.int64)
        self._idle_steps_C = np.zeros(cells, dtype=np.int64)
        self._is_dead_C = np.zeros(cells, dtype=bool)
        self._num_steps = 0
        self._last = clock()
        self._loss_was_finite = True

    def add(self, step: int, loads: LoadRecord, losses: StepRecord | None = None) -> None:
        """Take in checked loads: [L, E], or [C] where layers have different widths."""
        if self._interval_s is None:
            return
        tokens_C = loads.tokens_LE.reshape(-1)
        self._tokens_C += tokens_C
        self._num_steps += 1
        if self._health is not None:
            self._health.add(loads, losses)
        self._idle_steps_C = np.where(tokens_C == 0, self._idle_steps_C + 1, 0)
        is_dead_C = self._idle_steps_C >= DEAD_STEPS
        died = is_dead_C & ~self._is_dead_C
        self._is_dead_C = is_dead_C
        if died.any():
            self._notices.line(f"step {step}: {self._named(died)}, without a token in {DEAD_STEPS} steps")
        now = self._clock()
        if now - self._last >= self._interval_s:
            self._notices.line(self._text(step, loads))
            self._report_health(step)
            self._last, self._num_steps = now, 0
            self._tokens_C[:] = 0

    def _report_health(self, step: int) -> None:
        """A check that fails costs the later ones of this run, not its recording."""
        if self._health is None:
            return
        try:
            lines = self._health.lines()
        except Exception as error:
            lines = [f"health is not checked any more ({type(error).__name__}: {error})"]
            self._health = None
        for line in lines:
            self._notices.line(f"step {step}: {line}")

    def loss_not_finite(self, step: int, loss: float) -> None:
        """Say it for the first of such steps."""
        if self._interval_s is not None and self._loss_was_finite:
            self._notices.line(f"step {step}: lm_loss is {loss}")
        self._loss_was_finite = False

    def _named(self, cells_C: NDArray[np.bool_]) -> str:
        """The first of these experts by name, and how many more."""
        cells = zip(self._layout.layer_C[cells_C], self._layout.expert_C[cells_C], strict=True)
        names = [f"layer {layer} expert {expert}" for layer, expert in cells]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"dead: {', '.join(names[:4])}{more}"

    def _text(self, step: int, loads: LoadRecord) -> str:
        slices = self._layout.slices()
        vios = np.asarray([max_vio(self._tokens_C[cells]) for _, cells in slices], dtype=np.float64)
        parts = []
        if np.isfinite(vios).any():
            worst = int(np.nanargmax(vios))
            parts.append(
                f"MaxVio {np.nanmean(vios):.2f}, worst {vios[worst]:.2f} in layer {slices[worst][0]} "
                f"(last {self._num_steps} steps)"
            )
        parts.append(f"dead experts {int(self._is_dead_C.sum())}")
        if loads.expert_bias_LE is not None:
            bias_C = np.asarray(loads.expert_bias_LE).reshape(-1)
            spread = max(float(bias_spread(bias_C[cells])) for _, cells in slices)
            parts.append(f"bias {bias_C.min():+.4f} to {bias_C.max():+.4f}, widest spread {spread:.4f}")
        return f"step {step}: " + "; ".join(parts)
