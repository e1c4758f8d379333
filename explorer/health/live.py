"""Findings while a run trains: the same checks on its last recorded steps, each finding said once."""

from collections import deque
from collections.abc import Sequence
from itertools import groupby

import polars as pl

from explorer.health.diagnose import diagnose
from explorer.health.finding import Finding
from explorer.health.rows import LAYER_STEPS, LOADS, SEQUENCES, STEPS, RunRows
from explorer.recording import RunInfo
from explorer.recording.frames import to_frame
from explorer.recording.schema import SCHEMAS
from explorer.records.records import LoadRecord, StepRecord
from explorer.wording import listed

MOST_STEPS = 128
MOST_CELLS = 1_000_000
"""Loads that are kept and looked at: a check of so many takes about a third of a second in its thread."""
FEWEST_STEPS = 48
"""Steps that are kept however wide the model is: checks need a course."""
WARM_UP_STEPS = 300
"""Recorded steps before the first check: until then biases travel and routers find their experts."""
NOT_WHILE_TRAINING = frozenset({"u_too_small", "hot_expert", "sequence_imbalance"})
"""Kinds whose checks need all of a run, its end, or rows that are not kept here."""


Key = tuple[str, int | None]
"""Kind and layer of a finding."""


class LiveHealth:
    """Keeps the last loads of a run and checks them when asked. Used by one thread."""

    def __init__(self, info: RunInfo) -> None:
        self._info, self._layout = info, info.layout
        most = max(FEWEST_STEPS, min(MOST_STEPS, MOST_CELLS // max(1, sum(info.layer_widths))))
        self._loads: deque[LoadRecord] = deque(maxlen=most)
        self._steps: deque[StepRecord] = deque(maxlen=most)
        self._num_steps = 0
        self._before: set[Key] = set()
        self._reported_keys: set[Key] = set()

    def add(self, loads: LoadRecord, step: StepRecord | None = None) -> None:
        """Take in checked loads, which are kept without a copy."""
        self._loads.append(loads)
        self._num_steps += 1
        if step is not None:
            self._steps.append(step)

    def lines(self) -> list[str]:
        """One line per kind of finding that this check and the one before have, and that was not said yet."""
        if self._num_steps < WARM_UP_STEPS:
            return []
        findings = {(finding.kind, finding.layer): finding for finding in diagnose(self._rows())}
        lasting = [key for key in findings if key in self._before and key[0] not in NOT_WHILE_TRAINING]
        fresh = [findings[key] for key in lasting if key not in self._reported_keys]
        self._before = set(findings)
        self._reported_keys |= set(lasting)
        return [_line(list(group)) for _, group in groupby(fresh, key=lambda finding: finding.kind)]

    def _rows(self) -> RunRows:
        def frame_of(table: str, records: Sequence[object], columns: Sequence[str]) -> pl.DataFrame:
            if not records:
                return pl.DataFrame(schema={name: SCHEMAS[table][name] for name in columns})
            return to_frame(table, self._info.run_id, records, self._layout).select(columns)

        return RunRows(
            info=self._info,
            loads=frame_of("expert_loads", list(self._loads), LOADS),
            steps=frame_of("steps", list(self._steps), STEPS),
            layer_steps=frame_of("layer_steps", [], LAYER_STEPS),
            sequence_loads=frame_of("sequence_loads", [], SEQUENCES),
            domain_loads=frame_of("eval_loads", [], ("domain", "layer", "expert", "tokens")),
            is_sampled=True,
        )


def _line(same: Sequence[Finding]) -> str:
    """`health: dead_experts (layers 1, 3): … Try: …`"""
    worst = max(same, key=lambda finding: finding.severity)
    layers = [finding.layer for finding in same if finding.layer is not None]
    where = f" (layers {listed(layers)})" if len(layers) > 1 else ""
    return f"health: {worst.kind}{where}: {worst.sentence} Try: {worst.try_this}"
