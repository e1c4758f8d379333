"""Find the routers of a PyTorch model and count the experts that they select.

    watcher = watch(model)
    with Recorder("runs/", **watcher.sizes) as rec:
        for step, batch in enumerate(batches):
            ...
            rec.log(step, **watcher.take(), lm_loss=loss)

The hooks read what a router returns, never its logits: a bias, expert groups and noise have acted by then.
A router is known by its structure: a module that states its number of experts and its top-k, holds no experts
itself, and returns integer ids [..., K] (transformers, torchtitan) or a map of truth values [..., E]
(Megatron). Shapes: T tokens, K experts per token, E experts, B sequences, S positions.
"""

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from explorer.errors import RunFolderError
from explorer.recording.notices import Notices
from explorer.recording.tensors import count_ids, is_tensor
from explorer.recording.values import Refused

if TYPE_CHECKING:
    from torch import Tensor, nn

TOP_K_NAMES = ("top_k", "topk", "num_experts_per_tok", "moe_top_k")
NUM_EXPERTS_NAMES = ("num_experts", "num_local_experts", "n_routed_experts", "num_moe_experts")
EXPERTS_NAMES = ("experts", "routed_experts")
"""Children that make a module the layer around a router, not the router."""
BIAS_NAMES = ("e_score_correction_bias", "expert_bias", "expert_bias_E", "moe_statics")
"""Where a bias that only selects is kept, in the router or in the layer around it."""
ROUTER_NAME = re.compile(r"rout|gate$|gating", re.IGNORECASE)
MTP_NAME = re.compile(r"(^|[._])(mtp|nextn)", re.IGNORECASE)


def watch(model: "nn.Module", *, training_only: bool = True) -> "RouterWatch":
    """Hook every router of `model`.

    training_only: count only in training mode; False counts evaluation and generation too. What activation
    checkpointing computes a second time is never counted. Raises RunFolderError when no router is there.
    """
    return RouterWatch(model, training_only=training_only)


