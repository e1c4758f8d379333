"""Records from a training loop to storage: one frozen record per table, and the Recorder protocol.

Shapes use L MoE layers, E experts, B sequences, P probe tokens, K experts per token. Where layers have
different numbers of experts, an array [..., L, E] is padded to the widest layer or is a list of one array per
layer.
`docs/run_format.md` describes how a record is stored.
"""

from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from explorer.config.run import RunConfig

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Scalars of one optimizer step (table `steps`)."""

    step: int
    tokens_seen: int
    lm_loss: float | None
    """None: unknown at this step."""
    aux_loss: float | None = None
    z_loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    bias_update_rate: float | None = None
    wall_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class LoadRecord:
    """Loads of every expert in one optimizer step (table `expert_loads`)."""

    step: int
    tokens_LE: Ints
    """Assignments, summed over micro-batches and ranks."""
    expert_bias_LE: Floats | None = None
    """The bias in force in this step, before its update."""
    mean_score_LE: Floats | None = None
    mean_normalised_score_LE: Floats | None = None
    dropped_tokens_LE: Ints | None = None
    """None means dropless: zeros are stored."""


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """Per-layer metrics of one optimizer step (table `layer_steps`); None is stored as NULL."""

    step: int
    aux_loss_L: Floats | None = None
    switched_slots_L: Ints | None = None
    score_margin_L: Floats | None = None
    router_grad_norm_lm_L: Floats | None = None
    router_grad_norm_aux_L: Floats | None = None
    router_grad_cosine_L: Floats | None = None
    num_layers: int = 0
    """Needed only when every array is None."""


@dataclass(frozen=True, kw_only=True)
class SequenceLoadRecord:
    """Loads of every sequence of one micro-batch (table `sequence_loads`)."""

    step: int
    split: str
    micro_batch: int
    domains_B: list[str]
    tokens_BLE: Ints


@dataclass(frozen=True, kw_only=True)
class RankLoadRecord:
    """Loads of every rank in one step of a run on several processes (table `rank_loads`)."""

    step: int
    tokens_RLE: Ints


@dataclass(frozen=True, kw_only=True)
class EvalRecord:
    """Held-out loss of one domain (table `evals`)."""

    step: int
    split: str
    domain: str
    lm_loss: float | None
    """None: unknown at this step."""
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class EvalLoadRecord:
    """Held-out loads of one domain (table `eval_loads`)."""

    step: int
    split: str
    domain: str
    tokens_LE: Ints
    expert_bias_LE: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """Routing of the fixed probe batch (table `probe_scores`)."""

    step: int
    router_logits_PLE: Floats | None
    """None for a trace that keeps routes without scores."""
    selected_experts_PLK: Ints
    """The K selected experts; or E slots, where an empty one holds E and is not stored."""
    expert_bias_LE: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """An event to mark on the time axis (table `events`)."""

    step: int
    kind: str
    detail: str = ""
    layer: int | None = None
    expert: int | None = None


Record = (
    StepRecord
    | LoadRecord
    | LayerRecord
    | SequenceLoadRecord
    | RankLoadRecord
    | EvalRecord
    | EvalLoadRecord
    | ProbeRecord
    | EventRecord
)


@runtime_checkable
class Recorder(Protocol):
    """Destination of a training loop's measurements. Recording must never change the training."""

    def record(self, record: Record) -> None:
        """Add a record. Records of a step come before those of later steps."""

    def step_done(self, step: int) -> None:
        """Mark `step` as complete; its records may be written from now on."""

    def flush(self) -> None:
        """Write every completed step and wait for it; called before a checkpoint, so that none is missing."""

    def save_json(self, name: str, data: Any) -> None:
        """Save a small document beside the tables, e.g. the tokens of the probe batch."""

    def rules_changed(self, config: RunConfig) -> None:
        """Replace the run's configuration: a rule change was added to its schedule.

        Called before the first step under the new rules. On return the run's description is updated.
        """

    def finish(self, state: str, message: str = "") -> None:
        """Write the remaining records; `state` is finished, stopped, interrupted or failed."""


class NullRecorder:
    """Discards all records."""

    def record(self, record: Record) -> None:
        pass

    def step_done(self, step: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def save_json(self, name: str, data: Any) -> None:
        pass

    def rules_changed(self, config: RunConfig) -> None:
        pass

    def finish(self, state: str, message: str = "") -> None:
        pass


def _own(value: Any) -> Any:
    """A copy that is independent of the loop's buffers; a tensor is detached from its graph."""
    return value.detach().clone() if hasattr(value, "detach") else deepcopy(value)


@dataclass
class MemoryRecorder:
    """Keeps a copy of everything in lists, for tests and notebooks."""

    records: list[Record] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)
    configs: list[RunConfig] = field(default_factory=list)
    """One per unplanned rule change."""
    state: str = "running"

    def record(self, record: Record) -> None:
        copies = {f.name: _own(getattr(record, f.name)) for f in fields(record)}
        self.records.append(replace(record, **copies))

    def step_done(self, step: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def save_json(self, name: str, data: Any) -> None:
        self.documents[name] = data

    def rules_changed(self, config: RunConfig) -> None:
        self.configs.append(config)

    def finish(self, state: str, message: str = "") -> None:
        self.state = state

    def of(self, kind: type) -> list[Any]:
        """All records of one kind, in order."""
        return [r for r in self.records if isinstance(r, kind)]
