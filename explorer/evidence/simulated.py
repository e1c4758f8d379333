"""Experiments on frozen or simulated scores."""

from explorer.evidence import trials
from explorer.evidence.experiment import Arm, Experiment

PAIRS = {"tiny": 5, "quick": 20, "standard": 20, "long": 20}
"""Seeds; a simulated run takes a second."""


def _arm(key: str, label: str, **settings: object) -> Arm:
    return Arm(key=key, label=label, settings=tuple(settings.items()))


DESCENT = Experiment(
    id="descent",
    title="Bias rules on frozen scores",
    question="Does a bias rule descend on the dual of the assignment problem, and what does it leave?",
    arms=(
        _arm("sign", "sign, u=0.001", rule="sign", rate=1e-3, steps=3000),
        _arm("small_step", "sign, u=0.0001", rule="sign", rate=1e-4, steps=10_000),
        _arm("large_step", "sign, u=0.01", rule="sign", rate=1e-2, steps=3000),
        _arm("proportional", "proportional, u=0.01", rule="proportional", rate=1e-2, steps=1000),
    ),
    trial=trials.descent,
    pairs=PAIRS,
    priority=3,
)
ONLINE = Experiment(
    id="online",
    title="Step sizes on fresh scores",
    question="Is the regret logarithmic for the step size that strong convexity suggests?",
    arms=(
        _arm("constant", "sign, constant u", decay="constant", steps=2000),
        _arm("harmonic", "proportional, u/n", decay="harmonic", steps=2000),
    ),
    trial=trials.online,
    pairs=PAIRS,
    priority=3,
)
BIAS_FORMS = Experiment(
    id="bias-forms",
    title="The bias and the gates",
    question="Does a bias change the weight of an expert that stays chosen?",
    arms=(_arm("constant", "shifted biases"),),
    trial=trials.constant_bias,
    pairs=PAIRS,
    priority=3,
)
BF16 = Experiment(
    id="bf16-bias",
    title="A bias in bfloat16",
    question="Does a bias in bfloat16 stop moving, and when?",
    arms=tuple(
        _arm(
            f"{dtype}_skew{skew:g}",
            f"{dtype}, skew {skew:g}",
            rate=1e-3,
            dtype=dtype,
            skew=skew,
            steps=2000,
        )
        for skew in (1.0, 3.0)
        for dtype in ("bfloat16", "float32")
    ),
    trial=trials.bf16_bias,
    pairs=PAIRS,
    priority=4,
    note="No paper claims it; several public implementations keep the bias in the dtype of the model.",
)
SIMULATIONS: tuple[Experiment, ...] = (DESCENT, ONLINE, BIAS_FORMS, BF16)
