"""Data parallel training under `torchrun`: several processes share the micro-batches of a step.

    torchrun --nproc-per-node 4 -m explorer train --set training.gradient_accumulation_steps=4

A run's configuration is independent of the number of processes: the step's micro-batches
(`gradient_accumulation_steps` of them) are divided among ranks, so the same configuration gives the same
counts and biases on one process or four. Counts are summed over ranks before any rule reads them
(pitfall P12: the mean of four signs is not the sign of the sum). Rank 0 records.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from explorer.config.rule_text import AuxLoss
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, TrainingError


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The process group that trains one run, seen from this process; free for a single process."""

    rank: int = 0
    size: int = 1
    control: Any = None
    """A CPU process group for flags and objects, so that a GPU never waits for them."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> range:
        """Indices of this rank's micro-batches out of `total`: one contiguous range."""
        each = total // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every rank, in order of rank; all of the same shape."""
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return parts

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in the tensor's own shape; exact for integers."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def gather_named(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Several tensors of one type from every rank, in one exchange, each in its own shape."""
        if self.size == 1 or not tensors:
            return [dict(tensors)]
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors.values()])
        return [_unpack(part, tensors) for part in self.gather(flat)]

    def mean_named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Means over ranks of several float tensors, each in its own shape."""
        if self.size == 1:
            return dict(tensors)
        parts = self.gather_named(tensors)
        return {name: torch.stack([part[name] for part in parts]).mean(0) for name in tensors}

    def sum_gradients(self, model: nn.Module) -> None:
        """Add up the gradients of all ranks, in place, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, _parts(flat, gradients), strict=True):
            gradient.copy_(part)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on any rank; one exchange, same result on every rank."""
        if self.size == 1:
            return flags
        votes = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(votes, group=self.control)
        return tuple(vote > 0 for vote in votes.tolist())

    def collect(self, part: Sequence[Any]) -> list[Any]:
        """Items of all ranks in order of rank, on rank 0; an empty list elsewhere."""
        if self.size == 1:
            return list(part)
        parts: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(list(part), parts, group=self.control)
        return [item for items in parts or [] for item in items]

    def broadcast(self, value: Any) -> Any:
        """Broadcast `value` of rank 0 to every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.control)
        return box[0]


SINGLE_PROCESS = Ranks()


def _unpack(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(like, _parts(flat, like.values()), strict=True))


def _parts(flat: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """One long vector cut into the shapes of these tensors."""
    shapes = [tensor.shape for tensor in like]
    parts = torch.split(flat, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """The ranks that `torchrun` started, or this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    if not dist.is_available():
        raise TrainingError(
            f"WORLD_SIZE = {size}: this torch has no torch.distributed; start without torchrun."
        )
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        control = dist.new_group(backend="gloo")
        yield Ranks(rank=dist.get_rank(), size=size, control=control)
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """True on rank 0 of `torchrun`, the process that logs, and in a single process."""
    return os.environ.get("RANK", "0") == "0"


def check_shares(config: RunConfig, ranks: Ranks) -> None:
    """Reject a step that cannot be divided evenly, and a loss that depends on the number of ranks."""
    total = config.training.gradient_accumulation_steps
    if total % ranks.size:
        raise ConfigError(
            "training.gradient_accumulation_steps",
            total,
            f"must be a multiple of the {ranks.size} processes, which share the micro-batches of a step",
            f"set it to {-(-total // ranks.size) * ranks.size} or start another number of processes",
        )
    every = (config.balancer.rules, *(change.rules for change in config.balancer.schedule))
    for rule in (rule for rules in every for rule in rules):
        if ranks.size > 1 and isinstance(rule, AuxLoss) and rule.scope == "global_buffered":
            raise ConfigError(
                "aux_loss.scope",
                rule.scope,
                "fills its buffer in one process and would be another loss on several",
                "use global_batch, which counts the whole step on all of them",
            )
