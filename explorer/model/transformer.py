"""A small decoder-only language model with mixture-of-experts layers.

Pre-norm blocks: x + attention(norm(x)), then x + ffn(norm(x)). Routing decisions are returned, not
stored in the modules: only the training loop counts, so evaluation and recomputation can never move
a bias.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.config.run import ModelConfig
from explorer.model.balancers import CombinedBalancer, LayerBatch, LayerLosses
from explorer.model.choose import choose, make_router
from explorer.model.experts import Experts, SwiGLU
from explorer.model.router import ForwardContext, LayerContext, Router, Routing, sequence_counts


@dataclass(frozen=True)
class LayerOutput:
    """One MoE layer's part of a forward pass."""

    routing: Routing
    counts_BE: Tensor
    """Demand: assignments per sequence before capacity, int64."""
    losses: LayerLosses
    dropped_BE: Tensor | None = None
    """Of these, the dropped ones (beyond capacity); None: no capacity limit."""
    observed: Tensor | None = None
    """The balancer's observation, beside the counts, for its update."""


@dataclass
class ModelOutput:
    """Logits and, layer by layer, the routing behind them."""

    logits_BSV: Tensor
    layers: list[LayerOutput] = field(default_factory=list)


class Attention(nn.Module):
    """Causal multi-head attention."""

    def __init__(self, config: ModelConfig, sequence_length: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads, self.rotary = config.num_heads, config.position == "rotary"
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        for layer in (self.qkv, self.out):
            nn.init.normal_(layer.weight, std=config.init_std)
        if self.rotary:
            cos, sin = rotary_tables(sequence_length, width // config.num_heads)
            self.register_buffer("cos_SX", cos, persistent=False)
            self.register_buffer("sin_SX", sin, persistent=False)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]; S is at most the sequence length of the rotary tables."""
        batch, length, width = x_BSD.shape
        qkv = self.qkv(x_BSD).view(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.rotary:
            cos, sin = self.cos_SX[:length], self.sin_SX[:length]  # type: ignore[index]
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


def rotary_tables(length: int, head_size: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """cos and sin of position · base^(-2i/d), [S, X] each, X = d/2 (RoFormer, arXiv 2104.09864)."""
    frequencies = base ** (-torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + X]) by their angle; [..., S, 2X] -> [..., S, 2X]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class MoELayer(nn.Module):
    """Router, routed experts and optional shared experts."""

    def __init__(self, config: ModelConfig, vocab_size: int = 0, layer: int = 0) -> None:
        """`vocab_size` and `layer`, counted among MoE layers, are needed by hash routing."""
        super().__init__()
        self.config = config
        self.router = make_router(config, vocab_size=vocab_size, layer=layer)
        self.experts = Experts(
            config.num_experts,
            config.hidden_size,
            config.expert_hidden_size,
            config.init_std,
            config.dispatch,
        )
        # S shared experts of width F are one SwiGLU of width S·F.
        shared = config.num_shared_experts * config.expert_hidden_size
        self.shared = SwiGLU(config.hidden_size, shared, config.init_std) if shared else None

    def forward(
        self, x_BSD: Tensor, balancer: CombinedBalancer, context: LayerContext
    ) -> tuple[Tensor, LayerOutput]:
        """[B, S, D] -> [B, S, D] without the residual, and the layer's routing, counts and losses."""
        batch, _, width = x_BSD.shape
        x_TD = x_BSD.reshape(-1, width)
        routing = choose(self.router, x_TD, self.config, balancer.bias_form, context)
        counts_BE = sequence_counts(routing.topk_expert_ids_TK, batch, self.config.num_experts)
        dropped_BE = None
        served_E = counts_BE.sum(0)
        if routing.served_TK is not None:
            served_TK = routing.topk_expert_ids_TK.where(routing.served_TK, self.config.num_experts)
            served_BE = sequence_counts(served_TK, batch, self.config.num_experts)
            dropped_BE, served_E = counts_BE - served_BE, served_BE.sum(0)
        out_TD = self.experts(x_TD, routing, served_E)
        if self.shared is not None:
            out_TD = out_TD + self.shared(x_TD)
        losses, observed = self._balance(balancer, routing, counts_BE, context)
        return out_TD.view_as(x_BSD), LayerOutput(routing, counts_BE, losses, dropped_BE, observed)

    def _balance(
        self, balancer: CombinedBalancer, routing: Routing, counts_BE: Tensor, context: LayerContext
    ) -> tuple[LayerLosses, Tensor | None]:
        """Losses and the balancer's observation; nothing without gradient (evaluation, counting)."""
        if not torch.is_grad_enabled():
            return LayerLosses(), None
        batch = LayerBatch(
            routing,
            counts_BE,
            step_counts_E=context.step_counts_E,
            earlier_counts_E=context.earlier_counts_E,
            expert_bias_E=self.router.expert_bias_E if balancer.uses_bias else None,
            seed=context.layer_seed,
            router_weight_ED=self.router.weight_ED,
        )
        with torch.no_grad():
            observed = balancer.observe(batch)
        return balancer.losses(batch), observed


class Block(nn.Module):
    """Transformer block `index`: dense, or with an MoE layer."""

    def __init__(self, config: ModelConfig, *, vocab_size: int, sequence_length: int, index: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.hidden_size, eps=1e-6)
        self.attention = Attention(config, sequence_length)
        self.ffn_norm = nn.RMSNorm(config.hidden_size, eps=1e-6)
        self.ffn: SwiGLU | MoELayer
        dense_width = _dense_width(config, index)
        if dense_width is None:
            self.ffn = MoELayer(config, vocab_size, index - config.num_dense_layers)
        else:
            self.ffn = SwiGLU(config.hidden_size, dense_width, config.init_std)

    def forward(
        self, x_BSD: Tensor, balancer: CombinedBalancer, context: LayerContext
    ) -> tuple[Tensor, LayerOutput | None]:
        """[B, S, D] -> [B, S, D] with both residuals, and the MoE layer's output; None in a dense block."""
        x_BSD = x_BSD + self.attention(self.attention_norm(x_BSD))
        normed = self.ffn_norm(x_BSD)
        if isinstance(self.ffn, MoELayer):
            out, layer = self.ffn(normed, balancer, context)
            return x_BSD + out, layer
        return x_BSD + self.ffn(normed), None


def _dense_width(config: ModelConfig, index: int) -> int | None:
    """Inner width of a block's dense feed-forward layer; None for an MoE layer.

    With routing=dense an MoE layer becomes one dense layer as wide as the experts that a token would use:
    the same number of active parameters, except for the router's.
    """
    if index < config.num_dense_layers:
        return config.dense_hidden_size
    if config.routing == "dense":
        return (config.top_k + config.num_shared_experts) * config.expert_hidden_size
    return None


class MoETransformer(nn.Module):
    """The model. Embedding and output weights are tied."""

    def __init__(self, config: ModelConfig, vocab_size: int, sequence_length: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.hidden_size)
        nn.init.normal_(self.embedding.weight, std=config.init_std)
        self.positions = None
        if config.position == "learned":
            self.positions = nn.Parameter(torch.zeros(sequence_length, config.hidden_size))
        self.blocks = nn.ModuleList(
            Block(config, vocab_size=vocab_size, sequence_length=sequence_length, index=index)
            for index in range(config.num_layers)
        )
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-6)

    def forward(
        self, tokens_BS: Tensor, balancer: CombinedBalancer, context: ForwardContext | None = None
    ) -> ModelOutput:
        """Next-token logits and the routing of every MoE layer."""
        context = context or ForwardContext()
        x_BSD = self.embedding(tokens_BS)
        if self.positions is not None:
            x_BSD = x_BSD + self.positions[: tokens_BS.shape[1]]
        layers: list[LayerOutput] = []
        adjust = balancer.adjust(len(tokens_BS), self.config.top_k)
        for block in self.blocks:
            layer_context = _layer_context(context, len(layers), tokens_BS, adjust)
            x_BSD, layer = block(x_BSD, balancer, layer_context)
            if layer is not None:
                layers.append(layer)
        return ModelOutput(F.linear(self.norm(x_BSD), self.embedding.weight), layers)

    @property
    def routers(self) -> list[Router]:
        """The routers of the MoE layers, in order."""
        return [block.ffn.router for block in self.blocks if isinstance(block.ffn, MoELayer)]

    def reset_bias(self, value: float) -> None:
        """Set every selection bias to its neutral value."""
        for router in self.routers:
            router.expert_bias_E.fill_(value)


