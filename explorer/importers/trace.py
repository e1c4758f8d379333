"""Common representation of all formats: runs of another system, step by step.

Shapes: L MoE layers, E experts. A format makes one `ForeignRun` per run in its file; its steps are read once,
in ascending order, while they are written, so that memory is bounded for files of any length.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ForeignFileError
from explorer.importers.kept_routes import KeptRoutes
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source
from explorer.recording.folder_schema import MAX_CELLS, MAX_LAYERS

Counts = NDArray[np.int64]
Floats = NDArray[np.float32]
ASSIGNMENTS = "assignments"
"""The usual unit: the number of times that the router selected an expert."""
UNKNOWN_PHASE = "unknown"


@dataclass(frozen=True, kw_only=True)
class LoadStep:
    """The loads of one step."""

    step: int
    tokens_LE: Counts
    expert_bias_LE: Floats | None = None
    dropped_tokens_LE: Counts | None = None
    num_tokens: int | None = None
    """Tokens of the step; None: the mean over layers of assignments / K."""
    scalars: Mapping[str, float] = field(default_factory=dict)
    """Fields of StepRecord, e.g. lm_loss."""
    routes: KeptRoutes | None = None
    """Routes of the first tokens, with one step of a run."""


@dataclass(frozen=True, kw_only=True)
class ForeignRun:
    """One run of a foreign file."""

    steps: Iterable[LoadStep]
    layers: tuple[int, ...]
    """The model's own number of each MoE layer, ascending."""
    num_experts: int
    top_k: int | None
    """None: not stated in the file."""
    report: Report
    part: str = ""
    """Identifies the run if the file holds several."""
    phase: str = UNKNOWN_PHASE
    """training, prefill, decode, …"""
    scope: str = "global"
    """global, rank or physical."""
    unit: str = ASSIGNMENTS
    details: Mapping[str, Any] = field(default_factory=dict)
    """Other known fields, e.g. the model."""


class Format(Protocol):
    """One file format. `read` raises ForeignFileError for a file that breaks a rule of the format."""

    name: str
    label: str
    """Display name of the format, for lists and messages."""
    options: Sequence[str]
    """Options beside the common ones."""

    def matches(self, source: Source) -> bool:
        """Whether the head and the name of a file look like this format."""

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        """The runs in the file."""


def zeros(num_layers: int, num_experts: int) -> Counts:
    """[L, E] zeros, after checking their size."""
    if not 0 < num_layers <= MAX_LAYERS or num_layers * num_experts > MAX_CELLS:
        raise ForeignFileError(
            f"{num_layers} layers of {num_experts} experts: must be at most {MAX_LAYERS} layers and "
            f"{MAX_CELLS} experts together; check num_experts."
        )
    return np.zeros((num_layers, num_experts), dtype=np.int64)


def model_layers(
    options: Options, in_file: Sequence[int], live: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The model's own numbers of the `live` layers, which are positions in `in_file` (None: all).

    `layers` names them: all layers of the file, or those that are kept. `layer_offset` is added to the
    numbers of a file that counts its MoE layers from 0 after dense ones.
    """
    positions = list(range(len(in_file))) if live is None else list(live)
    named = options.numbers("layers")
    offset = options.integer("layer_offset", most=MAX_LAYERS) or 0
    if named is None:
        return tuple(in_file[position] + offset for position in positions)
    if len(named) == len(positions):
        return named
    if len(named) == len(in_file):
        return tuple(named[position] for position in positions)
    raise ForeignFileError(
        f"--option layers names {len(named)} layers, but the file has {len(in_file)}, {len(positions)} of "
        "them with loads; name one number per layer."
    )
