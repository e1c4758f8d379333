"""Every term of the app: what it means, its formula and where it comes from. The one home of these texts.

The Glossary page prints all of it; tooltips take `tip(key)`. Figures are defined in `explorer/metrics`
(the words too: `catalogue.py`), rules in `explorer/balancing.py` and `explorer/model/balancers.py`; the
formulas here say the same.
Formulas are LaTeX. Symbols are those of the papers: N routed experts, K chosen per token, T tokens,
c_i assignments of expert i, s_{i,t} score of expert i for token t, b_i bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.metrics.catalogue import METRICS, Metric
from explorer.metrics.events import DETECTED, RECORDED, EventKind
from explorer.sources import (
    DEEPSEEK_MOE,
    DEMONS,
    GSHARD,
    LOSS_FREE,
    OURS,
    SIMBAL,
    ST_MOE,
    SWITCH,
    V3,
    Source,
)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One entry."""

    key: str
    title: str
    section: str
    text: str
    """One or two plain sentences; also the tooltip."""
    formula: str = ""
    more: str = ""
    """What the page adds: symbols, ranges, traps."""
    sources: tuple[Source, ...] = ()


ROUTING, RULES, FIGURES, EVENTS, READING = (
    "How a token finds its experts",
    "Balancing rules",
    "Figures",
    "Events on the time axis",
    "Reading the pictures",
)