def _layer_context(
    context: ForwardContext, layer: int, tokens_BS: Tensor, adjust: Callable[[Tensor], Tensor] | None
) -> LayerContext:
    counts_LE, earlier_LE = context.step_counts_LE, context.earlier_counts_LE
    return LayerContext(
        layer=layer,
        tokens_T=tokens_BS.reshape(-1),
        is_training=context.is_training,
        seed=context.seed,
        step_counts_E=None if counts_LE is None else counts_LE[layer],
        earlier_counts_E=None if earlier_LE is None else earlier_LE[layer],
        adjust=adjust,
        reroute=context.reroute,
    )


def build_model(config: ModelConfig, vocab_size: int, sequence_length: int, seed: int) -> MoETransformer:
    """A model whose initial weights depend only on sizes and seed, never on balancer or routing.

    A dense model shares the weights of the MoE model in every module that both have.
    """
    state = torch.random.get_rng_state()
    # `torch.manual_seed` would also seed every GPU, and nothing here restores those seeds.
    torch.default_generator.manual_seed(seed)
    try:
        model = MoETransformer(config, vocab_size, sequence_length)
        if config.routing == "dense":
            torch.default_generator.manual_seed(seed)
            mixture = MoETransformer(replace(config, routing="token_choice"), vocab_size, sequence_length)
            model.load_state_dict(_common(mixture, model), strict=False)
    finally:
        torch.random.set_rng_state(state)
    return model


def _common(source: MoETransformer, target: MoETransformer) -> dict[str, Tensor]:
    """Weights of `source` that `target` has too."""
    target_state = target.state_dict()
    return {name: value for name, value in source.state_dict().items() if name in target_state}
