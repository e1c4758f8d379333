"""One optimizer step: forward, backward, clip, update; then, and only then, the bias.

Nothing here waits for a GPU: what is measured stays on the device until `DeviceLog` fetches
several steps at once.
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
from torch.nn import functional as F

from explorer.config.run import RunConfig, TrainingConfig
from explorer.corpus import Batch, Corpus
from explorer.errors import TrainingError
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import ForwardContext, choice_margin, switched_slots
from explorer.model.transformer import LayerOutput
from explorer.records.records import (
    LayerRecord,
    LoadRecord,
    RankLoadRecord,
    Recorder,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training.devices import autocast
from explorer.training.finite import nonfinite_logits, refuse_nonfinite
from explorer.training.gradients import probe_of
from explorer.training.ranks import ALONE, Ranks
from explorer.training.thresholds import has_thresholds, move_thresholds


def as_tensor(tokens: NDArray[np.int64], device: torch.device) -> Tensor:
    """Token ids on the device, without waiting for the copy."""
    tensor = torch.from_numpy(tokens)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def lm_loss_sum(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    """Summed cross-entropy in nats, float32."""
    return F.cross_entropy(logits_BSV.flatten(0, 1).float(), targets_BS.flatten(), reduction="sum")


def bias_LE(model: MoETransformer) -> Tensor:
    """A copy of every selection bias, float32 [L, E]."""
    return torch.stack([router.expert_bias_E for router in model.routers])


@dataclass
class StepLog:
    """What one step measured; tensors still on the device."""

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
    """Seconds that the step took; known when the device has done it, so the call may wait."""
    wall_time_s: float = 0.0
    """Seconds of all steps up to this one; set when the step is fetched."""


def train_step(
    model: MoETransformer,
    optimizer: torch.optim.Optimizer,
    balancer: CombinedBalancer,
    config: RunConfig,
    corpus: Corpus,
    step: int,
    learning_rate: float,
    ranks: Ranks = ALONE,
) -> StepLog:
    """Run optimizer step `step` and measure it.

    The objective is the mean language loss plus, for every rule, coefficient times the sum over
    layers of its loss; with several micro-batches each weighs the same. The bias moves once, after
    the optimizer, from int64 counts over all micro-batches, which several ranks may share.
    """
    training = config.training
    accumulation = training.gradient_accumulation_steps
    device = next(model.parameters()).device
    batches = {
        index: corpus.batch(
            seed=training.seed,
            step=step,
            micro_batch=index,
            num_sequences=training.micro_batch_size,
            sequence_length=training.sequence_length,
        )
        for index in ranks.share(accumulation)
    }
    sampled = step % training.sequence_load_interval == 0
    step_counts_LE = None
    if accumulation > 1:
        step_counts_LE = _count_whole_step(model, balancer, training, step, batches, ranks)
    meters = _Meters(sampled)
    probe = probe_of(model, training.gradient_probe_interval, step)
    for index, batch in batches.items():
        tokens = as_tensor(batch.tokens, device)
        context = _context(training, step, index, step_counts_LE, meters)
        with autocast(device):
            output = model(tokens[:, :-1], balancer, context)
        loss = lm_loss_sum(output.logits_BSV, tokens[:, 1:]) / tokens[:, 1:].numel()
        objective = loss
        for layer in output.layers:
            if layer.losses.objective is not None:
                objective = objective + layer.losses.objective
        if probe:
            probe.add(loss, output.layers, 1 / accumulation)
        (objective / accumulation).backward()  # type: ignore[no-untyped-call]
        meters.add(index, batch, loss.detach(), output.layers, model, balancer)
    ranks.sum_gradients(model)
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
    bias_used_LE = bias_LE(model) if balancer.uses_bias else None
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    totals = meters.totals(ranks)
    _update_bias(model, balancer, totals.counts["tokens"], step, meters.observed(balancer, ranks))
    move_thresholds(model, meters.scores, step, ranks)
    log = meters.log(config, step, learning_rate, balancer.rate(step), grad_norm, totals, bias_used_LE, ranks)
    if probe:
        log.layers |= probe.figures(ranks)
    return log


def _context(
    training: TrainingConfig,
    step: int,
    micro_batch: int,
    step_counts_LE: Tensor | None = None,
    meters: "_Meters | None" = None,
) -> ForwardContext:
    """What the pass over one micro-batch may depend on; the same again for a pass that only counts."""
    seed = (training.seed * 1_000_003 + step) * 1_009 + micro_batch
    return ForwardContext(
        is_training=True,
        seed=seed,
        step_counts_LE=step_counts_LE,
        earlier_counts_LE=meters.counts_LE() if meters and meters.has_counts else None,
    )


@torch.no_grad()
def _update_bias(
    model: MoETransformer,
    balancer: CombinedBalancer,
    counts_LE: Tensor,
    step: int,
    observed: list[Tensor] | None,
) -> None:
    """Move every layer's bias, all layers at once."""
    if not balancer.uses_bias:
        return
    moved_LE = bias_LE(model)
    balancer.update(moved_LE, counts_LE, step, observed)
    for router, bias_E in zip(model.routers, moved_LE, strict=True):
        router.expert_bias_E.copy_(bias_E)


