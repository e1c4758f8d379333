"""Measurements of one step, from the device to the recorder.

Nothing here waits for a GPU before `DeviceLog` fetches several steps at once.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import TrainingError
from explorer.records.records import (
    LayerRecord,
    LoadRecord,
    RankLoadRecord,
    Recorder,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training.finite import refuse_nonfinite

GRADIENTS = ("router_grad_norm_lm", "router_grad_norm_aux", "router_grad_cosine")


@dataclass
class StepLog:
    """Measurements of one step; tensors still on the device."""

    step: int
    tokens_seen: int
    learning_rate: float
    bias_update_rate: float | None
    scalars: dict[str, Tensor]
    layers: dict[str, Tensor]
    """[L] or [L, E] tensors by name."""
    sequences: list[tuple[int, list[str], Tensor]]
    """(micro-batch, domains, counts [B, L, E]) on sampled steps."""
    rank_counts_RLE: Tensor | None = None
    """Assignments by rank, int64, on sampled steps of a run on several ranks."""
    duration: Callable[[], float] = lambda: 0.0
    """Duration of the step in seconds; the call waits until the device has finished it."""
    wall_time_s: float = 0.0
    """Seconds of all steps up to this one; set when the step is fetched."""


class DeviceLog:
    """Holds the logs of a few steps on the device and passes them to the recorder at once."""

    def __init__(self, recorder: Recorder, device: torch.device, interval_s: float = 0.5) -> None:
        # On a CPU there is nothing to wait for.
        self.recorder, self.interval_s = recorder, interval_s if device.type == "cuda" else 0.0
        self.pending: list[StepLog] = []
        self.seconds = 0.0
        """Seconds of all fetched steps."""
        self.drained_at = time.monotonic()

    def add(self, log: StepLog, counts: deque[NDArray[np.int64]]) -> None:
        """Add a step; every `interval_s` seconds fetch all pending ones, see `drain_into`."""
        self.pending.append(log)
        if time.monotonic() - self.drained_at >= self.interval_s:
            self.drain_into(counts)

    def drain_into(self, counts: deque[NDArray[np.int64]]) -> None:
        """Fetch and record everything that is pending; the counts [L, E] go to `counts` too."""
        for log in self.pending:
            self.seconds += log.duration()
            log.wall_time_s = self.seconds
            record_step(log, self.recorder)
            counts.append(log.layers["tokens"].cpu().numpy())
        self.pending.clear()
        self.drained_at = time.monotonic()


def record_step(log: StepLog, recorder: Recorder) -> None:
    """Turn a step's log into records. Raises TrainingError for a loss that is not finite."""
    scalars = {name: value.item() for name, value in log.scalars.items()}
    arrays = {name: value.cpu().numpy() for name, value in log.layers.items()}
    refuse_nonfinite(arrays.pop("nonfinite_logits"), f"step {log.step}")
    for name, value in scalars.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} = {value} in step {log.step}: training needs finite numbers; "
                "lower training.learning_rate or the coefficient of the balancing rule."
            )
    aux, z = arrays.get("aux_loss"), arrays.get("z_loss")
    recorder.record(
        StepRecord(
            step=log.step,
            tokens_seen=log.tokens_seen,
            lm_loss=scalars["lm_loss"],
            aux_loss=None if aux is None else float(aux.mean()),
            z_loss=None if z is None else float(z.mean()),
            grad_norm=scalars["grad_norm"],
            learning_rate=log.learning_rate,
            bias_update_rate=log.bias_update_rate,
            wall_time_s=log.wall_time_s,
        )
    )
    if len(arrays["tokens"]):
        _record_layers(log, arrays, recorder)
    recorder.step_done(log.step)


def _record_layers(log: StepLog, arrays: Mapping[str, Any], recorder: Recorder) -> None:
    """Records of the MoE layers."""
    recorder.record(
        LoadRecord(
            step=log.step,
            tokens_LE=arrays["tokens"],
            expert_bias_LE=arrays.get("expert_bias"),
            mean_score_LE=arrays["mean_score"],
            mean_normalised_score_LE=arrays["mean_normalised_score"],
            dropped_tokens_LE=arrays.get("dropped_tokens"),
        )
    )
    aux = arrays.get("aux_loss")
    if aux is not None or arrays.keys() & {"score_margin", "switched_slots", *GRADIENTS}:
        recorder.record(
            LayerRecord(
                step=log.step,
                aux_loss_L=aux,
                switched_slots_L=arrays.get("switched_slots"),
                score_margin_L=arrays.get("score_margin"),
                **{f"{name}_L": arrays.get(name) for name in GRADIENTS},
                num_layers=len(arrays["tokens"]),
            )
        )
    for micro_batch, domains, counts_BLE in log.sequences:
        recorder.record(
            SequenceLoadRecord(
                step=log.step,
                split="train",
                micro_batch=micro_batch,
                domains_B=domains,
                tokens_BLE=counts_BLE.cpu().numpy(),
            )
        )
    if log.rank_counts_RLE is not None:
        recorder.record(RankLoadRecord(step=log.step, tokens_RLE=log.rank_counts_RLE.cpu().numpy()))