_WRITTEN: tuple[Term, ...] = (
    Term(
        key="mixture_of_experts",
        title="Mixture of experts",
        section=ROUTING,
        text="A layer with many small feed-forward networks, the experts. Each token passes only a few of "
        "them, so the model can be large while the work per token stays small.",
        formula=r"h_t = u_t + \sum_{i=1}^{N} g_{i,t}\,\mathrm{FFN}_i(u_t)",
        more="$N$ routed experts, of which $K$ have a gate weight $g_{i,t} \\neq 0$ for token $t$.",
        sources=(GSHARD, SWITCH, DEEPSEEK_MOE),
    ),
    Term(
        key="router",
        title="Router and score",
        section=ROUTING,
        text="The router gives every expert a score for every token. The score says how well they fit.",
        formula=r"s_{i,t} = \sigma(u_t^{\top} e_i) \quad\text{or}\quad s_{\cdot,t} = "
        r"\mathrm{softmax}(u_t^{\top} e_{\cdot})",
        more="$e_i$ is a learned vector of expert $i$. With a sigmoid $\\sigma$ each score lies between 0 "
        "and 1 on its own; with a softmax the scores of a token sum to 1 and compete.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="top_k",
        title="Top-K routing",
        section=ROUTING,
        text="Each token goes to the K experts with the highest score, or score plus bias where a rule has "
        "one.",
        formula=r"\mathcal{E}_t = \mathrm{TopK}\bigl(\{\,s_{i,t} + b_i\,\}_{i=1}^{N},\,K\bigr)",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="gate_weight",
        title="Gate weight",
        section=ROUTING,
        text="How much a chosen expert's answer counts. It is made from the unbiased score: a bias decides "
        "who is chosen, never how loud.",
        formula=r"g_{i,t} = \gamma\,\frac{s_{i,t}}{\sum_{j\in\mathcal{E}_t} s_{j,t}}\ \text{ if } "
        r"i\in\mathcal{E}_t,\text{ else } 0",
        more="The division is optional (`normalize_gates`; the Loss-Free paper does without, DeepSeek-V3 "
        "with) and is never done for $K=1$. $\\gamma$ is `route_scale`.",
        sources=(LOSS_FREE, V3),
    ),
    Term(
        key="shared_expert",
        title="Shared expert",
        section=ROUTING,
        text="An expert that every token passes. It is not routed and never part of a load figure.",
        sources=(DEEPSEEK_MOE,),
    ),
    Term(
        key="load",
        title="Load",
        section=ROUTING,
        text="How many tokens an expert was given in a step, counted as assignments: a token that goes to K "
        "experts counts K times.",
        formula=r"c_i = \sum_{t=1}^{T} \mathbf{1}[\,i \in \mathcal{E}_t\,], \qquad \bar c = \frac{K\,T}{N}",
        more="Charts show the load relative to the uniform share, $c_i/\\bar c$: ×1 is fair, ×2 is twice the "
        "share.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="domain",
        title="Domain and specialist",
        section=ROUTING,
        text="The text comes in domains, such as prose, Spanish, Python or sums. An expert is a specialist "
        "of a domain when it takes much more of its tokens than its uniform share.",
        sources=(V3,),
    ),
    Term(
        key="none",
        title="No balancing",
        section=RULES,
        text="The control: nothing pushes the loads. A favoured expert learns more, is favoured more, and "
        "few experts end up with most of the work.",
    ),
    Term(
        key="aux_loss",
        title="Auxiliary loss",
        section=RULES,
        text="A second objective that is smallest when the loads are even. Its gradient passes through the "
        "router and the model, beside that of the language loss.",
        formula=r"L_{\mathrm{aux}} = \alpha \sum_{i=1}^{N} f_i\,P_i, \qquad f_i = \frac{N}{K\,T}\,c_i, "
        r"\qquad P_i = \frac1T\sum_{t=1}^{T} s'_{i,t}",
        more="$f_i$ comes from counts and carries no gradient; $P_i$ carries it all. $s'$ are the scores "
        "divided by their sum over experts (`score_norm=l1`) or as they are (`raw`). With normalised scores "
        "the sum is 1 at balance for every $K$. The value can fall without the loads becoming even, so it is "
        "not a measure of balance.",
        sources=(SWITCH, GSHARD, LOSS_FREE),
    ),
    Term(
        key="count_scope",
        title="Count scope",
        section=RULES,
        text="Over which tokens the loads are counted for balancing: each sequence, one micro-batch or the "
        "whole batch of a step. A narrow scope forces every single text to use all experts.",
        more="Published results put most of the difference in quality on the scope and not on the rule, so "
        "it is part of every legend here. DeepSeek-V3 (section 4.5.3) reports for a 1B model a validation "
        "loss of 2.258 with a sequence-wise loss, 2.253 loss-free and 2.253 with a batch-wise loss. Where a "
        "step has several micro-batches, *buffered global batch* counts those that came so far: it needs no "
        "second pass, but the first micro-batches see less than the whole step, so it is another loss.",
        sources=(V3, DEMONS),
    ),
    Term(
        key="first_choice_losses",
        title="Switch and GShard losses",
        section=RULES,
        text="The two originals of the auxiliary loss. Both count only the expert with the highest score of "
        "each token, so with K above 1 the second choices may pile up unseen.",
        formula=r"L_{\mathrm{Switch}} = \alpha\,N\sum_i f_i P_i, \qquad L_{\mathrm{GShard}} = "
        r"\alpha\,\frac1N\sum_e \frac{c_e}{S}\,m_e",
        more="$f_i$ and $c_e/S$ are the share of tokens whose first choice an expert is, $P_i$ and $m_e$ its "
        "mean probability. At balance Switch's loss is 1; GShard's is $1/N^2$ as printed and 1 with the "
        "factor $N^2$ of the released code (`normalisation=unit`). GShard's is taken per group of tokens, "
        "here a sequence or the micro-batch. First choices are those of the scores without bias.",
        sources=(SWITCH, GSHARD),
    ),
    Term(
        key="simbal",
        title="SimBal",
        section=RULES,
        text="Keeps the experts' vectors in the router at right angles and of length 1, so that tokens that "
        "differ go to different experts. It counts no tokens at all.",
        formula=r"L = \alpha\,\lVert R^\top R - I\rVert_1",
        more="The columns of $R$ are the experts' vectors; the norm is the sum of absolute entries. The "
        "paper starts from such a matrix; here all arms start alike, and the loss gets it there.",
        sources=(SIMBAL,),
    ),
    Term(
        key="alpha",
        title="α, the auxiliary coefficient",
        section=RULES,
        text="How strongly the auxiliary loss pulls. Small: loads stay uneven. Large: balance at the price "
        "of the language loss.",
        more="The objective adds the sum over layers of α times the loss.",
        sources=(LOSS_FREE, SWITCH),
    ),
    Term(
        key="loss_free",
        title="Loss-free balancing",
        section=RULES,
        text="After every step the bias of each overloaded expert goes down by u and that of each "
        "underloaded one up by u. The bias only takes part in choosing, so no gradient comes from it.",
        formula=r"b_i \leftarrow b_i + u\cdot\mathrm{sign}(e_i), \qquad e_i = \bar c - c_i",
        more="This is Algorithm 1 of the paper. Variants here: *proportional*, $b_i \\leftarrow b_i + "
        "u\\,e_i/\\bar c$; *rms*, $b_i \\leftarrow b_i + u\\,e_i/\\mathrm{RMS}(e)$; *multiplicative*, top-K "
        "of $s\\cdot b$ with $b$ starting at 1; *centred*, the mean of the update is taken away. The counts "
        "are those of the whole step, never of an evaluation.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="bias_update_rate",
        title="u, the bias update rate",
        section=RULES,
        text="How far a bias moves in one step. u times the number of steps is the farthest it can travel; "
        "too small balances late, too large keeps jumping around balance.",
        more="About (needed spread of the biases) / (2u) steps pass until the loads are level. The paper and "
        "DeepSeek-V3 use 0.001; the short runs here use 0.003, since 0.001 does not get there in a few "
        "hundred steps.",
        sources=(LOSS_FREE, V3),
    ),
    Term(
        key="expert_bias",
        title="Expert bias",
        section=RULES,
        text="A number per expert that is added to its scores for choosing. The row of a step shows the bias "
        "used in that step, before its update.",
        more="Sigmoid and softmax scores lie between 0 and 1: once two added biases differ by more than 1, "
        "one expert beats the other for every token that may choose both. Softplus scores have no "
        "upper end, and a bias that multiplies leaves a large score ahead of a small one.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="seq_aux",
        title="Complementary sequence loss",
        section=RULES,
        text="DeepSeek-V3's small auxiliary loss per sequence, beside the bias. It only prevents extremes "
        "inside one text.",
        formula=r"L = \alpha\sum_i f_i P_i, \qquad f_i = \frac{N}{K\,T}\sum_{t}\mathbf{1}\bigl[s_{i,t}\in"
        r"\mathrm{TopK}(s_{\cdot,t},K)\bigr]",
        more="$f$ counts the top-K of the *unbiased* scores, whatever the bias chose; $P$ comes from "
        "normalised scores; $\\alpha = 0.0001$.",
        sources=(V3,),
    ),
    Term(
        key="z_loss",
        title="Router z-loss",
        section=RULES,
        text="Keeps the router's logits small so that they stay numerically tame. It balances nothing.",
        formula=r"L_z = \frac1T\sum_{t=1}^{T}\Bigl(\log\sum_{i=1}^{N}e^{x_{i,t}}\Bigr)^2",
        more="$x_{i,t}$ are the router's logits.",
        sources=(ST_MOE,),
    ),
    Term(
        key="imbalance",
        title="Imbalance",
        section=FIGURES,
        text="Loads that are less even than chance would make them. This is the word for any MaxVio above "
        "the random-routing baseline.",
        sources=(OURS,),
    ),
    Term(
        key="paired_interval",
        title="Paired 95 % interval",
        section=READING,
        text="Two rules are compared seed by seed: same initial weights, same data in the same order. The "
        "interval is where the mean difference lies with 95 % confidence.",
        formula=r"\bar d \pm t_{0.975,\,n-1}\,\frac{s_d}{\sqrt n}",
        more="$d$ are the differences of $n$ seeds, $s_d$ their standard deviation. A single seed has none.",
        sources=(OURS,),
    ),
    Term(
        key="not_significant",
        title="Not significant",
        section=READING,
        text="The interval covers zero: these seeds cannot tell the difference from none. It does not say "
        "that there is none.",
        more="Several comparisons at once: by chance alone one in twenty excludes zero. So all pairs of the "
        "arms that are compared are held to Holm's correction, figure by figure, which keeps the chance of "
        "any false one at 5 %. The half width of the "
        "interval is the resolution. The published gain of loss-free over the "
        "paper's auxiliary loss is about 0.006 nats, which few short runs can resolve.",
        sources=(OURS, LOSS_FREE),
    ),
    Term(
        key="dilemma_plane",
        title="Dilemma plane",
        section=READING,
        text="Perplexity against MaxVio, one point a run. A stronger auxiliary loss moves along a curve from "
        "uneven and good to even and worse; lower left is better in both.",
        more="The same picture as Figure 2 of the paper.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="router_gradient",
        title="Gradient at the router",
        section=READING,
        text="How strongly a loss pulls the router's matrix in a step: the length of its gradient there, "
        "before clipping. The language loss and the auxiliary losses are measured apart, every 25 steps.",
        formula=r"\lVert \nabla_{R}\,\ell \rVert, \qquad \lVert \nabla_{R} \textstyle\sum_l \alpha "
        r"L_{\mathrm{aux}}^{(l)} \rVert",
        more="A bias rule has no second gradient: it changes who is chosen and nothing that is learnt. The "
        "router z-loss is in neither.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="gradient_cosine",
        title="Cosine of the gradients",
        section=READING,
        text="Whether auxiliary loss and language loss pull the router the same way (+1), against each other "
        "(−1) or in unrelated directions (0). Below 0 the auxiliary loss undoes part of the learning.",
        formula=r"\cos = \frac{\nabla\ell\cdot\nabla L_{\mathrm{aux}}}"
        r"{\lVert\nabla\ell\rVert\,\lVert\nabla L_{\mathrm{aux}}\rVert}",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="score_margin",
        title="Score margin",
        section=READING,
        text="By how much the last chosen expert leads the first rejected one, on average over tokens. A "
        "small margin is a choice that a small change of scores or bias can turn.",
        formula=r"\frac1T\sum_t \bigl(s_{(K),t} - s_{(K+1),t}\bigr)",
        more="Of the scores that are compared: with their bias, where there is one.",
    ),
    Term(
        key="switched_share",
        title="Switched share",
        section=READING,
        text="The share of all assignments that would have gone elsewhere without the bias: chosen experts "
        "that are not among the K with the highest scores.",
    ),
    Term(
        key="load_colours",
        title="Load colours",
        section=READING,
        text="Colours show the logarithm of load over uniform share: orange above, purple below, the page's "
        "own lightness at ×1. An expert without tokens has a flat colour of its own.",
        formula=r"\log_2\frac{c_i}{\bar c}",
        sources=(OURS,),
    ),
    Term(
        key="probe_batch",
        title="Probe batch",
        section=READING,
        text="A few held-out texts that the model routes again and again while it is trained. The same "
        "tokens early and late show what the router has learnt; no training step ever sees them.",
        more="Runs keep one with `training.probe_tokens`: the router's logits, the chosen experts and the "
        "biases at five steps that are spaced evenly on a logarithmic scale. The *cut-off* of a token lies "
        "half way between its last chosen and its best rejected expert.",
        sources=(OURS,),
    ),
    Term(
        key="figure_nine",
        title="Load by domain",
        section=READING,
        text="How many held-out tokens of a domain an expert takes, divided by what it would take if the "
        "domain's tokens were shared evenly. 1 is balanced; specialists stand far above it.",
        formula=r"\frac{c_{i,d}}{\bar c_d}, \qquad \bar c_d = \frac1N \sum_{j=1}^{N} c_{j,d}",
        more="The form of Figure 9 of the DeepSeek-V3 report: one linear scale from 0 for all methods.",
        sources=(V3,),
    ),
    Term(
        key="playhead",
        title="Playhead",
        section=READING,
        text="The step that all panels show, drawn as the same vertical rule everywhere.",
    ),
    Term(
        key="events",
        title="Events",
        section=READING,
        text="Moments that change how a run goes on: an expert dies, a layer collapses, the rule changes. "
        "They are found in the recorded steps, listed, and marked on every time axis.",
        more="Each kind has its own entry above, with its threshold.",
    ),
    Term(
        key="bias_step",
        title="Bias step",
        section=READING,
        text="One update of the biases of a layer: the counts of a step, how far each lies from the mean, "
        "and the bias that comes out. The app works it out again and holds it against the logged one.",
        formula=r"b_i \leftarrow b_i + u\,\operatorname{sign}(\bar c - c_i)",
        more="The trainer's own operations in float32, so the outcome must be the same number, bit for bit; "
        "rules that add up fractions may differ in the last digit. Rules that read scores, or a memory of "
        "earlier counts, cannot be worked out from what is kept.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="arm",
        title="Arm and seed",
        section=READING,
        text="An arm is one balancing rule in an experiment; each seed repeats it with other initial weights "
        "and data order. Expert numbers mean nothing across runs: expert 3 of one run is not expert 3 of "
        "another.",
    ),
    Term(
        key="step",
        title="Step",
        section=READING,
        text="One update of the weights, counted from 0.",
    ),
)  # fmt: skip


