"""The loads of a run folder as arrays, a bounded number of steps at a time.

Shapes: S steps of a window, L MoE layers, E experts of a layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.errors import ConfigError
from explorer.recording import RunFolder, RunInfo, check_file, read_part

Counts = NDArray[np.int64]
WINDOW_CELLS = 4_000_000
"""Loads read at a time: the memory of a conversion is bounded however long the run is."""
KEYS = ["step", "layer", "expert"]
COLUMNS = [*KEYS, "tokens", "expert_bias", "dropped_tokens"]


@dataclass(frozen=True)
class RunLoads:
    """The rows of `expert_loads` of one run between two steps, both inclusive."""

    path: Path
    first_step: int = 0
    last_step: int = 2**53

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.path)

    @property
    def info(self) -> RunInfo:
        """run.json."""
        return self.folder.info

    @cached_property
    def steps(self) -> list[int]:
        """The steps that have loads, ascending. Raises ConfigError if there are none."""
        rows = self.folder.read("expert_loads", ["step"])["step"].unique().sort()
        steps: list[int] = rows.filter(rows.is_between(self.first_step, self.last_step)).to_list()
        if not steps:
            raise ConfigError(
                "RUN", self.folder.run_id, "has no loads of experts in these steps", "choose another run"
            )
        return steps

    @property
    def num_experts(self) -> int:
        """Experts of every layer. Raises ConfigError if the layers differ."""
        if not self.info.is_even:
            raise ConfigError(
                "RUN", self.folder.run_id, "has layers of different width, which this format cannot hold",
                "choose --to csv or --to parquet",
            )  # fmt: skip
        return self.info.num_experts

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows in order of step, layer, expert; each frame holds whole steps."""
        parts = self.folder.parts("expert_loads")
        for part in parts:
            check_file(part.path, values_are_enough=True)
        per_frame = max(1, WINDOW_CELLS // max(1, sum(self.info.layer_widths)))
        for start in range(0, len(self.steps), per_frame):
            window = self.steps[start : start + per_frame]
            inside = pl.col("step").is_between(window[0], window[-1])
            overlapping = [p for p in parts if p.first <= window[-1] and p.last >= window[0]]
            rows = pl.concat([read_part(part, COLUMNS, where=inside) for part in overlapping])
            yield rows.sort(KEYS)

    def arrays(self) -> Iterator[tuple[int, Counts]]:
        """(step, loads [L, E]) of every step."""
        shape = (-1, len(self.info.layer_numbers), self.num_experts)
        for frame in self.frames():
            steps = frame["step"].unique(maintain_order=True).to_list()
            yield from zip(steps, frame["tokens"].to_numpy().reshape(shape), strict=True)

    def totals(self) -> Counts:
        """Loads [L, E], summed over the steps."""
        total = np.zeros((len(self.info.layer_numbers), self.num_experts), dtype=np.int64)
        for _, tokens_LE in self.arrays():
            total += tokens_LE
        return total

    def whole_model(self, rows_L: Counts, dense: Sequence[int], num_layers: int = 0) -> list[list[int]]:
        """Rows of the MoE layers [L, …] at the model's own layer numbers, `dense` in the rows between.

        num_layers: layers of the model, for dense layers after the last MoE layer.
        """
        numbers = self.info.layer_numbers
        if num_layers and num_layers <= numbers[-1]:
            rule = f"must be more than the number of the last MoE layer ({numbers[-1]})"
            raise ConfigError("--option num_layers", num_layers, rule, "give the layers of the whole model")
        result = [list(dense) for _ in range(max(num_layers, numbers[-1] + 1))]
        for number, row in zip(numbers, rows_L.tolist(), strict=True):
            result[number] = row
        return result
