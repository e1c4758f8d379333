"""The settings of the Playground: what its address can say, and the simulations that it stands for.

Every setting is a choice from a list (the seed and the playhead are whole numbers), so that a preset can be
met again exactly.
"""

from dataclasses import replace

from explorer.config.rules import Smebu
from explorer.figures.simulation import RULE_NAMES
from explorer.figures.views.choice import RATES, Choice, Values, experts_per_token, skew, step_size
from explorer.simulate import RuleSettings, ScoreSettings
from explorer.simulate.workload import max_vio_at, max_vio_of_steps, with_max_vio
from explorer.wording import counted

BY_SKEW = "by skew"


def _side(side: str, rule: str, rate: str) -> tuple[Choice, ...]:
    return (
        Choice(
            key=side,
            label=f"Rule {side}",
            options=tuple(RULE_NAMES),
            default=rule,
            names=RULE_NAMES,
            help="Sign, proportional, RMS, SMEBU and quantile update a bias that is added to the scores "
            "before the top-K. The auxiliary loss changes the scores themselves.",
        ),
        Choice(
            key=f"u{side}",
            label=f"Rate of {side}",
            options=RATES,
            default=rate,
            help="Size of one update: score units for the bias rules; for quantile the share of the way "
            "to the exact bias, where 1 is all of it; for the auxiliary loss α times the learning rate η.",
        ),
        step_size(f"n{side}"),
    )


RULES: dict[str, tuple[Choice, ...]] = {
    "A": _side("A", "sign", "1e-3"),
    "B": _side("B", "proportional", "1e-2"),
}


def _smebu(side: str) -> tuple[Choice, ...]:
    return (
        Choice(
            key=f"k{side}",
            label=f"Sharpness κ of {side}",
            options=("0.2", "0.5", "1", "2", "5", "10", "50"),
            default=f"{Smebu.sharpness:g}",
            help="The relative load error is multiplied by κ before the tanh: a large κ gives the centred "
            "sign rule, a small one the proportional rule. The 2 is from a secondary source.",
        ),
        Choice(
            key=f"m{side}",
            label=f"Momentum β of {side}",
            options=("0", "0.2", "0.5", "0.8", "0.9", "0.95", "0.99"),
            default=f"{Smebu.momentum:g}",
            help="Share of the previous move in the next one; 0 is no momentum. The 0.5 is from a "
            "secondary source.",
        ),
    )