def _count_whole_step(
    model: MoETransformer,
    balancer: CombinedBalancer,
    training: TrainingConfig,
    step: int,
    batches: Mapping[int, Batch],
    ranks: Ranks,
) -> Tensor | None:
    """Counts of all micro-batches, before the first backward pass, where a loss needs them.

    An auxiliary loss at global-batch scope takes f from the whole step. f carries no gradient, so one
    pass without gradient makes it exact; using only the micro-batches seen so far would be another loss.
    """
    if not balancer.needs_step_counts:
        return None
    device = next(model.parameters()).device
    with torch.no_grad(), autocast(device):
        outputs = [
            model(as_tensor(batch.tokens, device)[:, :-1], balancer, _context(training, step, index))
            for index, batch in batches.items()
        ]
    counts = [torch.stack([layer.counts_BE.sum(0) for layer in output.layers]) for output in outputs]
    return ranks.sum(torch.stack(counts).sum(0))


COUNTED = {"tokens", "dropped_tokens", "switched_slots", "nonfinite_logits"}
"""What is summed over micro-batches, in whole numbers; everything else is averaged."""
GRADIENTS = ("router_grad_norm_lm", "router_grad_norm_aux", "router_grad_cosine")


@dataclass(frozen=True)
class Totals:
    """What one step measured over all its micro-batches and ranks."""

    counts: dict[str, Tensor]
    """Integer sums, [L] or [L, E]."""
    means: dict[str, Tensor]
    """Means over micro-batches, [L] or [L, E]; `lm_loss` is a scalar."""
    rank_counts_RLE: Tensor | None
    """Assignments by rank, int64; None in a single process."""


