"""Terms of the Glossary: how to read charts and comparisons."""

from explorer.metrics.sources import LOSS_FREE, OURS, V3
from explorer.metrics.term import METRICS, READING, Term

TERMS: tuple[Term, ...] = (
    Term(
        key="imbalance",
        title="Imbalance",
        section=METRICS,
        text="Loads that are less even than under random routing: any MaxVio above the random-routing "
        "baseline.",
        sources=(OURS,),
    ),
    Term(
        key="paired_interval",
        title="Paired 95 % interval",
        section=READING,
        text="Two rules are compared seed by seed, with the same initial weights and the same data in the "
        "same order. The 95 % confidence interval is that of the mean difference.",
        formula=r"\bar d \pm t_{0.975,\,n-1}\,\frac{s_d}{\sqrt n}",
        note="$d$ are the differences of $n$ seeds, $s_d$ their standard deviation. A single seed has no "
        "interval.",
        sources=(OURS,),
    ),
    Term(
        key="not_significant",
        title="Not significant",
        section=READING,
        text="The interval includes zero: with these seeds the difference is not significant. This is not "
        "evidence of equality.",
        note="One comparison in twenty excludes zero by chance alone. Holm's correction is therefore "
        "applied to all pairs of the compared arms, metric by metric: it keeps the probability of any false "
        "positive at 5 %. The half width of the interval is the resolution. The published gain of loss-free "
        "over the paper's auxiliary loss is about 0.006 nats, which few short runs can resolve.",
        sources=(OURS, LOSS_FREE),
    ),
    Term(
        key="dilemma_plane",
        title="Dilemma plane",
        section=READING,
        text="Perplexity against MaxVio, one point per run. A stronger auxiliary loss moves the "
        "point along a curve from uneven loads and low perplexity to even loads and higher perplexity; lower "
        "left is better in both.",
        note="The same picture as Figure 2 of the paper.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="router_gradient",
        title="Gradient at the router",
        section=READING,
        text="The norm of a loss's gradient at the router's weight matrix in one step, before clipping. The "
        "language loss and the auxiliary losses are measured separately, every 25 steps.",
        formula=r"\lVert \nabla_{R}\,\ell \rVert, \qquad \lVert \nabla_{R} \textstyle\sum_l \alpha "
        r"L_{\mathrm{aux}}^{(l)} \rVert",
        note="A bias rule adds no gradient: it only changes which experts are selected. The router z-loss "
        "is in neither norm.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="gradient_cosine",
        title="Cosine of the gradients",
        section=READING,
        text="Whether the gradients of auxiliary loss and language loss at the router are aligned (+1), "
        "opposed (−1) or orthogonal (0). Below 0 the auxiliary loss opposes the language loss.",
        formula=r"\cos = \frac{\nabla\ell\cdot\nabla L_{\mathrm{aux}}}"
        r"{\lVert\nabla\ell\rVert\,\lVert\nabla L_{\mathrm{aux}}\rVert}",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="score_margin",
        title="Score margin",
        section=READING,
        text="The lead of the last chosen expert over the first rejected one, averaged over tokens. With a "
        "small margin, a small change of scores or bias changes the choice.",
        formula=r"\frac1T\sum_t \bigl(s_{(K),t} - s_{(K+1),t}\bigr)",
        note="Scores include the bias, where there is one.",
    ),
    Term(
        key="switched_share",
        title="Switched share",
        section=READING,
        text="The share of all assignments that differ because of the bias: selected experts that are not "
        "among the K with the highest scores.",
    ),
    Term(
        key="load_colours",
        title="Load colours",
        section=READING,
        text="Colours show the logarithm of the load over the uniform load: orange above, purple below, "
        "neutral at ×1. Experts without tokens have their own colour.",
        formula=r"\log_2\frac{c_i}{\bar c}",
        sources=(OURS,),
    ),
    Term(
        key="probe_batch",
        title="Probe batch",
        section=READING,
        text="A few held-out texts that the model routes at several steps of its training. The same tokens "
        "early and late show what the router has learnt; no training step ever sees them.",
        note="A run that trains with *probe tokens* (Train page, Training; `--set training.probe_tokens=1024`"
        ") records the router's logits, the chosen experts and the biases of its probe batch at five steps, "
        "evenly spaced on a logarithmic scale. The *cut-off* of a token lies "
        "half way between its last chosen and its first rejected expert.",
        sources=(OURS,),
    ),
    Term(
        key="routing_agreement",
        title="Agreement of two routings",
        section=READING,
        text="The share of the assignments that two routings of the same tokens both make: two runs, two "
        "probes of a run, or one probe with its bias held in another number format.",
        formula=r"\frac{\sum_t |A_t\cap B_t|}{\sum_t \max(|A_t|, |B_t|)} = 1 - \mathrm{churn}",
        note="Examples: a rollout and the training step that learns from it, two serving engines, two "
        "checkpoints, a bias in bf16 and in fp32. *From the loads alone*, $\\sum_i c_i c'_i / T$ shared "
        "assignments would be expected if the second routing drew its tokens independently. Expert "
        "numbers mean nothing across two training runs, so the best one-to-one relabelling of the experts "
        "is given as well.",
        sources=(OURS,),
    ),
    Term(
        key="counterfactual",
        title="Counterfactual replay",
        section=READING,
        text="Another rule applied to recorded scores, which stay fixed: the experts that it would choose, "
        "and how its bias would move.",
        note="Open loop: a bias changes the choice of these tokens exactly as in the run, but no expert "
        "learns from the tokens that it now receives, and the router does not adapt. It compares rules on "
        "the same scores; it does not predict what training would do.",
        sources=(OURS,),
    ),
    Term(
        key="figure_nine",
        title="Expert load by domain",
        section=READING,
        text="Held-out tokens of a domain that an expert receives, relative to the uniform load in "
        "that domain. 1 is balanced; specialists lie far above it.",
        formula=r"\frac{c_{i,d}}{\bar c_d}, \qquad \bar c_d = \frac1N \sum_{j=1}^{N} c_{j,d}",
        note="The form of Figure 9 of the DeepSeek-V3 report: one linear scale from 0 for all methods.",
        sources=(V3,),
    ),
    Term(
        key="playhead",
        title="Playhead",
        section=READING,
        text="The step that all panels show, drawn as the same vertical line everywhere.",
    ),
    Term(
        key="events",
        title="Events",
        section=READING,
        text="Turning points of a run: an expert dies, a layer collapses, the rule changes. Events are "
        "detected in the recorded steps, listed, and marked on every time axis.",
        note="Each kind has its own entry above, with its threshold.",
    ),
    Term(
        key="bias_step",
        title="Bias step",
        section=READING,
        text="One update of the biases of a layer: the counts of a step, their distance from the mean, and "
        "the new bias. The app recomputes it and compares it with the logged one.",
        formula=r"b_i \leftarrow b_i + u\,\operatorname{sign}(\bar c - c_i)",
        note="The recomputation uses the trainer's own float32 operations, so the result must be equal, bit "
        "for bit; rules that sum fractions may differ in the last digit. Rules that read scores, or a "
        "running mean of earlier counts, cannot be recomputed from the log.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="arm",
        title="Arm and seed",
        section=READING,
        text="An arm is one balancing rule in an experiment; each seed repeats it with other initial weights "
        "and data order. Expert numbers do not correspond across runs: expert 3 of one run is not expert 3 "
        "of another.",
    ),
    Term(
        key="preset",
        title="Presets quick and standard",
        section=READING,
        text="A named size of model and training. Quick: 2 MoE layers, 200 steps of 1,024 tokens. Standard: "
        "4 MoE layers, 800 steps of 1,536 tokens, the size of the shipped runs.",
        note="Losses and MaxVio of one preset say nothing about the other's: the smaller, shorter training "
        "ends with a higher loss, and the same α or u balances less in it. Only runs of one preset are "
        "compared as pairs. Claims on the Evidence page are tested with the quick preset, where many "
        "seeds are affordable; lessons show runs of the standard preset.",
        sources=(OURS,),
    ),
    Term(
        key="step",
        title="Step",
        section=READING,
        text="One optimizer update, counted from 0.",
    ),
)
