"""What is wrong with a router, said while it trains."""

import sys
import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from explorer.health.live import LiveHealth
from explorer.recording import RunInfo
from explorer.records.records import LoadRecord

INTERVAL_S = 30.0


class HealthLines:
    """Called with the loads of every step; writes findings to standard error, beside a progress bar."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._health: LiveHealth | None = None
        self._clock, self._checked_at = clock, clock()

    def __call__(self, info: RunInfo, loads: LoadRecord) -> None:
        self._health = self._health or LiveHealth(info)
        bias_LE = loads.expert_bias_LE
        self._health.add(
            LoadRecord(
                step=loads.step,
                tokens_LE=np.array(loads.tokens_LE),  # copies: the loop may reuse its buffers
                expert_bias_LE=None if bias_LE is None else np.array(bias_LE),
            )
        )
        if self._clock() - self._checked_at >= INTERVAL_S:
            self._checked_at = self._clock()
            for line in self._health.lines():
                tqdm.write(f"step {loads.step}: {line}", file=sys.stderr)
