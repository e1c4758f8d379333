"""Claims C1-C10, on update rules and the forms of the bias, and X1-X5, the tests across papers."""

import math

from explorer.evidence.claim import (
    DEEPSEEK_V3,
    DEMONS,
    LOSS_FREE,
    QUANTILE,
    Claim,
    Comparison,
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

CLAIMS_C = (
    Claim(
        id="C1",
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
        ),
        falsifier="A balance that is not better, or a gain of more than 0.0063 nats.",
        published="9.50 and 0.044 (sign), 9.51 and 0.036 (proportional, u = 0.001).",
        caveat="Our proportional rule reads the relative violation, since the paper leaves the unit open.",
    ),
    Claim(
        id="C3",
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
        ),
        falsifier="A sign rule whose bias is as steady, or whose loads are as even.",
    ),
    Claim(
        id="C6",
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
        ),
        falsifier="A drift of more than 0.05.",
        published="γ = 0.001 for 14.3T tokens, then 0 for the last 500B.",
    ),
    Claim(
        id="C10",
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
CLAIMS_X = (
    Claim(
        id="X1",
        text="The scope of the count explains the gain, not the mechanism.",
        source=DEMONS,
        comparisons=(
            difference(
                "scope",
                "lm_loss",
                "sequence",
                "global",
                ABOVE,
                f"{LOSS}, aux sequence − aux global",
                2.258 - 2.253,
            ),
            Comparison(
                experiment="scope",
                metric="lm_loss",
                contrast=(("sequence", 1.0), ("global", -2.0), ("loss_free", 1.0)),
                region=ABOVE,
                words=f"{LOSS}, effect of the scope − effect of the mechanism",
                published=2.258 - 2 * 2.253 + 2.253,
            ),
        ),
        falsifier="No loss from the narrower scope, or a larger gain from loss-free at the same scope.",
        published="1B: 2.258 (aux, sequence), 2.253 (aux, batch), 2.253 (loss-free), DeepSeek-V3 section "
        "4.5.3.",
    ),
    Claim(
        id="X2",
        text="The diversity of the tokens that are counted together matters, not their number.",
        source=DEMONS,
        published="Perplexity 8.167 (4 sequences), 8.041 (4 sequences' tokens of a shuffled batch), 8.038 "
        "(512).",
        falsifier="Shuffled micro-batches that are no better than those of whole sequences.",
        missing="a count scope over a random sample of the batch's tokens",
    ),
    Claim(
        id="X3",
        text="The later a run changes to the global scope, the less of its gain is left.",
        source=DEMONS,
        comparisons=(
            difference(
                "scope",
                "lm_loss",
                "switch_50",
                "switch_10",
                ABOVE,
                f"{LOSS}, changed at 50 % − at 10 %",
                math.log(7.322 / 7.283),
            ),
            difference(
                "scope",
                "lm_loss",
                "switch_10",
                "global",
                ABOVE,
                f"{LOSS}, changed at 10 % − from the start",
                math.log(7.283 / 7.199),
            ),
        ),
        falsifier="A late change that is as good as an early one, or as the global scope from the start.",
        published="7.199 from the start; 7.283, 7.297, 7.322 when changed at 10, 30, 50 % of the steps.",
    ),
    Claim(
        id="X4",
        text="Quantile balancing is better than the sign rule in the worst layer.",
        source=QUANTILE,
        comparisons=(
            difference(
                RULES,
                "worst_max_vio",
                "quantile",
                "loss_free",
                BELOW,
                "MaxVio of the worst layer, quantile − sign",
            ),
        ),
        falsifier="A worst layer that is as unbalanced as under the sign rule.",
        published="First layer: MaxVio 0.6 to 0.74 against 1 to 2; no advantage elsewhere.",
    ),
    Claim(
        id="X5",
        text="A loss on raw sigmoid scores can be lowered by shrinking the scores, without balancing "
        "anything.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "normalisation", "mean_score", "raw_1", "global_1", BELOW, "mean score, raw − normalised, α 1"
            ),
            difference(
                "normalisation",
                "max_vio_global",
                "raw_1",
                "global_1",
                ABOVE,
                f"{GLOBAL}, raw − normalised, α 1",
            ),
        ),
        falsifier="Scores that are as large, or loads that are as even, as with normalised scores.",
        caveat="An analysis of the formula, not a statement of the paper.",
    ),
)