class RouterWatch:
    """Counts of the routers of one model since the last `take`. Call it from the thread that trains."""

    def __init__(self, model: "nn.Module", *, training_only: bool = True) -> None:
        self._training_only = training_only
        self._notices = Notices()
        self._mask: Any = None
        self._mask_place = _mask_place(model)
        self._routers = [_Router(name, module, model) for name, module in routers_of(model)]
        if not self._routers:
            raise RunFolderError(
                f"{type(model).__name__} has no module that looks like a router (top_k and num_experts, "
                "a name with rout, gate or gating, and no experts of its own); count in your own code and "
                "give Recorder.log tokens_per_expert."
            )
        self._handles = [
            model.register_forward_pre_hook(self._before_model, with_kwargs=True),
            model.register_forward_hook(self._after_model, always_call=True),
        ]
        for router in self._routers:
            self._handles.append(router.module.register_forward_hook(self._hook_of(router), with_kwargs=True))

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments of `Recorder`: num_layers, num_experts, top_k, layer_numbers, layer_names."""
        widths = [router.num_experts for router in self._routers]
        return {
            "num_layers": len(widths),
            "num_experts": widths[0] if len(set(widths)) == 1 else widths,
            "top_k": max(router.top_k for router in self._routers),
            "layer_numbers": _layer_numbers([(router.number, router.name) for router in self._routers]),
            "layer_names": [router.name for router in self._routers],
        }

    def set_mask(self, mask: Any) -> None:
        """Leave out tokens where `mask` is 0, in the next forward pass only.

        For models whose `forward` has no attention_mask. One element per token, in the order in which the
        router sees them; or [B, S], of which the last positions count where fewer are computed.
        """
        self._mask = mask

    def take(self) -> dict[str, Any]:
        """Arguments of `Recorder.log`: the counts since the last call, and the biases used in them.

        tokens_per_expert: one tensor [E] per layer, on the device of its router. Empty before the first pass.
        """
        if all(router.counts_E is None for router in self._routers):
            return {}
        counts = [router.taken_counts() for router in self._routers]
        biases = [router.bias_E for router in self._routers]
        for router in self._routers:
            router.counts_E = router.bias_E = None
        taken: dict[str, Any] = {"tokens_per_expert": counts}
        if all(bias is not None for bias in biases):
            taken["expert_bias"] = biases
        return taken

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _before_model(self, module: "nn.Module", args: Any, kwargs: dict[str, Any]) -> None:
        place = self._mask_place
        mask = kwargs.get("attention_mask", args[place] if place is not None and place < len(args) else None)
        if mask is None:
            return
        if is_tensor(mask) and mask.ndim == 2:
            self._mask = mask
        else:
            self._notices.once(
                "mask", "attention_mask is not [B, S]: padding is counted; give set_mask one that is."
            )

    def _after_model(self, module: "nn.Module", args: Any, output: Any) -> None:
        self._mask = None

    def _hook_of(self, router: "_Router") -> Callable[..., None]:
        def hook(module: "nn.Module", args: Any, kwargs: dict[str, Any], output: Any) -> None:
            if _is_recomputing() or (self._training_only and not module.training):
                return
            try:
                router.count(args, kwargs, output, self._mask)
            except Exception as error:
                self._notices.once(
                    router.name, f"{router.name}: the experts of a pass are not counted ({error})."
                )

        return hook


class _Router:
    """One router, with the counts since the last `take`."""

    def __init__(self, name: str, module: "nn.Module", model: "nn.Module") -> None:
        self.name, self.module = name, module
        self.top_k, self.num_experts = _size(module, TOP_K_NAMES), _size(module, NUM_EXPERTS_NAMES)
        numbers = [int(part) for part in name.split(".") if part.isdigit()]
        self.number = numbers[0] if numbers else -1
        parent = model.get_submodule(name.rpartition(".")[0])
        self._around = (module, parent)
        self.counts_E: Tensor | None = None
        self.bias_E: Tensor | None = None

    def count(self, args: Any, kwargs: dict[str, Any], output: Any, mask: Any) -> None:
        """Add one pass. Raises Refused when the output holds no selection or the mask does not fit."""
        ids = self._selected(output)
        num_tokens = ids.numel() // ids.shape[-1]
        counts_E = count_ids(ids, self.num_experts, _fitting(mask, num_tokens))[:-1]
        self.counts_E = counts_E if self.counts_E is None else self.counts_E + counts_E
        if self.bias_E is None:
            self.bias_E = self._bias(args, kwargs)

    def taken_counts(self) -> "Tensor":
        """Counts, zeros where the router was not used."""
        if self.counts_E is None:
            import torch

            return torch.zeros(self.num_experts, dtype=torch.int64)
        return self.counts_E

    def _selected(self, output: Any) -> "Tensor":
        """Ids [..., K]; of a map [..., E] of truth values the ids of its true cells, -1 elsewhere."""
        import torch

        tensors = [
            part for part in (output if isinstance(output, tuple | list) else [output]) if is_tensor(part)
        ]
        for tensor in tensors:
            if tensor.dtype == torch.bool and tensor.ndim >= 2 and tensor.shape[-1] == self.num_experts:
                return torch.where(tensor, torch.arange(self.num_experts, device=tensor.device), -1)
        for tensor in tensors:
            is_whole = not tensor.dtype.is_floating_point and tensor.dtype != torch.bool
            if is_whole and tensor.ndim >= 2 and tensor.shape[-1] == self.top_k:
                local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
                return local
        raise Refused(f"returns no integers [..., {self.top_k}] and no map [..., {self.num_experts}]")

    def _bias(self, args: Any, kwargs: dict[str, Any]) -> "Tensor | None":
        """A copy of the bias that this pass selected with, or None where the router has none."""
        from_call = [value for key, value in kwargs.items() if key in BIAS_NAMES]
        own = [getattr(module, name, None) for module in self._around for name in BIAS_NAMES]
        for bias in [*from_call, *own]:
            if is_tensor(bias) and tuple(bias.shape) == (self.num_experts,):
                copy: Tensor = bias.detach().clone()
                return copy
        return None


def routers_of(model: "nn.Module") -> list[tuple[str, "nn.Module"]]:
    """(name, module) of everything that looks like a router, in the order of the model."""
    routers = []
    for name, module in model.named_modules():
        has_sizes = _size(module, TOP_K_NAMES) > 0 and _size(module, NUM_EXPERTS_NAMES) > 0
        if not has_sizes or any(hasattr(module, child) for child in EXPERTS_NAMES):
            continue
        if ROUTER_NAME.search(type(module).__name__) or ROUTER_NAME.search(name.rpartition(".")[2]):
            routers.append((name, module))
    inner = {name for name, _ in routers}
    return [(name, module) for name, module in routers if not _lies_in(name, inner)]


def _lies_in(name: str, others: set[str]) -> bool:
    """Whether a module is part of another one of these."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in others for end in range(1, len(parts)))


def _size(module: Any, names: tuple[str, ...]) -> int:
    """A size that the module itself or its config states; 0 where neither does."""
    for holder in (module, getattr(module, "config", None)):
        for name in (*names, "moe_router_topk") if names is TOP_K_NAMES else names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return 0


def _layer_numbers(routers: list[tuple[int, str]]) -> list[int] | None:
    """The numbers in the modules' names; None where they do not ascend, as in several stacks.

    Blocks of multi-token prediction (MTP) count from 0 again; they are numbered after the last layer.
    """
    numbers = [number for number, name in routers if not MTP_NAME.search(name)]
    if not numbers or numbers != sorted(set(numbers)) or min(numbers) < 0:
        return None
    is_last = not any(MTP_NAME.search(name) for _, name in routers[: len(numbers)])
    extra = range(numbers[-1] + 1, numbers[-1] + 1 + len(routers) - len(numbers))
    return [*numbers, *extra] if is_last else None


def _mask_place(model: "nn.Module") -> int | None:
    """Position of attention_mask among the arguments of the model's `forward`; None where it has none.

    A wrapper such as DistributedDataParallel passes on what it is given to its `module`.
    """
    try:
        names = list(inspect.signature(getattr(model, "module", model).forward).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("attention_mask") if "attention_mask" in names else None


def _fitting(mask: Any, num_tokens: int) -> Any:
    """The part of a mask [B, S] that belongs to these tokens: while generating, the last positions."""
    if mask is None or not is_tensor(mask) or mask.ndim != 2 or mask.numel() == num_tokens:
        return mask
    positions, rest = divmod(num_tokens, mask.shape[0])
    return mask if rest or positions > mask.shape[1] else mask[:, -positions:]


def _is_recomputing() -> bool:
    """True inside a backward pass, where activation checkpointing runs a forward pass again."""
    import torch

    return bool(torch._C._current_graph_task_id() != -1)  # -1 outside of the autograd engine
