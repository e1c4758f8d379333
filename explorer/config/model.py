"""The model section of a run's configuration: sizes, gates and expert selection."""

from dataclasses import dataclass, fields

from explorer.config.checks import check_int, check_number
from explorer.config.later import later
from explorer.errors import ConfigError, one_of

ROUTINGS = ("token_choice", "expert_choice", "expert_threshold", "hash", "random", "dense")
SCORE_FUNCS = ("sigmoid", "softmax", "sqrt_softplus")
# Fields that only apply to token choice by score.
TOKEN_CHOICE_ONLY = (
    "router_noise",
    "noisy_top_k",
    "num_groups",
    "top_k_groups",
    "top_p",
    "eval_top_k",
    "random_second",
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer whose feed-forward layers are mixtures of experts."""

    num_layers: int = 4
    """Transformer blocks."""
    num_dense_layers: int = 0
    """How many of the first blocks have a dense feed-forward layer instead of experts."""
    hidden_size: int = 128
    num_heads: int = 4
    position: str = "rotary"
    """rotary or learned positions."""
    num_experts: int = 16
    """Routed experts per layer (N in the papers)."""
    top_k: int = 2
    """Routed experts per token (K)."""
    num_shared_experts: int = 0
    """Experts that process every token; never part of the load statistics."""
    expert_hidden_size: int = 64
    """Width inside one expert (SwiGLU)."""
    dense_hidden_size: int = 256
    """Width inside a dense feed-forward layer."""
    score_func: str = "sigmoid"
    """sigmoid, softmax or sqrt_softplus (DeepSeek-V4): the function from router logits to scores."""
    normalize_gates: bool = True
    """Divide the selected scores by their sum; never applied when top_k is 1."""
    route_scale: float = 1.0
    """Scaling factor of the routed output."""
    init_std: float = 0.02
    dispatch: str = "auto"
    """auto (grouped matrix product where it fits, else a loop), grouped, loop or dense (slow oracle)."""
    routing: str = later("token_choice")
    """Routing: token_choice, expert_choice, expert_threshold; hash, random or dense as controls."""
    gate_func: str | None = later(None)
    """The function from router logits to gate weights, if not `score_func`."""
    router_noise: float = later(0.0)
    """Standard deviation of the Gaussian noise on the selection logits in training."""
    noisy_top_k: bool = later(False)
    """Noise of a learned size per expert in training (Shazeer et al., arXiv 1701.06538, eq. 4)."""
    num_groups: int = later(1)
    """Groups of experts; a token may only use `top_k_groups` of them (DeepSeek-V3, section 2.1.2)."""
    top_k_groups: int = later(1)
    top_p: float | None = later(None)
    """Choose the fewest experts whose normalised scores reach this sum, instead of always top_k.

    Capacity is then still computed from top_k; normalised gates are fractions of the sum of all scores.
    """
    eval_top_k: int | None = later(None)
    """Experts per token in evaluation, if it differs from training (top_k or top_p)."""
    capacity_factor: float | None = later(None)
    """An expert serves at most ceil(factor · K · T / E) assignments of a micro-batch; None: no limit."""
    drop_policy: str = later("probability")
    """Which assignments beyond capacity are dropped: smallest gates (probability) or last (position)."""
    random_second: bool = later(False)
    """With top_k 2: take the second expert with probability 2 · gate (GShard, arXiv 2006.16668)."""
    expert_choice_chunk: int | None = later(None)
    """Tokens per group from which an expert chooses; None: the whole micro-batch."""
    threshold_ema: float = later(0.9)
    """EMA coefficient of the threshold in expert_threshold routing, per optimizer step."""
    frozen_router: bool = later(False)
    """The router's random initial weights stay as they are; only a selection bias can move."""

    def __post_init__(self) -> None:
        for name in (
            "num_layers",
            "hidden_size",
            "num_heads",
            "num_experts",
            "top_k",
            "expert_hidden_size",
            "dense_hidden_size",
        ):
            check_int(f"model.{name}", getattr(self, name), least=1)
        for name in ("num_dense_layers", "num_shared_experts"):
            check_int(f"model.{name}", getattr(self, name), least=0)
        one_of("model.position", self.position, ("rotary", "learned"))
        one_of("model.score_func", self.score_func, SCORE_FUNCS)
        one_of("model.normalize_gates", self.normalize_gates, (True, False))
        one_of("model.dispatch", self.dispatch, ("auto", "grouped", "loop", "dense"))
        check_number("model.route_scale", self.route_scale, above=0)
        check_number("model.init_std", self.init_std, above=0)
        if self.top_k > self.num_experts:
            raise ConfigError(
                "model.top_k",
                self.top_k,
                f"must be at most model.num_experts ({self.num_experts})",
                f"lower it to {self.num_experts} or less",
            )
        if self.num_dense_layers >= self.num_layers:
            raise ConfigError(
                "model.num_dense_layers",
                self.num_dense_layers,
                f"must leave an MoE layer among model.num_layers ({self.num_layers})",
                "lower it",
            )
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                "model.hidden_size",
                self.hidden_size,
                f"must be a multiple of model.num_heads ({self.num_heads})",
                "change one of them",
            )
        if self.position == "rotary" and (self.hidden_size // self.num_heads) % 2:
            raise ConfigError(
                "model.hidden_size",
                self.hidden_size,
                "must give each head an even width for rotary positions",
                "change it or use position=learned",
            )

        self._check_routing()

    def _check_routing(self) -> None:
        one_of("model.routing", self.routing, ROUTINGS)
        one_of("model.gate_func", self.gate_func, (None, *SCORE_FUNCS))
        one_of("model.drop_policy", self.drop_policy, ("probability", "position"))
        for name in ("noisy_top_k", "random_second", "frozen_router"):
            one_of(f"model.{name}", getattr(self, name), (True, False))
        for name in ("num_groups", "top_k_groups"):
            check_int(f"model.{name}", getattr(self, name), least=1)
        for name in ("eval_top_k", "expert_choice_chunk"):
            if getattr(self, name) is not None:
                check_int(f"model.{name}", getattr(self, name), least=1)
        check_number("model.router_noise", self.router_noise, least=0)
        if self.capacity_factor is not None:
            check_number("model.capacity_factor", self.capacity_factor, above=0)
        check_number("model.threshold_ema", self.threshold_ema, least=0, below=1)
        if self.top_p is not None:
            check_number("model.top_p", self.top_p, above=0, most=1)
        self._check_combinations()

    def _check_combinations(self) -> None:
        defaults = {f.name: f.default for f in fields(self)}
        for name in TOKEN_CHOICE_ONLY:
            if self.routing != "token_choice" and getattr(self, name) != defaults[name]:
                raise ConfigError(
                    f"model.{name}",
                    getattr(self, name),
                    f"has no meaning with model.routing={self.routing}: no token picks by score there",
                    "leave it out or use routing=token_choice",
                )
        for name, routing in (
            ("expert_choice_chunk", "expert_choice"),
            ("threshold_ema", "expert_threshold"),
        ):
            if self.routing != routing and getattr(self, name) != defaults[name]:
                raise ConfigError(
                    f"model.{name}",
                    getattr(self, name),
                    f"has no meaning with model.routing={self.routing}",
                    f"leave it out or use routing={routing}",
                )
        if self.capacity_factor is not None and self.routing in (
            "expert_choice",
            "expert_threshold",
            "dense",
        ):
            raise ConfigError(
                "model.capacity_factor",
                self.capacity_factor,
                f"has no meaning with model.routing={self.routing}",
                "leave it out or use routing=token_choice",
            )
        if self.frozen_router and self.routing == "dense":
            raise ConfigError(
                "model.frozen_router",
                True,
                "has no meaning with model.routing=dense, which has no router",
                "leave it out or use routing=token_choice",
            )
        self._check_groups()
        self._check_token_choice()

    def _check_groups(self) -> None:
        if self.num_experts % self.num_groups:
            raise ConfigError(
                "model.num_groups",
                self.num_groups,
                f"must divide model.num_experts ({self.num_experts})",
                "change one of them",
            )
        if self.top_k_groups > self.num_groups:
            raise ConfigError(
                "model.top_k_groups",
                self.top_k_groups,
                f"must be at most model.num_groups ({self.num_groups})",
                "lower it",
            )
        allowed = self.num_experts // self.num_groups * self.top_k_groups
        if max(self.top_k, self.eval_top_k or 0) > allowed:
            name = "top_k" if self.top_k > allowed else "eval_top_k"
            raise ConfigError(
                f"model.{name}",
                getattr(self, name),
                f"must be at most the {allowed} experts of the groups that a token may use",
                "lower it or raise model.top_k_groups",
            )

    def _check_token_choice(self) -> None:
        if self.random_second and self.top_k != 2:
            raise ConfigError(
                "model.random_second", True, f"needs model.top_k 2, not {self.top_k}", "set model.top_k=2"
            )
        if self.random_second and self.top_p is not None:
            raise ConfigError(
                "model.random_second",
                True,
                f"has no meaning with model.top_p={self.top_p:g}, which sets the experts per token",
                "leave one of them out",
            )
        if self.noisy_top_k and self.router_noise:
            raise ConfigError(
                "model.router_noise",
                self.router_noise,
                "would add to the noise that model.noisy_top_k learns",
                "leave one of them out",
            )
        if self.gate_func == self.score_func:
            raise ConfigError(
                "model.gate_func",
                self.gate_func,
                "is already model.score_func, and stating it would give one configuration two identities",
                "leave it out",
            )
        if self.drop_policy != "probability" and self.capacity_factor is None:
            raise ConfigError(
                "model.drop_policy",
                self.drop_policy,
                "has no meaning where nothing is dropped",
                "set model.capacity_factor, or leave it out",
            )

    @property
    def num_moe_layers(self) -> int:
        return 0 if self.routing == "dense" else self.num_layers - self.num_dense_layers
