"""The research questions 000-006, each with the expectation that its experiment tests."""

from explorer.evidence.claim import DEEPSEEK_V3, LYNX, QUESTION, Claim, difference, value
from explorer.evidence.statistics import ABOVE, BELOW, Region

CLAIMS = (
    Claim(
        id="000",
        name="Stability on code",
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
            difference(
                "code",
                "code_loss_rise",
                "loss_free",
                "sequence",
                BELOW,
                "mean rise of the held-out loss on code between evaluations (nats), loss-free − aux sequence",
            ),
            difference(
                "stability",
                "loss_spikes",
                "loss_free",
                "sequence",
                Region(high=1.0),
                "loss spikes per run, loss-free − aux sequence",
            ),
            difference(
                "stability",
                "churn",
                "loss_free",
                "sequence",
                BELOW,
                "churn of experts between probes, loss-free − aux sequence",
            ),
        ),
        falsifier="A loss that changes as much from step to step, as heavy a tail of gradient norms, a loss "
        "on code that rises as much between evaluations, one more loss spike per run, or as much churn.",
        caveat="Asked as “code generation in the GPQA Diamond domain”; GPQA Diamond holds graduate science "
        "multiple "
        "choice questions, not code. Stability is measured on the training of a mixed corpus with code.",
    ),
    Claim(
        id="001",
        name="Expert diversity and code loss",
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
            difference(
                "code",
                "human_eval_bits_per_byte",
                "loss_free",
                "sequence",
                BELOW,
                "HumanEval, bits per byte of the canonical solution, loss-free − aux sequence",
            ),
        ),
        falsifier="Domains that use the experts as alike, or a loss on code or on HumanEval that is not "
        "lower.",
        published="HumanEval pass@1 22.0 → 22.6 (15.7B) and 40.2 → 46.3 (228.7B); 1 and 10 of 164 problems.",
        caveat="pass@1 on HumanEval is 0 for models of this size; the loss on code and the bits per byte "
        "of HumanEval's solutions stand for it.",
    ),
    Claim(
        id="002",
        name="Long contexts",
        text="How does its balance compare with traditional routing in inference with long contexts? "
        "Expected: at 8 times the training length less excess imbalance than under a sequence loss, more "
        "than at the training length, and a placement planned there still helps.",
        source=QUESTION,
        comparisons=(
            difference(
                "long-context",
                "excess_8x",
                "loss_free",
                "sequence",
                BELOW,
                "excess MaxVio over the clustered floor at 8 times the length, loss-free − aux sequence",
            ),
            value(
                "long-context",
                "excess_growth",
                "loss_free",
                ABOVE,
                "excess MaxVio of loss-free, few long − many short sequences",
            ),
            value(
                "long-context",
                "eplb_gain",
                "loss_free",
                BELOW,
                "MaxVio of 4 GPUs at 8 times the length, EPLB − contiguous placement, loss-free",
            ),
        ),
        falsifier="An excess imbalance that is not lower than under a sequence loss or does not grow with "
        "the length, or a placement that no longer helps.",
        caveat="Models trained on 64 or 128 tokens, with rotary positions that nothing extends. Both sides "
        "of a difference read the same held-out tokens. EPLB has one replica per GPU and is planned at the "
        "training length.",
    ),
    Claim(
        id="003",
        name="Data size and convergence",
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
                "code_loss",
                "loss_free_sixteenth",
                "none_sixteenth",
                BELOW,
                "held-out loss on code (nats), loss-free − none, a sixteenth",
            ),
            difference(
                "data-scales",
                "course_loss",
                "loss_free",
                "none",
                BELOW,
                "mean held-out loss during training (nats), loss-free − none",
            ),
            difference(
                "code",
                "steps_to_target",
                "loss_free",
                "none",
                BELOW,
                "steps to a fixed held-out loss, loss-free − none, all data",
            ),
            difference(
                "code",
                "steps_to_target",
                "loss_free_quarter",
                "none_quarter",
                BELOW,
                "steps to a fixed held-out loss, loss-free − none, a quarter",
            ),
            difference(
                "code",
                "steps_to_target",
                "loss_free_sixteenth",
                "none_sixteenth",
                BELOW,
                "steps to a fixed held-out loss, loss-free − none, a sixteenth",
            ),
        ),
        falsifier="A size at which no balancing is as good, or as fast.",
    ),
    Claim(
        id="004",
        name="Lynx and full routing",
        text="What does Lynx do to load balance and answer accuracy, relative to static routing with fewer "
        "experts? Expected: at equal distinct experts it stays closer to full routing, and batches are less "
        "balanced.",
        source=LYNX,
        comparisons=(
            value(
                "selection",
                "lynx_keep_0.75_kl_over_static",
                "mixtral",
                BELOW,
                "KL to full routing at equal distinct experts (nats), Lynx − static k, top-2 of 8, batch 8",
            ),
            value(
                "selection",
                "lynx_keep_0.75_kl_over_static",
                "fine",
                BELOW,
                "KL to full routing at equal distinct experts (nats), Lynx − static k, top-4 of 32, batch 8",
            ),
            value(
                "selection",
                "lynx_keep_0.75_max_vio_rise",
                "fine",
                ABOVE,
                "MaxVio of decoding batches, Lynx − full routing, top-4 of 32, batch 8",
            ),
        ),
        falsifier="A smaller static k that is as close to full routing at equal distinct experts, or batches "
        "that are no less balanced.",
        published="Mixtral-8x7B: HumanEval 49.4 → 50.6 and 1.18 times the speed. HotpotQA was never "
        "measured.",
        caveat="The KL to full routing stands for answer accuracy, which “Lynx and answer accuracy” "
        "measures. Lynx's cut-off is not published: it keeps 75 % of the experts here. Measured times are "
        "in the rows and decide nothing.",
    ),
    Claim(
        id="005",
        name="Executed code",
        text="How does loss-free balancing affect the accuracy of code that is completed and executed? "
        "Expected: more programs pass their tests, and more lines match, than under a sequence loss.",
        source=QUESTION,
        comparisons=(
            difference(
                "completions",
                "programs_pass@1",
                "loss_free",
                "sequence",
                ABOVE,
                "generated programs, pass@1 of ten executed completions, loss-free − aux sequence",
            ),
            difference(
                "completions",
                "fill_in_line_match",
                "loss_free",
                "sequence",
                ABOVE,
                "fill-in-the-middle, share of matching lines, loss-free − aux sequence",
            ),
            difference(
                "completions",
                "human_eval_pass_pass@1",
                "loss_free",
                "sequence",
                ABOVE,
                "HumanEval, pass@1 of greedy completions, loss-free − aux sequence",
            ),
        ),
        falsifier="Programs that pass, or lines that match, no more often than under a sequence loss.",
        published="HumanEval pass@1 22.0 → 22.6 (15.7B) and 40.2 → 46.3 (228.7B); 1 and 10 of 164 problems.",
        caveat="Trained on 0.4 million tokens of Python, lines to fill in and generated programs of three "
        "lines; 24 of each and of HumanEval's problems. pass@1 on HumanEval is shown as what it is at this "
        "size.",
    ),
    Claim(
        id="006",
        name="Lynx and answer accuracy",
        text="What does Lynx do to the accuracy of answers, relative to static routing with fewer experts? "
        "Expected: more two-hop questions are answered right than with the best expert of each token alone.",
        source=LYNX,
        comparisons=(
            value(
                "answers",
                "lynx_keep_0.75_exact_match_gain",
                "mixtral",
                ABOVE,
                "exact match on two-hop questions, Lynx − static top-1, top-2 of 8, batch 8",
            ),
            value(
                "answers",
                "lynx_keep_0.75_f1_gain",
                "mixtral",
                ABOVE,
                "F1 on two-hop questions, Lynx − static top-1, top-2 of 8, batch 8",
            ),
        ),
        falsifier="As few right answers as with static top-1.",
        published="HotpotQA was never measured.",
        caveat="Generated questions in HotpotQA's form, not HotpotQA. Naming any country of the text is "
        "right for a third of them; a model that does not reach that has nothing to lose. Lynx keeps 75 % of "
        "the experts.",
    ),
)
