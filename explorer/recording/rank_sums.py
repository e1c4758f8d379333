"""Counts of all ranks under `torch.distributed`, added up before they are written.

Every rank takes part in every step's exchange, even in a step whose values it cannot use: if one rank skipped
it, the others would wait forever. One exchange per step, started in the training loop and waited for in the
recorder's thread. float64 holds counts up to 2^53 exactly.

Shapes: L MoE layers, E experts, C the experts of all layers, R ranks.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from explorer.errors import RunFolderError
from explorer.recording.layout import Layout
from explorer.recording.notices import Notices
from explorer.recording.tensors import is_tensor
from explorer.recording.values import EXACT_BITS, Refused

RanksMode = Literal["sum", "keep", "off"]
HEAD = 4
"""Cells before the counts: usable counts, usable drops, ranks with a loss, the loss."""


@dataclass(frozen=True, kw_only=True)
class RankTotals:
    """What the ranks gave together for one step."""

    counts: Any
    """[L, E], or a list of one array per layer; None unless every rank gave usable counts."""
    dropped: Any
    by_rank: Any
    """[R, L, E] of counts where the ranks are kept apart, else None."""
    lm_loss: float | None
    """Mean over the ranks that gave one."""
    num_without: int
    """Ranks without usable counts."""


def _is_initialized() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch and torch.distributed.is_available() and torch.distributed.is_initialized())


def num_ranks(group: Any = None) -> int:
    """The number of ranks of the group; 1 without a process group (yet)."""
    return int(sys.modules["torch"].distributed.get_world_size(group)) if _is_initialized() else 1


def this_rank(group: Any = None) -> tuple[int, int]:
    """(rank in the group, its number of ranks) of this process.

    Without a process group (yet) there is one rank; torchrun says in RANK which one this will be.
    """
    if not _is_initialized():
        rank = os.environ.get("RANK", "0")
        return int(rank) if rank.isdigit() else 0, 1
    return sys.modules["torch"].distributed.get_rank(group), num_ranks(group)


def await_recorders(group: Any, notices: Notices) -> None:
    """Wait until every rank of the group has made its recorder. Raises RunFolderError if some do not.

    A recorder on rank 0 alone is a common mistake, and an expensive one: its first exchange would meet
    another collective of the training on the other ranks. Nothing is exchanged here: a counter in the
    key-value store of the process group is read.
    """
    _, size = this_rank(group)
    if size == 1:
        return
    import torch.distributed as dist

    try:
        store = dist.distributed_c10d._get_default_store()
    except (AttributeError, ValueError, RuntimeError):  # not public: without it, there is no early warning
        return
    ranks = ",".join(map(str, dist.get_process_group_ranks(group or dist.group.WORLD)))
    _made[ranks] += 1
    await_count(store, f"explorer recorder {_made[ranks]} of {ranks}", size, notices)


_made: Counter[str] = Counter()
"""Recorders of this process by the ranks of their group: the nth of each rank belong together."""


def await_count(
    store: Any, key: str, size: int, notices: Notices, *, patience_s: float = 600.0, notice_s: float = 10.0
) -> None:
    """Add 1 to `key` and wait until it is `size`. Raises RunFolderError after `patience_s`."""
    started = time.monotonic()
    num_made = store.add(key, 1)
    while num_made < size:
        waited_s = time.monotonic() - started
        remedy = 'make it on every rank, after init_process_group, or pass ranks="off" to record rank 0 alone'
        if waited_s > patience_s:
            raise RunFolderError(f"only {num_made} of {size} ranks made a Recorder; {remedy}.")
        if waited_s > notice_s:
            so_far = f"{num_made} of {size} ranks made a Recorder, which waits for the others"
            notices.once("recorders", f"{so_far}; {remedy}.")
        time.sleep(0.02 + min(1.0, waited_s / 10))  # a thousand ranks ask one store
        num_made = store.add(key, 0)


class RankSum:
    """The exchange of one step, on its way. Made on every rank, in the order of the steps."""

    def __init__(self, values: Mapping[str, Any], layout: Layout, *, keep: bool, group: Any) -> None:
        import torch
        import torch.distributed as dist

        self._layout, self._keep = layout, keep
        on_gpu = "nccl" in str(dist.get_backend(group))
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self.problem: str | None = None
        buffer = torch.zeros(HEAD + 2 * sum(layout.widths), dtype=torch.float64, device=device)
        try:
            self._fill(buffer, values)
        except Exception as error:  # the others wait for this rank: it takes part with nothing
            self.problem = str(error)
            buffer.zero_()
        if keep:
            self._parts = [torch.empty_like(buffer) for _ in range(dist.get_world_size(group))]
            self._work = dist.all_gather(self._parts, buffer, group=group, async_op=True)
        else:
            self._parts = [buffer]
            self._work = dist.all_reduce(buffer, group=group, async_op=True)
        self._num_ranks = dist.get_world_size(group)
        self._buffer = buffer

    def _fill(self, buffer: Any, values: Mapping[str, Any]) -> None:
        cells = (len(buffer) - HEAD) // 2
        loss = values.get("lm_loss")
        if loss is not None:
            # The writing thread reports a value that is not a number.
            with suppress(TypeError, ValueError, RuntimeError):
                buffer[3] = loss
                buffer[2] = 1
        counts, dropped = values.get("counts"), values.get("dropped")
        if counts is not None:
            flat, usable = self._flat(counts, buffer)
            excess = values.get("num_out_of_range")
            buffer[HEAD : HEAD + cells] = flat
            buffer[0] = usable if excess is None else usable * (excess == 0)
        if dropped is not None:
            flat, usable = self._flat(dropped, buffer)
            buffer[HEAD + cells :] = flat
            buffer[1] = usable

    def _flat(self, value: Any, like: Any) -> tuple[Any, Any]:
        """[C] in float64, and 1 where these are whole numbers that their type holds unrounded, else 0."""
        import torch

        parts = value if isinstance(value, list) and any(map(_is_array, value)) else [value]
        usable = torch.ones((), dtype=torch.float64, device=like.device)
        flats = []
        for part in parts:
            tensor = part if is_tensor(part) else torch.as_tensor(np.asarray(part))
            limit = 2.0 ** EXACT_BITS.get(str(tensor.dtype).rpartition(".")[2], 53)
            flat = tensor.reshape(-1).to(like.device, torch.float64)
            usable = usable * ((flat >= 0) & (flat == flat.floor()) & (flat <= limit)).all()
            flats.append(flat)
        flat = torch.cat(flats)
        layout = self._layout
        if not layout.is_even and flat.numel() == layout.num_layers * layout.num_experts:
            flat = flat[torch.from_numpy(layout.is_there_LE.reshape(-1)).to(flat.device)]
        if flat.numel() != sum(layout.widths):
            raise Refused(f"must hold {sum(layout.widths)} counts, one per expert of every layer")
        return flat, usable

    def result(self) -> RankTotals:
        """Wait for all ranks. Raises what torch.distributed raises when one of them is gone."""
        self._work.wait()
        rows: NDArray[np.float64] = np.stack([part.cpu().numpy() for part in self._parts])
        total = rows.sum(0)
        cells = (len(total) - HEAD) // 2
        complete = total[0] == self._num_ranks
        by_rank = rows[:, HEAD : HEAD + cells] if self._keep and complete else None
        return RankTotals(
            counts=self._shaped(total[HEAD : HEAD + cells]) if complete else None,
            dropped=self._shaped(total[HEAD + cells :]) if total[1] == self._num_ranks else None,
            by_rank=None if by_rank is None else self._shaped(by_rank),
            lm_loss=float(total[3] / total[2]) if total[2] else None,
            num_without=int(self._num_ranks - total[0]),
        )

    def _shaped(self, cells: NDArray[np.float64]) -> Any:
        """[..., C] -> [..., L, E], or a list of one array [..., E] per layer."""
        layout = self._layout
        if layout.is_even:
            return cells.reshape(*cells.shape[:-1], layout.num_layers, layout.num_experts)
        return [cells[..., part] for _, part in layout.slices()]


def _is_array(value: Any) -> bool:
    return is_tensor(value) or isinstance(value, np.ndarray)
