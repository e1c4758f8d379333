"""Routed and shared experts (SwiGLU), and three ways to dispatch tokens to them.

grouped   sort the assignments by expert, one grouped matrix product per projection (default)
loop      the same order, one matrix product per expert; any shape
dense     every expert on every token, weighted; slow and simple, the oracle of the tests

Every assignment that is served is computed: all of them, unless a capacity drops some.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.errors import ConfigError
from explorer.model.router import Routing


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) · up of the two halves of the last axis: [..., F2] -> [..., F]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class SwiGLU(nn.Module):
    """One dense feed-forward block: dense layers and shared experts."""

    def __init__(self, hidden_size: int, inner_size: int, init_std: float) -> None:
        super().__init__()
        self.gate_up = nn.Linear(hidden_size, 2 * inner_size, bias=False)
        self.down = nn.Linear(inner_size, hidden_size, bias=False)
        for layer in (self.gate_up, self.down):
            nn.init.normal_(layer.weight, std=init_std)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        out: Tensor = self.down(swiglu(self.gate_up(x)))
        return out


class Experts(nn.Module):
    """E fine-grained SwiGLU experts in two stacked weights."""

    def __init__(
        self, num_experts: int, hidden_size: int, inner_size: int, init_std: float, dispatch: str
    ) -> None:
        super().__init__()
        self.gate_up_EDF2 = nn.Parameter(torch.empty(num_experts, hidden_size, 2 * inner_size))
        self.down_EFD = nn.Parameter(torch.empty(num_experts, inner_size, hidden_size))
        nn.init.normal_(self.gate_up_EDF2, std=init_std)
        nn.init.normal_(self.down_EFD, std=init_std)
        self.dispatch = dispatch

    def forward(self, x_TD: Tensor, routing: Routing, counts_E: Tensor) -> Tensor:
        """Σ over the chosen experts of gate · expert(x), [T, D]. counts_E: int64, served assignments."""
        kind = self.dispatch
        if kind in ("auto", "grouped"):
            kind = self._grouped_or_loop(x_TD)
        if kind == "dense":
            return self._dense(x_TD, routing)
        order_A = served_in_order(routing)
        token_A = order_A // routing.topk_expert_ids_TK.shape[1]
        sorted_AD = x_TD.index_select(0, token_A)
        product = self._grouped if kind == "grouped" else self._loop
        out_AD = product(sorted_AD, counts_E)
        gates_A1 = routing.gate_weights_TK.flatten().index_select(0, order_A).unsqueeze(-1)
        weighted_AD = out_AD * gates_A1.to(out_AD.dtype)
        return torch.zeros_like(x_TD, dtype=out_AD.dtype).index_add(0, token_A, weighted_AD)

    def _grouped_or_loop(self, x_TD: Tensor) -> str:
        """The grouped product where it fits. Raises ConfigError where it does not fit and was requested."""
        if grouped_fits(self.gate_up_EDF2, self.down_EFD, x_TD):
            return "grouped"
        if self.dispatch == "grouped":
            raise ConfigError(
                "model.dispatch",
                "grouped",
                "needs model.hidden_size and model.expert_hidden_size in whole 16 bytes "
                f"({16 // product_dtype(x_TD).itemsize} numbers), and on CUDA compute capability 8 or newer",
                "change the sizes or use dispatch=auto",
            )
        return "loop"

    def _grouped(self, sorted_AD: Tensor, counts_E: Tensor) -> Tensor:
        ends_E = counts_E.cumsum(0).to(torch.int32)
        dtype = product_dtype(sorted_AD)
        inner_AF2 = F.grouped_mm(sorted_AD.to(dtype), self.gate_up_EDF2.to(dtype), offs=ends_E)
        return F.grouped_mm(swiglu(inner_AF2), self.down_EFD.to(dtype), offs=ends_E)

    def _loop(self, sorted_AD: Tensor, counts_E: Tensor) -> Tensor:
        # The only place where the host needs the counts, and so waits for a GPU: `auto`
        # comes here only where the grouped product cannot be used.
        parts = torch.split(sorted_AD, counts_E.tolist())
        return torch.cat(
            [swiglu(part @ self.gate_up_EDF2[e]) @ self.down_EFD[e] for e, part in enumerate(parts)]
        )

    def _dense(self, x_TD: Tensor, routing: Routing) -> Tensor:
        # The last column collects the empty slots, whose gate is 0.
        gates_TX = F.pad(torch.zeros_like(routing.scores_TE), (0, 1))
        gates_TE = gates_TX.scatter(1, routing.topk_expert_ids_TK, routing.gate_weights_TK)[:, :-1]
        inner_ETF = swiglu(torch.einsum("td,edf->etf", x_TD, self.gate_up_EDF2))
        out_ETD = torch.einsum("etf,efd->etd", inner_ETF, self.down_EFD)
        return torch.einsum("etd,te->td", out_ETD, gates_TE.to(out_ETD.dtype))


def served_in_order(routing: Routing) -> Tensor:
    """Positions in the flat [T · K] of the assignments that are served, sorted by expert, int64 [A]."""
    ids_A = routing.topk_expert_ids_TK.flatten()
    if routing.served_TK is None:
        return ids_A.argsort(stable=True)
    # Only the device knows how many there are, so the host waits for a GPU here.
    served_A = routing.served_TK.flatten().nonzero().squeeze(1)
    return served_A[ids_A[served_A].argsort(stable=True)]


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision of matrix products with `x` (any shape): that of autocast where it is on.

    `grouped_mm` is not among the operations that autocast casts, so it is done by hand.
    """
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def grouped_fits(gate_up: Tensor, down: Tensor, x: Tensor) -> bool:
    """Whether `grouped_mm` exists and every row is 16-byte aligned, as it requires.

    gate_up: [E, D, F2]; down: [E, F, D]; x: [..., D].
    The rows are those of the product, which under autocast are half as long as those of `x`.
    """
    if not hasattr(F, "grouped_mm"):
        return False
    # The operation itself rejects older GPUs.
    if x.device.type == "cuda" and torch.cuda.get_device_capability(x.device) < (8, 0):
        return False
    widths = (gate_up.shape[1], gate_up.shape[2], down.shape[1], down.shape[2])
    return all(width * product_dtype(x).itemsize % 16 == 0 for width in widths)
