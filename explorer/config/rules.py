"""Every balancing rule as a frozen value: its name, settings and their valid ranges.

The arithmetic is in `explorer/model/balancers.py` and `explorer/routing/balancing.py`;
`explorer/config/rule_text.py` parses the text form.
"""

from dataclasses import dataclass
from typing import ClassVar

from explorer.config.bias_rule import BiasRule
from explorer.config.checks import check_number
from explorer.config.later import later
from explorer.config.quantile_rules import Bip as Bip
from explorer.config.quantile_rules import MovingQuantile as MovingQuantile
from explorer.config.quantile_rules import Quantile as Quantile
from explorer.config.rule import Rule as Rule
from explorer.config.smebu_rule import Smebu as Smebu
from explorer.errors import ConfigError as ConfigError
from explorer.errors import one_of

SCOPES = ("sequence", "micro_batch", "shuffled", "global_batch", "global_buffered")
BIAS_SCOPES = ("sequence", "micro_batch", "global_batch")
SHORT_SCOPES = {
    "sequence": "sequence",
    "micro_batch": "micro-batch",
    "shuffled": "shuffled",
    "global_batch": "global",
    "global_buffered": "buffered",
}
STEP_DECAYS = {"constant": "constant", "sqrt": "u/√n", "harmonic": "u/n"}
SCOPE_WORDS = {
    "sequence": "sequence",
    "micro_batch": "micro-batch",
    "shuffled": "shuffled micro-batch",
    "global_batch": "global batch",
    "global_buffered": "buffered global batch",
}


@dataclass(frozen=True, kw_only=True)
class AuxLoss(Rule):
    """Auxiliary balancing loss N · Σ f_i · P_i (Switch and GShard, generalised to K), times `coeff`."""

    name: ClassVar[str] = "aux_loss"
    family: ClassVar[str | None] = "aux_loss"
    strength: ClassVar[tuple[str, str] | None] = ("α", "coeff")
    coeff: float = 0.01
    """α; the objective adds the sum over layers of α times the loss."""
    scope: str = "global_batch"
    """Count scope of f: sequence, micro_batch, shuffled (as many assignments as a micro-batch has, drawn from
    the whole step), global_batch (the whole step) or global_buffered (the step's micro-batches so far,
    including this one; a different loss)."""
    score_norm: str = "l1"
    """P from scores that sum to one per token (l1), or from the scores as they are (raw)."""

    def __post_init__(self) -> None:
        check_number("aux_loss.coeff", self.coeff, least=0)
        one_of("aux_loss.scope", self.scope, SCOPES)
        one_of("aux_loss.score_norm", self.score_norm, ("l1", "raw"))

    @property
    def count_scope(self) -> str | None:
        return self.scope

    @property
    def label(self) -> str:
        raw = ", raw scores" if self.score_norm == "raw" else ""
        return f"auxiliary loss α={self.coeff:g} ({SCOPE_WORDS[self.scope]} scope{raw})"

    @property
    def short(self) -> str:
        raw = " raw" if self.score_norm == "raw" else ""
        return f"aux {SHORT_SCOPES[self.scope]} {self.coeff:g}{raw}"


@dataclass(frozen=True, kw_only=True)
class SequenceAuxLoss(Rule):
    """DeepSeek-V3's complementary sequence-wise loss: f from the unbiased top-K, L1 scores."""

    name: ClassVar[str] = "seq_aux"
    family: ClassVar[str | None] = "aux_loss"
    strength: ClassVar[tuple[str, str] | None] = ("α", "coeff")
    coeff: float = 1e-4

    def __post_init__(self) -> None:
        check_number("seq_aux.coeff", self.coeff, least=0)

    @property
    def count_scope(self) -> str | None:
        return "sequence"

    @property
    def label(self) -> str:
        return f"V3 sequence loss α={self.coeff:g}"

    @property
    def short(self) -> str:
        return f"V3 sequence {self.coeff:g}"


