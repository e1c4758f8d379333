"""Claims C1-C10, on update rules and the forms of the bias."""

import math

from explorer.evidence.claim import (
    DEEPSEEK_V3,
    LOSS_FREE,
    Claim,
    difference,
    value,
)
from explorer.evidence.statistics import ABOVE, BELOW, NEVER, Region

PAPER_GAIN = 0.0063
"""Nats: the gain of loss-free in its paper, and here the margin within which two losses count as equal."""
NO_GAIN = Region(low=-PAPER_GAIN)
NO_COST = Region(high=PAPER_GAIN)
LOSS, GLOBAL = "held-out loss (nats)", "MaxVio global"
RULES = "update-rules"
WORST, IN_WORST = "worst_max_vio", "MaxVio of the worst layer"

CLAIMS = (
    Claim(
        id="C1",
        name="Update rate u",
        text="Too small an update rate balances badly early in training, too large a one late.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                RULES,
                "max_vio_early",
                "slow",
                "loss_free",
                ABOVE,
                "MaxVio batch of the first fifth, u 0.0003 − 0.003",
            ),
            difference(
                RULES, "max_vio_batch", "fast", "loss_free", ABOVE, "MaxVio batch at the end, u 0.03 − 0.003"
            ),
        ),
        falsifier="A slow rate that is as good early, or a fast one that is as good late.",
    ),
    Claim(
        id="C2",
        name="Proportional update rule",
        text="The proportional rule balances slightly better and gains no perplexity.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                RULES,
                "max_vio_global",
                "proportional",
                "loss_free",
                BELOW,
                f"{GLOBAL}, proportional − sign",
                0.036 - 0.044,
            ),
            difference(
                RULES,
                "lm_loss",
                "proportional",
                "loss_free",
                NO_GAIN,
                f"{LOSS}, proportional − sign",
                math.log(9.51 / 9.50),
            ),
            difference(RULES, WORST, "proportional", "loss_free", BELOW, f"{IN_WORST}, proportional − sign"),
        ),
        falsifier="A balance that is not better, on average or in the worst layer, or a gain of more than "
        "0.0063 nats.",
        published="9.50 and 0.044 (sign), 9.51 and 0.036 (proportional, u = 0.001).",
        caveat="Our proportional rule reads the relative violation, since the paper leaves the unit open.",
    ),
    Claim(
        id="C3",
        name="Multiplicative bias",
        text="A multiplicative bias is no better than an additive one.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                RULES,
                "lm_loss",
                "multiplicative",
                "loss_free",
                NO_GAIN,
                f"{LOSS}, multiplicative − additive",
                math.log(9.52 / 9.50),
            ),
        ),
        falsifier="A gain of more than 0.0063 nats.",
        published="9.50 (additive), 9.52 (multiplicative, u = 0.001).",
    ),
    Claim(
        id="C4",
        name="Size of computation batches",
        text="As computation batches grow, the imbalance of loss-free keeps falling and that of the "
        "auxiliary loss flattens.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "dilemma",
                "batch_slope",
                "loss_free",
                "sequence",
                BELOW,
                "slope of log MaxVio against log batch size, loss-free − aux sequence",
            ),
        ),
        falsifier="A slope that is not steeper. Independent tokens would give −½.",
    ),
    Claim(
        id="C5",
        name="Softmax gate and update rule",
        text="With a softmax gate the bias needs the proportional rule.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                RULES,
                "bias_amplitude",
                "softmax_sign",
                "softmax_proportional",
                ABOVE,
                "oscillation of the bias over its spread, sign − proportional",
            ),
            difference(
                RULES,
                "max_vio_global",
                "softmax_sign",
                "softmax_proportional",
                ABOVE,
                f"{GLOBAL}, sign − proportional, softmax",
            ),
            difference(
                RULES,
                WORST,
                "softmax_sign",
                "softmax_proportional",
                ABOVE,
                f"{IN_WORST}, sign − proportional, softmax",
            ),
        ),
        falsifier="A sign rule whose bias is as steady, or whose loads are as even.",
    ),
    Claim(
        id="C6",
        name="Leak in expert choice",
        text="Expert choice leaks information about later tokens.",
        source=LOSS_FREE,
        comparisons=(
            value(
                "leak",
                "leaking_tokens",
                "expert_choice",
                ABOVE,
                "share of earlier tokens whose experts change with a later one",
            ),
            value("leak", "leaking_tokens", "loss_free", NEVER, "the same under token choice"),
        ),
        falsifier="No earlier token that changes, or one under token choice.",
        published="Training loss drops by about 10 % when experts choose within chunks of 512 tokens (2B).",
    ),
    Claim(
        id="C7",
        name="Interference with the loss",
        text="The auxiliary loss interferes with the language loss, the more the larger α is; loss-free does "
        "not.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "interference",
                "gradient_ratio",
                "global_0.1",
                "global_0.001",
                ABOVE,
                "auxiliary over language gradient at the routers, α 0.1 − 0.001",
            ),
            value("interference", "gradient_ratio", "loss_free", NEVER, "the same under loss-free"),
        ),
        falsifier="A share of the auxiliary gradient that does not grow with α.",
        caveat="The cosine of the two gradients is on the card: an orthogonal gradient disturbs, but does "
        "not oppose.",
    ),
    Claim(
        id="C8",
        name="Bias outside the gate weights",
        text="The bias decides which experts are chosen and never enters their weights.",
        source=LOSS_FREE,
        comparisons=(
            value(
                "bias-forms",
                "changed_outputs",
                "constant",
                NEVER,
                "tokens whose gates change when all biases shift together",
            ),
        ),
        falsifier="One token whose gate weights change although its experts do not.",
    ),
    Claim(
        id="C9",
        name="Bias frozen late in training",
        text="Freezing the bias late in training keeps the balance.",
        source=DEEPSEEK_V3,
        comparisons=(
            difference(
                RULES,
                "max_vio_global",
                "frozen",
                "loss_free",
                Region(low=-0.05, high=0.05),
                f"{GLOBAL}, frozen from 97 % − never",
            ),
            difference(
                RULES,
                WORST,
                "frozen",
                "loss_free",
                Region(high=0.1),
                f"{IN_WORST}, frozen from 97 % − never",
            ),
        ),
        falsifier="A drift of more than 0.05, or of more than 0.1 in the worst layer.",
        published="γ = 0.001 for 14.3T tokens, then 0 for the last 500B.",
    ),
    Claim(
        id="C10",
        name="Small sequence loss",
        text="A sequence loss of 1e-4 limits the imbalance of single sequences at no cost.",
        source=DEEPSEEK_V3,
        comparisons=(
            difference(
                RULES,
                "sequence_max_vio_p99",
                "v3_sequence",
                "loss_free",
                BELOW,
                "99th percentile of MaxVio per sequence, with − without",
            ),
            difference(RULES, "lm_loss", "v3_sequence", "loss_free", NO_COST, f"{LOSS}, with − without"),
        ),
        falsifier="No lower percentile, or a cost of more than 0.0063 nats.",
    ),
)
