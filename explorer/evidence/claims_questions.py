"""The research questions 000-004, each with the expectation that its experiment tests."""

from explorer.evidence.claim import DEEPSEEK_V3, LYNX, QUESTION, Claim, difference
from explorer.evidence.statistics import ABOVE, BELOW

CLAIMS = (
    Claim(
        id="000",
        text="How does loss-free balancing affect the stability of code generation, compared with an "
        "auxiliary loss? "
        "Expected: steadier training, no more loss spikes.",
        source=QUESTION,
        comparisons=(
            difference(
                "dilemma",
                "loss_roughness",
                "loss_free",
                "sequence",
                BELOW,
                "mean change of the loss between steps (nats), loss-free − aux sequence",
            ),
            difference(
                "dilemma",
                "grad_norm_tail",
                "loss_free",
                "sequence",
                BELOW,
                "99th percentile of the gradient norm over its median, loss-free − aux sequence",
            ),
        ),
        falsifier="A loss that changes as much from step to step, or as heavy a tail of gradient norms.",
        caveat="Asked as “code generation in the GPQA Diamond domain”; GPQA Diamond holds graduate science "
        "multiple "
        "choice questions, not code. Stability is measured on the training of a mixed corpus with code.",
    ),
    Claim(
        id="001",
        text="How does it affect the diversity of expert use and the accuracy on HumanEval? Expected: "
        "domains differ "
        "more in their experts, and the loss on code is lower.",
        source=DEEPSEEK_V3,
        comparisons=(
            difference(
                "dilemma",
                "domain_distance",
                "loss_free",
                "sequence",
                ABOVE,
                "Jensen-Shannon distance between domains, loss-free − aux sequence",
            ),
            difference(
                "dilemma",
                "code_loss",
                "loss_free",
                "sequence",
                BELOW,
                "held-out loss on Python and C++ (nats), loss-free − aux sequence",
            ),
        ),
        falsifier="Domains that use the experts as alike, or a loss on code that is not lower.",
        published="HumanEval pass@1 22.0 → 22.6 (15.7B) and 40.2 → 46.3 (228.7B); 1 and 10 of 164 problems.",
        caveat="pass@1 on HumanEval is 0 for models of this size; the loss on code stands for it.",
    ),
    Claim(
        id="002",
        text="How does its balance compare with traditional routing in inference with long contexts?",
        source=QUESTION,
        falsifier="An excess imbalance that does not depend on the length.",
        missing="evaluation at context lengths beyond the training length",
    ),
    Claim(
        id="003",
        text="How do DeepSeek-V3's measures for stability affect the speed of convergence and the loss on "
        "code over "
        "data sizes? Expected: no balancing is worst at every size.",
        source=QUESTION,
        comparisons=(
            difference(
                "data-scales",
                "code_loss",
                "loss_free",
                "none",
                BELOW,
                "held-out loss on code (nats), loss-free − none, all data",
            ),
            difference(
                "data-scales",
                "code_loss",
                "loss_free_quarter",
                "none_quarter",
                BELOW,
                "held-out loss on code (nats), loss-free − none, a quarter",
            ),
            difference(
                "data-scales",
                "course_loss",
                "loss_free",
                "none",
                BELOW,
                "mean held-out loss during training (nats), loss-free − none",
            ),
        ),
        falsifier="A size at which no balancing is as good.",
    ),
    Claim(
        id="004",
        text="What does Lynx do to load balance and answer accuracy, relative to static routing with fewer "
        "experts?",
        source=LYNX,
        published="Mixtral-8x7B: HumanEval 49.4 → 50.6 and 1.18 times the speed. HotpotQA was never "
        "measured.",
        falsifier="A smaller static k that is as good at equal distinct experts.",
        missing="batch-aware decoding and a two-hop question answering task",
    ),
)
