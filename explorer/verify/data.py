"""The rows of one run for the checks. L MoE layers, E experts of the widest, S recorded steps."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.config.run import RunConfig
from explorer.errors import ConfigError, UnreadableRunError
from explorer.recording import RunFolder, RunInfo, RunStatus
from explorer.recording.schema import SCHEMAS


@dataclass(frozen=True, kw_only=True)
class Loads:
    """`expert_loads` as arrays. Cells without a row hold 0 and NaN, and are not `present`."""

    steps: NDArray[np.int64]
    """[S] ascending."""
    layers: tuple[int, ...]
    """[L] the layer numbers of the tables."""
    tokens: NDArray[np.int64]
    """[S, L, E]"""
    bias: NDArray[np.float32]
    """[S, L, E] NaN where NULL."""
    has_bias: NDArray[np.bool_]
    """[S, L, E] whether the bias is not NULL; NaN is a non-finite bias."""
    present: NDArray[np.bool_]
    """[S, L, E] whether there is a row."""

    def is_whole(self, width: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[S, L] whether every one of the layer's `width` [L] experts has a row."""
        return np.asarray(self.present.sum(-1) == width)


@dataclass
class RunData:
    """One run folder, read once. An unreadable table is empty, with its error in `unreadable`."""

    folder: RunFolder
    info: RunInfo
    status: RunStatus
    unreadable: dict[str, str] = field(default_factory=dict)
    """Table -> error message."""
    _frames: dict[str, pl.DataFrame] = field(default_factory=dict)

    def frame(self, table: str) -> pl.DataFrame:
        """The valid rows. For a live run, those complete on first access."""
        if table not in self._frames:
            try:
                rows = self.folder.read(table).drop("run_id")
            except UnreadableRunError as error:
                self.unreadable[table] = str(error)
                rows = pl.DataFrame(schema=SCHEMAS[table]).drop("run_id")
            if self.status.state == "running":
                rows = rows.filter(pl.col("step") <= self.status.committed_step)
            self._frames[table] = rows
        return self._frames[table]

    @cached_property
    def config(self) -> RunConfig | None:
        """The configuration of this project's trainer; None for runs of other software."""
        if not {"model", "training", "balancer"} <= self.info.config.keys():
            return None
        try:
            return RunConfig.from_dict(self.info.config)
        except (ConfigError, KeyError, TypeError, ValueError):
            return None

    @cached_property
    def widths(self) -> dict[int, int]:
        """The model's own number of each MoE layer -> its routed experts."""
        return dict(zip(self.info.layer_numbers, self.info.layer_widths, strict=True))

    @cached_property
    def cells(self) -> pl.DataFrame:
        """Every (layer, expert) that a step must have, in order."""
        layers = np.repeat(list(self.widths), list(self.widths.values()))
        experts = [e for width in self.widths.values() for e in range(width)]
        return pl.DataFrame(
            {"layer": layers, "expert": experts}, schema={"layer": pl.Int32, "expert": pl.Int32}
        )

    @cached_property
    def width_L(self) -> NDArray[np.int64]:
        return np.array(list(self.widths.values()), dtype=np.int64)

    @cached_property
    def loads(self) -> Loads:
        """For duplicate keys the last row counts; rows of unknown layers or experts are left out."""
        rows = self.frame("expert_loads").join(self.cells, on=["layer", "expert"], how="semi")
        steps = rows["step"].unique().sort().to_numpy()
        layers = tuple(self.widths)
        shape = (len(steps), len(layers), max(self.widths.values(), default=0))
        place = (
            np.searchsorted(steps, rows["step"].to_numpy()),
            np.searchsorted(np.array(layers), rows["layer"].to_numpy()),
            rows["expert"].to_numpy(),
        )
        tokens, present = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        bias, has_bias = np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=bool)
        tokens[place] = rows["tokens"].fill_null(0).to_numpy()
        bias[place] = rows["expert_bias"].to_numpy()
        has_bias[place] = rows["expert_bias"].is_not_null().to_numpy()
        present[place] = True
        return Loads(steps=steps, layers=layers, tokens=tokens, bias=bias, has_bias=has_bias, present=present)

    @cached_property
    def held_out(self) -> pl.DataFrame:
        """Loads of the last evaluation on held-out text by layer and expert, domains summed."""
        rows = self.frame("eval_loads").filter(pl.col("split") == "held_out")
        rows = rows.filter(pl.col("step") == pl.col("step").max())
        return rows.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
