"""Claims A1-A13, about the loss-free paper and what it builds on."""

import math

from explorer.evidence.claim import DEEPSEEK_MOE, LOSS_FREE, Claim, difference, value
from explorer.evidence.claim import Comparison as Comparison
from explorer.evidence.statistics import ABOVE, BELOW, Region

GAIN_1B = math.log(9.50 / 9.56)
GAIN_3B = math.log(7.92 / 7.97)
ALPHAS = ("0.001", "0.01", "0.1")
LOSS, GLOBAL = "held-out loss (nats)", "MaxVio global"

CLAIMS = (
    Claim(
        id="A1",
        name="Fine-grained and shared experts",
        text="DeepSeekMoE's architecture outperforms GShard's clearly at equal total and active parameters.",
        source=DEEPSEEK_MOE,
        comparisons=(
            difference(
                "architecture",
                "lm_loss",
                "fine",
                "gshard",
                BELOW,
                f"{LOSS}, DeepSeekMoE-like − GShard-like",
                -0.059,
            ),
        ),
        falsifier="A loss of the fine-grained model that is not lower.",
        published="Pile loss 1.808 against 1.867 (2B parameters, 100B tokens).",
        caveat="Our GShard-like layer has top-2 of 8, a random second expert, capacity 1.0 and GShard's "
        "loss.",
    ),
    Claim(
        id="A2",
        name="Removing the shared expert",
        text="Experts are segmented into finer ones and some are isolated as shared: without its shared "
        "expert a "
        "model loses more than without a routed one.",
        source=DEEPSEEK_MOE,
        comparisons=(
            value(
                "ablation",
                "cost_difference",
                "shared",
                ABOVE,
                "loss increase (nats), without the shared − without one routed expert",
            ),
        ),
        falsifier="Removing one routed expert costs as much.",
        published="Pile loss 1.808 rises to 2.414 without the shared expert (2B).",
    ),
    Claim(
        id="A3",
        name="Sigmoid or softmax gate",
        text="Under an auxiliary loss, the sigmoid gate is better than the softmax gate.",
        source=LOSS_FREE,
        comparisons=(
            Comparison(
                experiment="gates",
                metric="lm_loss",
                contrast=(
                    *((f"global_{a}" if a != "0.01" else "global", 1 / 3) for a in ALPHAS),
                    *((f"softmax_{a}", -1 / 3) for a in ALPHAS),
                ),
                region=BELOW,
                words=f"{LOSS}, sigmoid − softmax, mean over three α",
                published=math.log(9.56 / 9.604),
            ),
        ),
        falsifier="A softmax gate whose loss, averaged over three α, is not higher.",
        published="Perplexity 9.56 (sigmoid) against 9.604 (softmax), each at its best α (1B).",
    ),
    Claim(
        id="A4",
        name="Model sizes in the paper",
        text="The experiments cover two sizes, 1B and 3B parameters.",
        source=LOSS_FREE,
        not_testable="A statement about the paper; it is on its configuration card.",
    ),
    Claim(
        id="A5",
        name="Training tokens in the paper",
        text="The 1B model was trained on 100B tokens, the 3B model on 200B.",
        source=LOSS_FREE,
        published="1,152 sequences × 2,048 tokens × 40,000 steps are 94.4B tokens; 3B: 200.0B.",
        not_testable="A statement about the paper; it is on its configuration card.",
    ),
    Claim(
        id="A6",
        name="Cosine and multistep schedules",
        text="The 1B model uses a cosine schedule, the 3B model a multistep one; the result holds under "
        "both.",
        source=LOSS_FREE,
        comparisons=(
            difference("schedules", "max_vio_global", "loss_free", "sequence", BELOW, f"{GLOBAL}, cosine"),
            difference(
                "schedules",
                "max_vio_global",
                "loss_free_multistep",
                "sequence_multistep",
                BELOW,
                f"{GLOBAL}, multistep",
            ),
        ),
        falsifier="A schedule under which loss-free is not the better balanced one.",
    ),
    Claim(
        id="A7",
        name="Strength of the auxiliary loss",
        text="The strength α of the auxiliary loss trades balance for quality, which is why the baseline "
        "uses 0.001.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "dilemma", "max_vio_global", "global_0.1", "global_0.001", BELOW, f"{GLOBAL}, α 0.1 − 0.001"
            ),
            difference("dilemma", "lm_loss", "global_1", "global", ABOVE, f"{LOSS}, α 1 − 0.01"),
        ),
        falsifier="No better balance at a larger α, or no higher loss.",
        caveat="Our loss uses scores that sum to one, so its α are not those of the paper's raw sigmoid "
        "scores.",
    ),
    Claim(
        id="A8",
        name="Loss-free or aux loss, tuned",
        text="Loss-free balancing reaches a lower perplexity and a better balance than the auxiliary loss.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "loss-free",
                "lm_loss",
                "loss_free",
                "global",
                BELOW,
                f"{LOSS}, loss-free − aux global, both tuned",
                GAIN_1B,
            ),
            difference(
                "loss-free",
                "max_vio_global",
                "loss_free",
                "global",
                BELOW,
                f"{GLOBAL}, loss-free − aux global, both tuned",
            ),
        ),
        falsifier="A loss or an imbalance that is not lower.",
        published="0.0063 nats at both sizes (perplexity 9.50 against 9.56, and 7.92 against 7.97).",
        caveat="The paper's baseline loss is written for a sequence; here the baseline counts over the whole "
        "batch.",
    ),
    Claim(
        id="A9",
        name="Loss-free at the smaller width",
        text="At the smaller size, loss-free balancing beats the auxiliary loss in perplexity and balance.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "dilemma",
                "max_vio_global",
                "loss_free",
                "sequence",
                BELOW,
                f"{GLOBAL}, loss-free − aux sequence",
                0.04 - 0.72,
            ),
            difference(
                "dilemma",
                "lm_loss",
                "loss_free",
                "sequence",
                BELOW,
                f"{LOSS}, loss-free − aux sequence",
                GAIN_1B,
            ),
        ),
        falsifier="An imbalance or a loss that is not lower at our smaller width.",
        published="Perplexity 9.50 against 9.56, MaxVio global 0.04 against 0.72 (1B).",
        caveat="The direction at our smaller width; the numbers themselves need a billion parameters. The "
        "baseline counts per sequence, as the paper's does, so most of the gain may be that of the scope "
        "(claim “Scope or mechanism”).",
    ),
    Claim(
        id="A10",
        name="Loss-free at the larger width",
        text="At the larger size, loss-free balancing with the same u beats the auxiliary loss again.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "widths",
                "max_vio_global",
                "loss_free",
                "sequence",
                BELOW,
                f"{GLOBAL}, loss-free − aux sequence",
                0.04 - 0.52,
            ),
            difference(
                "widths",
                "lm_loss",
                "loss_free",
                "sequence",
                BELOW,
                f"{LOSS}, loss-free − aux sequence",
                GAIN_3B,
            ),
        ),
        falsifier="An imbalance or a loss that is not lower at our larger width.",
        published="Perplexity 7.92 against 7.97, MaxVio global 0.04 against 0.52 (3B).",
        caveat="The direction at one and a half times the width; the numbers need three billion parameters. "
        "The baseline counts per sequence, as the paper's does, so most of the gain may be that of the scope "
        "(claim “Scope or mechanism”).",
    ),
    Claim(
        id="A11",
        name="Balance throughout training",
        text="Under loss-free balancing, batches are better balanced throughout most of the training.",
        source=LOSS_FREE,
        comparisons=(
            difference(
                "dilemma",
                "steps_ahead",
                "loss_free",
                "sequence",
                Region(low=0.9),
                "share of steps after warm-up with a lower MaxVio batch",
            ),
        ),
        falsifier="A share of at most 0.9 of the steps after the bias has had spread/(2u) steps.",
    ),
    Claim(
        id="A12",
        name="MaxVio global as a limit",
        text="MaxVio global measures utilisation and is the limit of the batch's MaxVio as batches grow.",
        source=LOSS_FREE,
        comparisons=(
            value(
                "dilemma",
                "batch_remainder",
                "loss_free",
                Region(high=0.2),
                "distance to the limit at half of the text, over that of one sequence",
            ),
        ),
        falsifier="A distance of 0.2 or more.",
    ),
    Claim(
        id="A13",
        name="MaxVio batch and step time",
        text="MaxVio batch is more closely related to training efficiency than MaxVio global.",
        source=LOSS_FREE,
        comparisons=(
            value(
                "dilemma",
                "time_correlation_gain",
                "sequence",
                ABOVE,
                "correlation with modelled step time, MaxVio batch − slow MaxVio",
            ),
        ),
        falsifier="A correlation that is not higher.",
        caveat="Step time is modelled: the load of the busiest device of four experts.",
    ),
)