def _figure(metric: Metric) -> Term:
    """The term of a figure: its definition with its range and its ends."""
    ends = (("Range", metric.range), ("at balance", metric.at_balance), ("at worst", metric.at_worst))
    words = ", ".join(f"{name} ${value}$" for name, value in ends if value)
    return Term(
        key=metric.key,
        title=metric.title,
        section=FIGURES,
        text=metric.text,
        formula=metric.formula,
        more=" ".join(part for part in (metric.more, words and f"{words}.") if part),
        sources=metric.sources,
    )


def _event(kind: EventKind) -> Term:
    """The term of a kind of event."""
    return Term(
        key=f"event_{kind.key}",
        title=kind.title,
        section=EVENTS,
        text=kind.text,
        formula=kind.formula,
        more=kind.more,
        sources=kind.sources,
    )


_SECTIONS = (ROUTING, RULES, FIGURES, EVENTS, READING)
_MADE = (*map(_figure, METRICS), *map(_event, (*DETECTED, *RECORDED)))
TERMS: tuple[Term, ...] = tuple(sorted((*_MADE, *_WRITTEN), key=lambda found: _SECTIONS.index(found.section)))
"""Every term, section by section; figures and events come from `explorer/metrics`."""


def term(key: str) -> Term:
    """The entry of that key. Raises KeyError for an unknown one."""
    return {t.key: t for t in TERMS}[key]


def tip(key: str) -> str:
    """The tooltip of a term."""
    return term(key).text


def search(text: str, terms: Sequence[Term] = TERMS) -> list[Term]:
    """Terms that contain every word of `text` in title, key or text."""
    words = dict.fromkeys(text.lower().split())
    texts = [(t, f"{t.title} {t.key} {t.text} {t.more}".lower()) for t in terms]
    return [term for term, content in texts if all(word in content for word in words)]
