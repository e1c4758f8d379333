"""Settings of a simulation: the distribution of the scores, and the rule."""

from dataclasses import dataclass

from explorer.config.checks import check_number
from explorer.config.rules import STEP_DECAYS, Smebu
from explorer.errors import ConfigError, one_of
from explorer.routing.balancing import UPDATE_RULES, decayed_rate

SCORE_FUNCTIONS = ("sigmoid", "softmax")
SOURCES = ("fresh", "frozen")
RULES = ("none", *UPDATE_RULES, "smebu", "quantile", "aux_loss")
BIAS_FORMS = ("additive", "multiplicative")

NOISES = ("normal", "gumbel")
MOST_EXPERTS = 512
MOST_SKEW = 5
MOST_TOKENS = 65_536
MOST_STEPS = 100_000


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Distribution of the router's scores, without a network.

    The logit of expert i for token t is

        offset_i + noise · z_{i,t} + domain_skew · d_{domain(t), i}

    with standard normal z and d, and offset_i = skew · (standard normal). The score is the sigmoid
    of the logit, or the softmax over the experts.

    With Gumbel noise instead of z, noise 1 and one domain, a token's top K are K draws without replacement in
    proportion to exp(offset): log-normal popularity, which fits loads of serving systems (a report on
    DeepSeek-V3 loads, DeepEP issue 393). For K = 1 the expected loads are exactly log-normal.
    """

    num_experts: int = 16
    top_k: int = 2
    num_tokens: int = 512
    """Tokens per step; a step's counts cover all of them."""
    score_function: str = "sigmoid"
    source: str = "fresh"
    """fresh: new tokens in every step. frozen: the same tokens in every step."""
    skew: float = 1.0
    """Standard deviation of the experts' offsets, in logits."""
    noise: float = 1.0
    """Standard deviation of an expert's logit over tokens, in logits; the scale of Gumbel noise."""
    noise_kind: str = "normal"
    """normal, or gumbel: log-normal popularity."""
    domains: int = 1
    domain_skew: float = 0.0
    """Standard deviation of the domain-specific offsets, in logits; 0: all domains alike."""
    sequence_tokens: int = 1
    """Consecutive tokens with the same domain; longer runs make the loads of a step vary more."""
    drift: float = 0.0
    """Rotations per 1,000 steps: the offsets rotate between two independent draws at constant magnitude."""
    shift_step: int = 0
    """Step at which the offsets are redrawn; 0: never."""
    feedback: float = 0.0
    """Logits per step that an expert with twice the mean load gains; see `dynamics.reinforced`."""
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("score_function", self.score_function, SCORE_FUNCTIONS)
        one_of("source", self.source, SOURCES)
        one_of("noise_kind", self.noise_kind, NOISES)
        _within("num_experts", self.num_experts, 2, MOST_EXPERTS)
        _within("top_k", self.top_k, 1, self.num_experts)
        _within("num_tokens", self.num_tokens, 1, MOST_TOKENS)
        _within("domains", self.domains, 1, 64)
        _within("sequence_tokens", self.sequence_tokens, 1, MOST_TOKENS)
        _within("shift_step", self.shift_step, 0, MOST_STEPS)
        _within("seed", self.seed, 0, 2**32 - 1)
        for name in ("skew", "noise", "domain_skew"):
            _within(name, getattr(self, name), 0, MOST_SKEW)
        _within("drift", self.drift, 0, 100)
        _within("feedback", self.feedback, 0, 1)

    @property
    def moves(self) -> bool:
        """Whether the offsets change from step to step."""
        return self.drift > 0 or self.shift_step > 0 or self.feedback > 0

    @property
    def mean_load(self) -> float:
        """K·T/E tokens."""
        return self.top_k * self.num_tokens / self.num_experts


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """The balancing rule, and when it acts."""

    rule: str = "sign"
    rate: float = 1e-3
    """u of the bias rules, in score units; of quantile: the share of the way to the exact bias, at most 1; of
    aux_loss: α times the learning rate of the offsets."""
    step_decay: str = "constant"
    """constant: u. sqrt: u/√n. harmonic: u/n. n counts the updates from 1."""
    bias_form: str = "additive"
    centred: bool = False
    start_step: int = 0
    """The first step after which the rule acts."""
    sharpness: float = Smebu.sharpness
    """κ of smebu."""
    momentum: float = Smebu.momentum
    """β of smebu."""

    def __post_init__(self) -> None:
        one_of("rule", self.rule, RULES)
        one_of("step_decay", self.step_decay, STEP_DECAYS)
        one_of("bias_form", self.bias_form, BIAS_FORMS)
        if self.rule in ("quantile", "smebu") and self.bias_form != "additive":
            raise ConfigError(
                "bias_form", self.bias_form, f"the {self.rule} rule is additive", "use additive"
            )
        _within("rate", self.rate, 0, 1000)
        _within("start_step", self.start_step, 0, MOST_STEPS)
        check_number("sharpness", self.sharpness, least=0)
        check_number("momentum", self.momentum, least=0, below=1)

    @property
    def has_bias(self) -> bool:
        return self.rule not in ("none", "aux_loss")

    @property
    def reads_bias(self) -> str | None:
        """Bias form, or None without a bias."""
        return self.bias_form if self.has_bias else None

    def rate_at(self, step: int) -> float:
        """The rate of the update that follows this step; 0 before the rule starts."""
        updates = step - self.start_step + 1
        if updates < 1:
            return 0.0
        return decayed_rate(self.rate, self.step_decay, updates)


def _within(name: str, value: float, low: float, high: float) -> None:
    """Reject a number outside [low, high], including NaN."""
    if not low <= value <= high:
        raise ConfigError(name, value, f"must be from {low} to {high}", "choose a value in that range")