class _Meters:
    """Collects what the micro-batches of one step measure."""

    def __init__(self, sampled: bool) -> None:
        self.sampled = sampled
        self.losses: list[Tensor] = []
        self.layer_sums: list[dict[str, Tensor]] = []
        self.sequences: list[tuple[int, list[str], Tensor]] = []
        self.observations: list[list[Tensor | None]] = []
        self.scores: list[Tensor] = []
        """Of every micro-batch, [L, T, E], where thresholds will be moved by them."""

    @torch.no_grad()
    def add(
        self,
        index: int,
        batch: Batch,
        loss: Tensor,
        layers: list[LayerOutput],
        model: MoETransformer,
        balancer: CombinedBalancer,
    ) -> None:
        self.losses.append(loss)
        self.observations.append([layer.observed for layer in layers])
        if not layers:  # a dense model: nothing is routed
            nothing_LE = torch.zeros(0, model.config.num_experts, dtype=torch.int64, device=loss.device)
            self.layer_sums.append({"tokens": nothing_LE, "nonfinite_logits": nothing_LE})
            return
        scores_LTE = torch.stack([layer.routing.scores_TE.detach() for layer in layers])
        counts_LBE = torch.stack([layer.counts_BE for layer in layers])
        if has_thresholds(model):
            self.scores.append(scores_LTE)
        sums = {
            "tokens": counts_LBE.sum(1),
            "nonfinite_logits": nonfinite_logits(layers),
            "mean_score": scores_LTE.mean(1),
            # Clamped as in the loss: all scores of a token may underflow to 0.
            "mean_normalised_score": (scores_LTE / scores_LTE.sum(-1, keepdim=True).clamp_min(1e-20)).mean(1),
        }
        dropped = [layer.dropped_BE for layer in layers if layer.dropped_BE is not None]
        if dropped:
            sums["dropped_tokens"] = torch.stack(dropped).sum(1)
        for name in ("aux", "z"):
            values = [getattr(layer.losses, name) for layer in layers]
            if all(v is not None for v in values):
                sums[f"{name}_loss"] = torch.stack(values)
        if self.sampled:
            self.sequences.append((index, batch.domain_names, counts_LBE.transpose(0, 1)))
            self._sample(sums, layers, balancer)
        self.layer_sums.append(sums)

    def _sample(self, sums: dict[str, Tensor], layers: list[LayerOutput], balancer: CombinedBalancer) -> None:
        routings = [layer.routing for layer in layers]
        margins = [m for m in map(choice_margin, routings) if m is not None]
        if margins:
            sums["score_margin"] = torch.stack(margins)
        if balancer.uses_bias:
            sums["switched_slots"] = torch.stack([switched_slots(routing) for routing in routings])

    @property
    def has_counts(self) -> bool:
        """Whether a micro-batch has gone through a mixture layer by now."""
        return bool(self.layer_sums) and len(self.layer_sums[0]["tokens"]) > 0

    def counts_LE(self) -> Tensor:
        """int64 assignments of the whole step."""
        return torch.stack([sums["tokens"] for sums in self.layer_sums]).sum(0)

    def observed(self, balancer: CombinedBalancer, ranks: Ranks = ALONE) -> list[Tensor] | None:
        """Per layer, what the balancer wanted to know of the whole step; None if nothing."""
        layers = list(zip(*self.observations, strict=True))
        known = [[part for part in layer if part is not None] for layer in layers]
        if not known or not all(known):
            return None
        return [balancer.pool(ranks.gather(balancer.pool(parts))) for parts in known]

    def totals(self, ranks: Ranks) -> Totals:
        """Sums and means over the micro-batches of all ranks; each weighs the same."""
        names = self.layer_sums[0].keys()
        counts = {n: torch.stack([sums[n] for sums in self.layer_sums]).sum(0) for n in names & COUNTED}
        means = {
            n: torch.stack([sums[n] for sums in self.layer_sums]).float().mean(0) for n in names - COUNTED
        }
        means["lm_loss"] = torch.stack(self.losses).mean()
        by_rank = ranks.gather_named({name: counts[name] for name in sorted(counts)})
        return Totals(
            counts={name: torch.stack([part[name] for part in by_rank]).sum(0) for name in counts},
            means=ranks.mean_named({name: means[name] for name in sorted(means)}),
            rank_counts_RLE=torch.stack([part["tokens"] for part in by_rank]) if ranks.size > 1 else None,
        )

    def log(
        self,
        config: RunConfig,
        step: int,
        learning_rate: float,
        bias_update_rate: float | None,
        grad_norm: Tensor,
        totals: Totals,
        bias_used_LE: Tensor | None,
        ranks: Ranks,
    ) -> StepLog:
        layers = {**totals.counts, **totals.means}
        lm_loss = layers.pop("lm_loss")
        if bias_used_LE is not None:
            layers["expert_bias"] = bias_used_LE
        return StepLog(
            step=step,
            tokens_seen=(step + 1) * config.training.tokens_per_step,
            learning_rate=learning_rate,
            bias_update_rate=bias_update_rate,
            scalars={"lm_loss": lm_loss, "grad_norm": grad_norm.detach()},
            layers=layers,
            sequences=self._all_sequences(ranks) if self.sampled else [],
            rank_counts_RLE=totals.rank_counts_RLE if self.sampled else None,
        )

    def _all_sequences(self, ranks: Ranks) -> list[tuple[int, list[str], Tensor]]:
        """Those of every rank, on rank 0."""
        if ranks.size == 1:
            return self.sequences
        # They travel between processes, and one process should not open another one's GPU.
        return ranks.collect([(index, domains, counts.cpu()) for index, domains, counts in self.sequences])


class DeviceLog:
    """Holds the logs of a few steps on the device and hands them to the recorder in one go."""

    def __init__(self, recorder: Recorder, device: torch.device, interval_s: float = 0.5) -> None:
        # On a CPU there is nothing to wait for.
        self.recorder, self.interval_s = recorder, interval_s if device.type == "cuda" else 0.0
        self.pending: list[StepLog] = []
        self.seconds = 0.0
        """Of all steps that were fetched."""
        self.drained_at = time.monotonic()

    def add(self, log: StepLog, counts: deque[NDArray[np.int64]]) -> None:
        """Keep a step; every `interval_s` fetch what is pending."""
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
    """Turn a step's log into records; a loss that is not finite stops the run with a sentence."""
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
    """What the mixture layers did."""
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
