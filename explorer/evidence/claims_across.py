"""Claims X1-X7: tests across papers, and questions that came after them."""

import math

from explorer.evidence.claim import (
    DEMONS,
    LOSS_FREE,
    MARIN,
    QUANTILE,
    THREE_PHASES,
    Claim,
    Comparison,
    difference,
    value,
)
from explorer.evidence.claims_rules import GLOBAL, IN_WORST, LOSS, RULES, WORST
from explorer.evidence.statistics import ABOVE, BELOW, Region

CLAIMS = (
    Claim(
        id="X1",
        name="Scope or mechanism",
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
            difference(
                "scope",
                "lm_loss",
                "bias_micro",
                "loss_free",
                ABOVE,
                f"{LOSS}, bias at micro-batch − at global scope",
                math.log(8.521 / 8.080),
            ),
        ),
        falsifier="No loss from the narrower scope, of the auxiliary loss or of the bias, or a larger gain "
        "from loss-free at the same scope.",
        published="1B: 2.258 (aux, sequence), 2.253 (aux, batch), 2.253 (loss-free), DeepSeek-V3 section "
        "4.5.3.",
    ),
    Claim(
        id="X2",
        name="Diversity of counted tokens",
        text="The diversity of the tokens that are counted together matters, not their number.",
        source=DEMONS,
        comparisons=(
            difference(
                "scope",
                "lm_loss",
                "shuffled",
                "micro",
                BELOW,
                f"{LOSS}, aux shuffled − aux micro-batch",
                math.log(8.041 / 8.167),
            ),
            Comparison(
                experiment="scope",
                metric="lm_loss",
                contrast=(("micro", 1.0), ("shuffled", -2.0), ("global", 1.0)),
                region=ABOVE,
                words=f"{LOSS}, effect of diversity − effect of the number",
                published=math.log(8.167 / 8.041) - math.log(8.041 / 8.038),
            ),
        ),
        falsifier="Shuffled micro-batches that are no better than those of whole sequences, or that stay "
        "closer to them than to the whole batch.",
        published="Perplexity 8.167 (4 sequences), 8.041 (4 sequences' tokens of a shuffled batch), 8.038 "
        "(512).",
        caveat="Our micro-batch has 4 of the 16 sequences of a step. Single assignments are drawn, not "
        "tokens.",
    ),
    Claim(
        id="X3",
        name="Late change of scope",
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
            difference(
                "scope",
                "lm_loss",
                "free_50",
                "free_10",
                ABOVE,
                f"{LOSS}, changed to loss-free at 50 % − at 10 %",
            ),
        ),
        falsifier="A late change that is as good as an early one, or as the global scope from the start.",
        published="7.199 from the start; 7.283, 7.297, 7.322 when changed at 10, 30, 50 % of the steps.",
    ),
    Claim(
        id="X4",
        name="Quantile balancing",
        text="Quantile balancing is better than the sign rule in the worst layer.",
        source=QUANTILE,
        comparisons=(
            difference(
                RULES,
                WORST,
                "quantile",
                "loss_free",
                BELOW,
                f"{IN_WORST}, quantile − sign",
            ),
        ),
        falsifier="A worst layer that is as unbalanced as under the sign rule.",
        published="First layer: MaxVio 0.6 to 0.74 against 1 to 2; no advantage elsewhere.",
    ),
    Claim(
        id="X5",
        name="Loss on raw scores",
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
    Claim(
        id="X6",
        name="Three phases of routing",
        text="Routing passes through three phases: its imbalance surges, settles, and relaxes below where it "
        "began.",
        source=THREE_PHASES,
        comparisons=(
            value(
                "dilemma",
                "surge",
                "global",
                Region(low=0.1),
                "MaxVio batch, highest − first fiftieth of the training, aux global",
            ),
            value(
                "dilemma",
                "relaxation",
                "global",
                BELOW,
                "MaxVio batch, last tenth − first fiftieth of the training, aux global",
            ),
        ),
        falsifier="No rise of 0.1 above the first fiftieth, or an end above it.",
        published="Congestion over 20 checkpoints of OLMoE: 14, 36 to 39 at 30,000 to 40,000 steps, 9 at the "
        "end (abstract only).",
        caveat="Their coefficient is fitted to checkpoints of one model with an auxiliary loss; ours is "
        "MaxVio of every step, in a run with 100 times fewer steps.",
    ),
    Claim(
        id="X7",
        name="Learned or frozen router",
        text="The learned router matters: under quantile balancing, a frozen random router costs loss.",
        source=MARIN,
        comparisons=(
            difference(
                "update-rules",
                "lm_loss",
                "frozen_router",
                "quantile",
                ABOVE,
                f"{LOSS}, frozen random router − learned router",
            ),
        ),
        falsifier="A frozen random router whose loss is not higher.",
        published="Asked there as a question; no number is known to us.",
    ),
)
