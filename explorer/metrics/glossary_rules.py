"""Terms of the Glossary: routing and balancing rules.

Rules are implemented in `explorer/routing/balancing.py` and `explorer/model/balancers.py`; the formulas here
are the same.
"""

from explorer.metrics.sources import (
    DEEPSEEK_MOE,
    DEMONS,
    GSHARD,
    LOSS_FREE,
    SIMBAL,
    ST_MOE,
    SWITCH,
    TRINITY,
    V3,
)
from explorer.metrics.term import ROUTING, RULES, Term

TERMS: tuple[Term, ...] = (
    Term(
        key="mixture_of_experts",
        title="Mixture of experts",
        section=ROUTING,
        text="A layer with many small feed-forward networks, the experts. Each token passes through only a "
        "few of them, so the model can be large while the compute per token stays small.",
        formula=r"y_t = h_t + \sum_{i=1}^{N} g_{i,t}\,\mathrm{FFN}_i(h_t)",
        note="$h_t$ is the hidden state of token $t$. $N$ routed experts, of which $K$ have a gate weight "
        "$g_{i,t} \\neq 0$ for token $t$.",
        sources=(GSHARD, SWITCH, DEEPSEEK_MOE),
    ),
    Term(
        key="router",
        title="Router and score",
        section=ROUTING,
        text="For each token, the router assigns each expert a score: how well the two match.",
        formula=r"s_{i,t} = \sigma(h_t^{\top} r_i) \quad\text{or}\quad s_{\cdot,t} = "
        r"\mathrm{softmax}(h_t^{\top} r_{\cdot})",
        note="$h_t$ is the hidden state of token $t$, $r_i$ a learned vector of expert $i$. With a sigmoid "
        "$\\sigma$ each score lies between 0 and 1 on its own; with a softmax the scores of a token sum to 1 "
        "and compete.",
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
        text="The weight of a chosen expert's output. It is computed from the score without bias: a bias "
        "affects which experts are chosen, never their weights.",
        formula=r"g_{i,t} = \gamma\,\frac{s_{i,t}}{\sum_{j\in\mathcal{E}_t} s_{j,t}}\ \text{ if } "
        r"i\in\mathcal{E}_t,\text{ else } 0",
        note="Normalisation is optional (`normalize_gates`; the Loss-Free paper omits it, DeepSeek-V3 uses "
        "it) and never applied for $K=1$. $\\gamma$ is `route_scale`.",
        sources=(LOSS_FREE, V3),
    ),
    Term(
        key="shared_expert",
        title="Shared expert",
        section=ROUTING,
        text="An expert that processes every token. It is not routed and excluded from every load metric.",
        sources=(DEEPSEEK_MOE,),
    ),
    Term(
        key="load",
        title="Load",
        section=ROUTING,
        text="The number of tokens routed to an expert in a step, counted as assignments: a token routed to "
        "K experts counts K times.",
        formula=r"c_i = \sum_{t=1}^{T} \mathbf{1}[\,i \in \mathcal{E}_t\,], \qquad \bar c = \frac{K\,T}{N}",
        note="The **uniform load** $\\bar c$ is the load of every expert when all are equally busy, and so "
        "the mean load of a layer's experts. Charts show $c_i/\\bar c$: ×1 is the uniform load, ×2 is twice "
        "that.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="domain",
        title="Domain and specialist",
        section=ROUTING,
        text="The text comes in domains, such as English, Spanish, Python or digits. An expert is a "
        "specialist of a domain when it receives far more of its tokens than the uniform load.",
        sources=(V3,),
    ),
    Term(
        key="none",
        title="No balancing",
        section=RULES,
        text="The control: no rule acts on the loads. An expert that receives more tokens learns faster and "
        "attracts even more, until a few experts receive most of them.",
    ),
    Term(
        key="aux_loss",
        title="Auxiliary loss",
        section=RULES,
        text="An additional loss term that is smallest when the loads are even. Its gradient flows through "
        "the router and the model, alongside that of the language loss.",
        formula=r"L_{\mathrm{aux}} = \alpha\,N \sum_{i=1}^{N} f_i\,P_i, \qquad f_i = \frac{c_i}{K\,T}, "
        r"\qquad P_i = \frac1T\sum_{t=1}^{T} s'_{i,t}",
        note="$f_i$ comes from counts and carries no gradient; $P_i$ carries it all. $s'$ are the scores "
        "divided by their sum over experts (`score_norm=l1`) or as they are (`raw`). With normalised scores "
        "$N\\sum_i f_i P_i$ is 1 at balance for every $K$. The value can fall without the loads becoming "
        "even, so it is not a measure of balance.",
        sources=(SWITCH, GSHARD, LOSS_FREE),
    ),
    Term(
        key="count_scope",
        title="Count scope",
        section=RULES,
        text="The tokens over which loads are counted for balancing: each sequence, one micro-batch or the "
        "whole batch of a step. A narrow scope forces every single text to use all experts.",
        note="Published results attribute most of the difference in quality to the scope, not the rule, so "
        "every legend here states it. DeepSeek-V3 (section 4.5.3) reports for a 1B model a validation "
        "loss of 2.258 with a sequence-wise loss, 2.253 loss-free and 2.253 with a batch-wise loss. Where a "
        "step has several micro-batches, *buffered global batch* counts those seen so far: it needs no "
        "second pass, but the first micro-batches see less than the whole step, so it is a different loss. "
        "*Shuffled* samples, from the whole step, as many assignments as a micro-batch has.",
        sources=(V3, DEMONS),
    ),
    Term(
        key="first_choice_losses",
        title="Switch and GShard losses",
        section=RULES,
        text="The two original auxiliary losses. Both count only the expert with the highest score of "
        "each token, so with K above 1 an imbalance of the second choices goes unnoticed.",
        formula=r"L_{\mathrm{Switch}} = \alpha\,N\sum_i f^{(1)}_i P_i, \qquad L_{\mathrm{GShard}} = "
        r"\alpha\,\frac1N\sum_i f^{(1)}_i P_i",
        note="$f^{(1)}_i$ is the share of tokens whose first choice is expert $i$ ($c_e/S$ in GShard's "
        "paper), $P_i$ its mean probability ($m_e$). At balance Switch's loss is α; GShard's is $α/N^2$ as "
        "printed and α with the factor $N^2$ of the released code (`normalisation=unit`). GShard's is taken "
        "per group of tokens, here a sequence or the micro-batch. First choices are those of the scores "
        "without bias.",
        sources=(SWITCH, GSHARD),
    ),
    Term(
        key="simbal",
        title="SimBal",
        section=RULES,
        text="Keeps the experts' vectors in the router orthogonal and of length 1, so that different tokens "
        "go to different experts. It uses no token counts at all.",
        formula=r"L = \alpha\,\lVert R^\top R - I\rVert_1",
        note="The columns of $R$ are the experts' vectors; the norm is the sum of absolute entries. The "
        "paper starts from such a matrix; here all arms start from the same weights, and the loss moves the "
        "matrix there.",
        sources=(SIMBAL,),
    ),
    Term(
        key="alpha",
        title="α, the auxiliary coefficient",
        section=RULES,
        text="The weight of the auxiliary loss. Too small: loads stay uneven. Too large: balance comes at "
        "the cost of language loss.",
        note="The objective adds the sum over layers of α times the loss.",
        sources=(LOSS_FREE, SWITCH),
    ),
    Term(
        key="loss_free",
        title="Loss-free balancing",
        section=RULES,
        text="After every step the bias of each overloaded expert goes down by u and that of each "
        "under-loaded one up by u. The bias only affects the choice, so it has no gradient.",
        formula=r"b_i \leftarrow b_i + u\cdot\mathrm{sign}(e_i), \qquad e_i = \bar c - c_i",
        note="This is Algorithm 1 of the paper. Variants here: *proportional*, $b_i \\leftarrow b_i + "
        "u\\,e_i/\\bar c$; *rms*, $b_i \\leftarrow b_i + u\\,e_i/\\mathrm{RMS}(e)$; *multiplicative*, top-K "
        "of $s\\cdot b$ with $b$ starting at 1; *centred*, the mean of the update is subtracted. The counts "
        "are those of the whole step, never of an evaluation.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="smebu",
        title="SMEBU",
        section=RULES,
        text="A loss-free rule with a soft clamp: a bias moves by almost u while the load error is large and "
        "by little near balance. Momentum averages the moves of successive steps.",
        formula=r"m_i \leftarrow \beta m_i + (1-\beta)\,u\,\bigl(\tanh(\kappa\tilde e_i) - "
        r"\overline{\tanh(\kappa\tilde e)}\bigr), \qquad b_i \leftarrow b_i + m_i, \qquad "
        r"\tilde e_i = (\bar c - c_i)/\bar c",
        note="From the report on Arcee Trinity Large. Its abstract names the parts; their order and the "
        "constants $\\kappa = 2$ and $\\beta = 0.5$ are from a secondary source.",
        sources=(TRINITY,),
    ),
    Term(
        key="bias_update_rate",
        title="u, the bias update rate",
        section=RULES,
        text="The distance that a bias moves in one step. A bias travels at most u times the number of "
        "steps; too small a u balances late, too large a u oscillates around balance.",
        note="Choosing u: take 0.001, as the paper and DeepSeek-V3 do, and raise it only where the training "
        "is too short for it: about (needed spread of the biases) / (2u) steps pass until the loads are "
        "even, and they must be a small part of the training. A rate ten times too large oscillates to "
        "the end, one ten times too small is late: the paper saw both, and the claim “Update rate u” on "
        "the Evidence page tests them here. Where popularity stays constant, as in the simulation of "
        "lesson 5, 0.001 balances within some 200 steps. A router in training keeps moving: after the 200 "
        "steps of the preset quick, MaxVio with 0.001 is still ten times that with 0.003, which the short "
        "runs here therefore use.",
        sources=(LOSS_FREE, V3),
    ),
    Term(
        key="expert_bias",
        title="Expert bias",
        section=RULES,
        text="A number per expert that is added to its scores for selection only. The row of a step shows "
        "the bias used in that step, before its update.",
        note="Sigmoid and softmax scores lie between 0 and 1: once two added biases differ by more than 1, "
        "one expert beats the other for every token that may choose both. Softplus scores are unbounded "
        "above, and a multiplicative bias keeps a large score ahead of a small one.",
        sources=(LOSS_FREE,),
    ),
    Term(
        key="seq_aux",
        title="Complementary sequence loss",
        section=RULES,
        text="DeepSeek-V3's small auxiliary loss per sequence, beside the bias. It only prevents extreme "
        "imbalance within a sequence.",
        formula=r"L = \alpha\,N\sum_i \tilde f_i P_i, \qquad \tilde f_i = \frac{1}{K\,T}\sum_{t}"
        r"\mathbf{1}\bigl[s_{i,t}\in\mathrm{TopK}(s_{\cdot,t},K)\bigr]",
        note="$\\tilde f$ counts the top-K of the *unbiased* scores, regardless of the bias; $P$ comes from "
        "normalised scores; $\\alpha = 0.0001$.",
        sources=(V3,),
    ),
    Term(
        key="z_loss",
        title="Router z-loss",
        section=RULES,
        text="Keeps the router's logits small and numerically stable. It does not balance loads.",
        formula=r"L_z = \frac1T\sum_{t=1}^{T}\Bigl(\log\sum_{i=1}^{N}e^{x_{i,t}}\Bigr)^2",
        note="$x_{i,t}$ are the router's logits.",
        sources=(ST_MOE,),
    ),
)