@dataclass(frozen=True, kw_only=True)
class LossFree(BiasRule):
    """Auxiliary-loss-free balancing: a selection bias, updated after every step."""

    name: ClassVar[str] = "loss_free"
    title: ClassVar[str] = "loss-free"
    bias_update_rate: float = 0.003
    """u; under the sign rule the bias moves by at most u per step."""
    update_rule: str = "sign"
    """sign (Algorithm 1), proportional (to the relative violation) or rms (RMS-normalised)."""
    bias_form: str = "additive"
    """additive: top-K of s + b, b starts at 0; multiplicative: top-K of s · b, b starts at 1."""
    centred: bool = False
    """Subtract the mean of the update, so that the biases do not drift together."""
    freeze_after_step: int | None = None
    """From this step on the bias is frozen (DeepSeek-V3: u = 0 at the end of training)."""
    step_decay: str = later("constant")
    """constant, sqrt (u / √n) or harmonic (u / n) in the n-th update of this rule (arXiv 2512.03915)."""
    load_ema: float = later(0.0)
    """EMA coefficient of the counts that the update reads instead of the step's own; 0: no averaging."""
    scope: str = later("global_batch")
    """Tokens whose counts give one direction: the whole step (global_batch), or each micro-batch or sequence
    (micro_batch, sequence), whose directions are averaged. The bias moves once per optimizer step anyway."""

    def __post_init__(self) -> None:
        self.check_step()
        one_of("loss_free.update_rule", self.update_rule, ("sign", "proportional", "rms"))
        one_of("loss_free.bias_form", self.bias_form, ("additive", "multiplicative"))
        one_of("loss_free.centred", self.centred, (True, False))
        one_of("loss_free.step_decay", self.step_decay, tuple(STEP_DECAYS))
        check_number("loss_free.load_ema", self.load_ema, least=0, below=1)
        one_of("loss_free.scope", self.scope, BIAS_SCOPES)
        if self.load_ema and self.scope != "global_batch":
            raise ConfigError(
                "loss_free.load_ema",
                self.load_ema,
                f"averages the counts of whole steps, and scope={self.scope} reads none",
                "leave out one of them",
            )

    @property
    def count_scope(self) -> str | None:
        return self.scope

    def scope_words(self) -> tuple[str, str]:
        is_whole = self.scope == "global_batch"
        return SCOPE_WORDS[self.scope], "" if is_whole else SHORT_SCOPES[self.scope]

    def departures(self) -> list[str]:
        words = [w for w in (self.update_rule, self.bias_form) if w not in ("sign", "additive")]
        if self.step_decay != "constant":
            words.append(STEP_DECAYS[self.step_decay])
        if self.load_ema:
            words.append(f"EMA {self.load_ema:g}")
        if self.centred:
            words.append("centred")
        return words


@dataclass(frozen=True, kw_only=True)
class ZLoss(Rule):
    """Router z-loss: mean squared log-sum-exp of the router logits (ST-MoE), times `coeff`."""

    name: ClassVar[str] = "z_loss"
    coeff: float = 1e-3

    def __post_init__(self) -> None:
        check_number("z_loss.coeff", self.coeff, least=0)

    @property
    def label(self) -> str:
        return f"z-loss {self.coeff:g}"

    @property
    def short(self) -> str:
        return self.label


@dataclass(frozen=True, kw_only=True)
class SwitchLoss(Rule):
    """Switch Transformer's loss N · Σ f_i · P_i (arXiv 2101.03961, eq. 4-6): f from first choices only."""

    name: ClassVar[str] = "switch_loss"
    family: ClassVar[str | None] = "aux_loss"
    strength: ClassVar[tuple[str, str] | None] = ("α", "coeff")
    coeff: float = 0.01
    """α; the paper's value."""

    def __post_init__(self) -> None:
        check_number("switch_loss.coeff", self.coeff, least=0)

    @property
    def count_scope(self) -> str | None:
        return "micro_batch"

    @property
    def label(self) -> str:
        return f"Switch loss α={self.coeff:g} (micro-batch scope, first choice)"

    @property
    def short(self) -> str:
        return f"Switch {self.coeff:g}"


@dataclass(frozen=True, kw_only=True)
class GShardLoss(Rule):
    """GShard's loss, the mean over experts of c_e/S · m_e (arXiv 2006.16668, Algorithm 1): first choices."""

    name: ClassVar[str] = "gshard_loss"
    family: ClassVar[str | None] = "aux_loss"
    strength: ClassVar[tuple[str, str] | None] = ("α", "coeff")
    coeff: float = 0.01
    scope: str = "sequence"
    """Tokens that form a group of S: sequence, or micro_batch (one group per device)."""
    normalisation: str = "unit"
    """unit: times N², as in the released code, so 1 at balance; paper: as printed, 1/N² at balance."""

    def __post_init__(self) -> None:
        check_number("gshard_loss.coeff", self.coeff, least=0)
        one_of("gshard_loss.scope", self.scope, ("sequence", "micro_batch"))
        one_of("gshard_loss.normalisation", self.normalisation, ("unit", "paper"))

    @property
    def count_scope(self) -> str | None:
        return self.scope

    @property
    def label(self) -> str:
        printed = ", as printed" if self.normalisation == "paper" else ""
        return f"GShard loss α={self.coeff:g} ({SCOPE_WORDS[self.scope]} scope, first choice{printed})"

    @property
    def short(self) -> str:
        printed = " as printed" if self.normalisation == "paper" else ""
        return f"GShard {SHORT_SCOPES[self.scope]} {self.coeff:g}{printed}"


@dataclass(frozen=True, kw_only=True)
class SimBal(Rule):
    """SimBal: keeps the router's expert vectors orthonormal (arXiv 2506.14038); it counts no tokens."""

    name: ClassVar[str] = "simbal"
    family: ClassVar[str | None] = "aux_loss"
    strength: ClassVar[tuple[str, str] | None] = ("α", "coeff")
    coeff: float = 0.01
    """α, times the sum of N² absolute values."""

    def __post_init__(self) -> None:
        check_number("simbal.coeff", self.coeff, least=0)

    @property
    def label(self) -> str:
        return f"SimBal α={self.coeff:g} (counts nothing)"

    @property
    def short(self) -> str:
        return f"SimBal {self.coeff:g}"


RULES: dict[str, type[Rule]] = {
    r.name: r
    for r in (
        AuxLoss,
        SequenceAuxLoss,
        LossFree,
        ZLoss,
        SwitchLoss,
        GShardLoss,
        SimBal,
        Quantile,
        Bip,
        MovingQuantile,
        Smebu,
    )
}
