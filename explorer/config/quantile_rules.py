"""The rules that solve for the bias instead of stepping towards it.

The arithmetic is in `explorer/model/bias_balancers.py` and `explorer/routing/balancing.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

from explorer.config.checks import check_int, check_number
from explorer.config.later import later
from explorer.config.model import ModelConfig
from explorer.config.rule import Rule
from explorer.errors import ConfigError, one_of

ESTIMATORS = ("midpoint", "linear")
# Selections whose cut-off is not between the K-th and the (K+1)-th compared score.
OTHER_CUTS = {"num_groups": 1, "top_p": None, "random_second": False}


@dataclass(frozen=True, kw_only=True)
class Quantile(Rule):
    """Quantile balancing: the bias that would have balanced this step, used in the next."""

    name: ClassVar[str] = "quantile"
    family: ClassVar[str | None] = "quantile"
    moves_bias: ClassVar[bool] = True
    alone: ClassVar[bool] = True
    words: ClassVar[tuple[str, str]] = ("quantile balancing", "quantile")
    num_bins: int = 1000
    """Bins of the histogram from which the quantile is read; 0: the exact quantile of all tokens."""
    bias_ema: float = 0.0
    """Share of the old bias in the next one; the rest is the new solution."""
    freeze_after_step: int | None = None
    """From this step on the bias is frozen."""
    estimator: str = later("midpoint")
    """How the histogram is read: midpoint (ours), or linear (torchtitan and Megatron-LM)."""

    def __post_init__(self) -> None:
        check_int(f"{self.name}.num_bins", self.num_bins, least=0)
        one_of(f"{self.name}.estimator", self.estimator, ESTIMATORS)
        if self.estimator == "linear" and not self.num_bins:
            raise ConfigError(
                f"{self.name}.estimator",
                self.estimator,
                "reads a histogram, and num_bins=0 keeps none",
                "give num_bins, or leave estimator out",
            )
        check_number(f"{self.name}.bias_ema", self.bias_ema, least=0, below=1)
        if self.freeze_after_step is not None:
            check_int(f"{self.name}.freeze_after_step", self.freeze_after_step, least=0)

    def check_model(self, model: ModelConfig) -> None:
        """The cut-off of a token is its (K+1)-th score, and the bins cover scores from 0 to 1."""
        if model.top_k == model.num_experts:
            raise ConfigError(
                "balancer",
                self.name,
                "needs a (K+1)-th score as each token's cut-off, and model.top_k is all "
                f"{model.top_k} experts",
                "lower model.top_k or use balancer none: every load is the same already",
            )
        for name, default in OTHER_CUTS.items():
            if getattr(model, name) != default:
                raise ConfigError(
                    "balancer",
                    self.name,
                    "takes each token's cut-off from its (K+1)-th score, and with "
                    f"model.{name}={getattr(model, name)} something else decides which experts it gets",
                    f"leave model.{name} out or use loss_free, which reads the counts alone",
                )
        if self.num_bins and model.score_func == "sqrt_softplus":
            raise ConfigError(
                f"{self.name}.num_bins",
                self.num_bins,
                "spreads its bins over scores from 0 to 1, and those of model.score_func=sqrt_softplus "
                "have no upper end",
                "set num_bins=0 for the exact quantile, or use score_func=sigmoid",
            )

    @property
    def bias_form(self) -> str | None:
        return "additive"

    @property
    def count_scope(self) -> str | None:
        # One quantile of all tokens of the optimizer step.
        return "global_batch"

    @property
    def label(self) -> str:
        return f"{self.words[0]} ({', '.join(['global batch scope', *self._extras(' from')])})"

    @property
    def short(self) -> str:
        return " ".join([self.words[1], *self._extras("")])

    def _extras(self, since: str) -> list[str]:
        """Label parts for settings that are not the default."""
        words = []
        if self.num_bins != type(self).__dataclass_fields__["num_bins"].default:
            words.append(f"{self.num_bins} bins" if self.num_bins else "exact")
        if self.estimator != "midpoint":
            words.append(self.estimator)
        if self.bias_ema:
            words.append(f"EMA {self.bias_ema:g}")
        if self.freeze_after_step is not None:
            words.append(f"frozen{since} {self.freeze_after_step}")
        return words


@dataclass(frozen=True, kw_only=True)
class Bip(Quantile):
    """BIP balancing: the same problem with inequalities; a bias that only pushes overloaded experts down."""

    name: ClassVar[str] = "bip"
    words: ClassVar[tuple[str, str]] = ("BIP balancing", "BIP")


@dataclass(frozen=True, kw_only=True)
class MovingQuantile(Quantile):
    """Moving quantile balancing (MQB): each sequence levels its scores as it goes, then `quantile`."""

    name: ClassVar[str] = "mqb"
    words: ClassVar[tuple[str, str]] = ("moving quantile balancing", "MQB")
    strength: ClassVar[tuple[str, str] | None] = ("λ", "sequence_strength")
    sequence_strength: float = 0.3
    """λ; 0 balances the global batch only, 1 every sequence as far as it can."""
    decay: float = 0.99
    """Decay of a sequence's score histogram, per token."""
    score_bins: int = 100
    """Bins of that histogram, over scores from 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(f"{self.name}.sequence_strength", self.sequence_strength, least=0, most=1)
        check_number(f"{self.name}.decay", self.decay, least=0, below=1)
        check_int(f"{self.name}.score_bins", self.score_bins, least=2)

    def check_model(self, model: ModelConfig) -> None:
        super().check_model(model)
        if model.score_func == "sqrt_softplus":
            raise ConfigError(
                "balancer",
                self.name,
                "keeps the distribution of scores from 0 to 1, and those of model.score_func=sqrt_softplus "
                "have no upper end",
                "use score_func=sigmoid, or quantile with num_bins=0",
            )

    @property
    def count_scope(self) -> str | None:
        return "global_batch+sequence"

    @property
    def label(self) -> str:
        words = ["global batch and sequence scope", *self._extras(" from")]
        return f"{self.words[0]} λ={self.sequence_strength:g} ({', '.join(words)})"

    @property
    def short(self) -> str:
        return " ".join([f"{self.words[1]} {self.sequence_strength:g}", *self._extras("")])

    def _extras(self, since: str) -> list[str]:
        defaults = {"decay": 0.99, "score_bins": 100}
        words = {"decay": f"γ={self.decay:g}", "score_bins": f"{self.score_bins} score bins"}
        changed = [words[name] for name, value in defaults.items() if getattr(self, name) != value]
        return [*changed, *super()._extras(since)]
