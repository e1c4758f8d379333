"""Our mixture layer with somebody else's weights, and what it answers."""

from dataclasses import dataclass

import numpy as np
import torch
from strategies import smallest_gap
from torch import Tensor, nn

from explorer.config.rule_text import LossFree
from explorer.config.run import ModelConfig
from explorer.model.balancers import CombinedBalancer
from explorer.model.router import LayerContext
from explorer.model.transformer import LayerOutput, MoELayer
from explorer.routing.balancing import biased_scores

D, F, E = 16, 24, 8
"""Width of the model, width of an expert, routed experts."""


@dataclass(frozen=True)
class Answer:
    """Output [B, S, D], gate weights by expert [T, E] (0 where not chosen), and the layer's report."""

    out_BSD: Tensor
    gates_TE: Tensor
    layer: LayerOutput

    @property
    def chosen_TE(self) -> Tensor:
        """True where a token goes to an expert."""
        ids_TK = self.layer.routing.topk_expert_ids_TK
        return torch.zeros_like(self.gates_TE, dtype=torch.bool).scatter(1, ids_TK, True)


def by_expert(ids_TK: Tensor, weights_TK: Tensor, num_experts: int = E) -> Tensor:
    """Weights at their expert's place, [T, E]: two routers may list a token's experts in another order."""
    return torch.zeros(len(ids_TK), num_experts, dtype=weights_TK.dtype).scatter(1, ids_TK, weights_TK)


def make_layer(top_k: int = 2, vocab_size: int = 0, **changes) -> MoELayer:
    """A layer of E experts in float32 by the plain loop; `changes` are fields of ModelConfig."""
    config = {"num_layers": 1, "hidden_size": D, "num_heads": 2, "num_experts": E, "top_k": top_k}
    config |= {"expert_hidden_size": F, "dispatch": "loop"}
    return MoELayer(ModelConfig(**(config | changes)), vocab_size)


@torch.no_grad()
def copy_experts(layer: MoELayer, gate_up_E2FD: Tensor, down_EDF: Tensor) -> None:
    """Their stacked weights [out, in], gate above up, into ours [in, out]."""
    layer.experts.gate_up_EDF2.copy_(gate_up_E2FD.transpose(1, 2))
    layer.experts.down_EFD.copy_(down_EDF.transpose(1, 2))


def answer(layer: MoELayer, x_BSD: Tensor, bias_E: Tensor | None = None) -> Answer:
    """One forward pass; with a bias as under loss-free balancing."""
    if bias_E is not None:
        layer.router.expert_bias_E.copy_(bias_E)
    balancer = CombinedBalancer([] if bias_E is None else [LossFree()])
    context = LayerContext(layer=0, tokens_T=torch.zeros(x_BSD[..., 0].numel(), dtype=torch.int64))
    out_BSD, report = layer(x_BSD, balancer, context)
    compared = report.routing.scores_TE.detach()
    if bias_E is not None:
        compared = biased_scores(compared, bias_E, "additive")
    # Two right answers may differ where scores tie; these inputs have no near ties.
    assert smallest_gap(compared.tolist()) > 1e-6
    routing = report.routing
    return Answer(out_BSD, by_expert(routing.topk_expert_ids_TK, routing.gate_weights_TK), report)


def fill(module: nn.Module, seed: int = 0, std: float = 0.5) -> None:
    """Normal weights in every parameter of a peer's module, whatever its own initialisation leaves out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std, generator=generator)


def inputs(seed: int = 1, num_sequences: int = 3, length: int = 10) -> Tensor:
    """Hidden states [B, S, D] of standard deviation 1."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((num_sequences, length, D)).astype(np.float32))