SMEBU: dict[str, tuple[Choice, ...]] = {side: _smebu(side) for side in RULES}
"""What SMEBU has besides its rate; no other rule reads it."""
ROUTER = (
    Choice(
        key="N",
        label="Experts N",
        options=("4", "8", "16", "32", "64"),
        default="16",
        help="Routed experts of the one simulated layer.",
    ),
    experts_per_token("K", ("1", "2", "4", "6", "8"), "2"),
    Choice(
        key="T",
        label="Tokens per step T",
        options=("128", "256", "512", "1024", "2048", "4096"),
        default="512",
        help="Loads are counted over these tokens, then the rule makes one update.",
    ),
    Choice(
        key="S",
        label="Steps",
        options=("200", "500", "1000", "2000", "5000"),
        default="1000",
        help="Length of the simulation.",
    ),
)
SCORES = (
    Choice(
        key="gate",
        label="Score function",
        options=("sigmoid", "softmax"),
        default="sigmoid",
        help="Softmax scores are of the order of 1/N, so the same u is a larger step for them.",
    ),
    Choice(
        key="tok",
        label="Tokens of each step",
        options=("fresh", "frozen"),
        default="fresh",
        help="Fresh: new tokens in every step. Frozen: always the same ones, so that only the rule changes "
        "the loads.",
    ),
    skew("skew", ("0", "0.25", "0.5", "0.75", "1", "1.5", "2", "3")),
    Choice(
        key="vio",
        label="MaxVio without balancing",
        options=(BY_SKEW, "0.5", "1", "2", "3", "5"),
        default=BY_SKEW,
        help="A workload with this imbalance before any rule acts: the skew that gives it is solved for and "
        "replaces the one above. MaxVio is at most N/K − 1.",
    ),
    Choice(
        key="pop",
        label="Popularity",
        options=("normal", "log-normal"),
        default="normal",
        help="Log-normal: tokens draw experts in proportion to a log-normal popularity (Gumbel noise on the "
        "logits), as loads recorded by serving systems do.",
    ),
    Choice(
        key="domains",
        label="Domain skew",
        options=("0", "0.5", "1", "2"),
        default="0",
        help="Four domains with different popular experts, in sequences of 64 tokens: standard deviation of "
        "the domain offsets, in logits. 0 is a single domain.",
    ),
    Choice(
        key="drift",
        label="Drift",
        options=("0", "0.1", "0.25", "0.5", "1", "2"),
        default="0",
        help="Rotations per 1,000 steps of the offsets between two independent draws.",
    ),
    Choice(
        key="shift",
        label="Sudden shift at step (0: never)",
        options=("0", "100", "250", "500", "750", "1000", "2000"),
        default="0",
        help="From this step on the offsets are drawn anew, as after a change of corpus.",
    ),
    Choice(
        key="rich",
        label="Rich get richer",
        options=("0", "0.002", "0.005", "0.01", "0.02", "0.05"),
        default="0",
        help="A caricature of training: an expert with twice the uniform load gains that many logits "
        "per step, at most 3 in all.",
    ),
    Choice(
        key="wait",
        label="Rules start at step",
        options=("0", "100", "250", "500"),
        default="0",
        help="There is no balancing before this step.",
    ),
)
CHOICES: tuple[Choice, ...] = (*RULES["A"], *SMEBU["A"], *RULES["B"], *SMEBU["B"], *ROUTER, *SCORES)
BY_KEY = {choice.key: choice for choice in CHOICES}
IN_ORDER = sorted(CHOICES, key=lambda choice: choice.key not in ("N", "S"))
"""N and S first: the options of K, shift and wait depend on them."""
KEYS = (*BY_KEY, "seed", "at")


def options_of(choice: Choice, values: Values) -> tuple[str, ...]:
    """The options for these values of N and S: K is at most N, and no shift comes after the last step."""
    if choice.key == "K":
        return tuple(o for o in choice.options if int(o) <= int(values["N"]))
    if choice.key in ("shift", "wait"):
        return tuple(o for o in choice.options if int(o) < int(values["S"]))
    return choice.options


def scores_of(values: Values) -> ScoreSettings:
    """The distribution of scores that these values stand for."""
    domain_skew = float(values["domains"])
    scores = ScoreSettings(
        num_experts=int(values["N"]),
        top_k=int(values["K"]),
        num_tokens=int(values["T"]),
        score_function=values["gate"],
        source=values["tok"],
        skew=float(values["skew"]),
        domains=4 if domain_skew else 1,
        domain_skew=domain_skew,
        sequence_tokens=64 if domain_skew else 1,
        drift=float(values["drift"]),
        shift_step=int(values["shift"]),
        feedback=float(values["rich"]),
        noise_kind="gumbel" if values["pop"] == "log-normal" else "normal",
        seed=int(values["seed"]),
    )
    return scores if values["vio"] == BY_SKEW else with_max_vio(scores, float(values["vio"]))


def solved_skew(values: Values) -> str:
    """The skew that was solved for, and the MaxVio that it gives; "" where the skew has its own control."""
    if values["vio"] == BY_SKEW:
        return ""
    scores = scores_of(values)
    reached = max_vio_at(scores, scores.skew)
    text = f"A skew of {scores.skew:.3f} logits gives MaxVio {reached:.2f} without balancing"
    if abs(reached - float(values["vio"])) >= 0.01:
        text += f", the nearest to {values['vio']}"
    tokens = counted(scores.num_tokens, "token")
    return f"{text}; in single steps of {tokens} it is {max_vio_of_steps(scores):.2f} on average."


def rule_of(values: Values, side: str) -> RuleSettings:
    """The first rule of side A or B."""
    rule = RuleSettings(
        rule=values[side],
        rate=float(values[f"u{side}"]),
        step_decay=values[f"n{side}"],
        start_step=int(values["wait"]),
    )
    if rule.rule != "smebu":
        return rule
    return replace(rule, sharpness=float(values[f"k{side}"]), momentum=float(values[f"m{side}"]))
