"""Copy tensors without waiting for their device, and count expert ids.

PyTorch is imported only where a tensor has already arrived. Shapes: T tokens, K experts per token, E experts.
"""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.recording.values import Refused


def is_tensor(value: Any) -> bool:
    """True for a torch tensor, on any device."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


def own_copy(value: Any) -> Any:
    """A copy that later writes of the loop do not reach.

    A tensor is copied on its own device, in the order of its stream: nothing waits for the device. Layers in
    a list become one tensor where their shapes allow it, since each copy costs a kernel launch.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_tensor(value):
        return value.detach().clone()
    if isinstance(value, list | tuple):
        first = value[0] if value else None
        if len(value) > 1 and is_tensor(first):
            import torch

            # Layers of different widths, on different devices or of other kinds are copied one by one.
            with suppress(RuntimeError, TypeError):
                return torch.stack(value).detach()
        if isinstance(first, np.ndarray) and all(
            isinstance(v, np.ndarray) and v.dtype == first.dtype and v.shape == first.shape for v in value
        ):
            return np.array(value)  # five times as fast as a copy of each
        return [own_copy(v) for v in value]
    return np.array(value)


def ready_events(values: list[Any]) -> list[Any]:
    """CUDA events after which the copies in `values` may be read from another thread."""
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    devices = {part.device for part in flat if is_tensor(part) and part.is_cuda}
    if not devices:
        return []
    import torch

    events = []
    for device in devices:
        event: Any = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        events.append(event)
    return events


def count_ids(ids: Any, num_experts: int, mask: Any = None) -> Any:
    """Assignments of each expert, and in one more cell those of ids beyond the last expert. -> int64 [E + 1].

    ids: [..., K] integers of T tokens, numpy or torch; a negative id is an empty slot. mask: any shape with T
    elements in the order of the tokens; a token counts where it is not 0, so both attention masks and the
    sequence numbers of packed batches will do. Nothing waits for a device. Raises Refused for a wrong shape
    or type.
    """
    if is_tensor(ids):
        return _count_tensor(ids.detach(), num_experts, mask)
    array = np.asarray(ids)
    if array.dtype.kind not in "iu" or array.ndim < 2:
        raise Refused(f"must be integers of the shape [T, K], not {array.dtype} of shape {array.shape}")
    array_TK = array.reshape(-1, array.shape[-1])
    if mask is not None:
        is_kept = np.asarray(mask.detach().cpu() if is_tensor(mask) else mask).reshape(-1) != 0
        _check_mask(is_kept.size, len(array_TK))
        array_TK = array_TK[is_kept]
    flat: NDArray[np.int64] = np.minimum(array_TK.reshape(-1).astype(np.int64), num_experts)
    return np.bincount(flat[flat >= 0], minlength=num_experts + 1).astype(np.int64)


def _count_tensor(ids: Any, num_experts: int, mask: Any) -> Any:
    import torch

    if ids.dtype.is_floating_point or ids.dtype == torch.bool or ids.ndim < 2:
        raise Refused(f"must be integers of the shape [T, K], not {ids.dtype} of shape {tuple(ids.shape)}")
    ids_TK = ids.reshape(-1, ids.shape[-1]).long()
    counted = ids_TK >= 0
    if mask is not None:
        is_kept = torch.as_tensor(mask, device=ids.device).reshape(-1) != 0
        _check_mask(is_kept.numel(), len(ids_TK))
        counted = counted & is_kept[:, None]
    cells = ids_TK.clamp(0, num_experts).reshape(-1)
    zeros = torch.zeros(num_experts + 1, dtype=torch.int64, device=ids.device)
    return zeros.scatter_add_(0, cells, counted.reshape(-1).long())


def _check_mask(size: int, num_tokens: int) -> None:
    if size != num_tokens:
        raise Refused(f"needs a mask of as many elements as there are tokens ({num_tokens}), not {size}")
