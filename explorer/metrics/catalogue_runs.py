"""Definitions of run metrics: over steps, random baselines, selections, domains and the language model."""

import explorer.metrics as m
from explorer.metrics.definition import BIASES, CHANCE, CHOICES, DOMAINS, QUALITY, STEPS, Metric
from explorer.metrics.sources import ENDRES, LOSS_FREE, MILLER, OLMOE, OURS

OF_RUNS: tuple[Metric, ...] = (
    Metric(
        key="max_vio_batch",
        title="MaxVio of the last steps (max_vio_batch)",
        group=STEPS,
        function=m.max_vio_batch,
        text="MaxVio of training batches: the mean over the last 100 steps, or the last quarter of a shorter "
        "run, averaged over layers. It affects training speed.",
        formula=r"\frac{1}{S\,L}\sum_{s,\ell} \mathrm{MaxVio}(c_{s,\ell})",
        range=r"0 \ldots N-1",
        at_balance="0",
        at_worst=r"N/K - 1",
        store="balance.layer_balance",
        sources=(LOSS_FREE, OURS),
    ),
    Metric(
        key="max_vio_global",
        title="MaxVio held-out (max_vio_global)",
        group=STEPS,
        function=m.max_vio_global,
        text="MaxVio of all held-out text together at the end, with the bias frozen, averaged over layers. "
        "It shows how evenly the experts are used overall.",
        formula=r"\frac1L\sum_{\ell} \mathrm{MaxVio}\Bigl(\sum_{d} c_{d,\ell}\Bigr)",
        note="Needs many tokens: with few, chance alone makes it look uneven. The runs here use at least "
        "32,000.",
        range=r"0 \ldots N-1",
        at_balance="0",
        at_worst=r"N/K - 1",
        store="health.held_out_figures",
        sources=(LOSS_FREE, OURS),
    ),
    Metric(
        key="max_vio_computation_batch",
        title="MaxVio of a computation batch",
        group=STEPS,
        function=m.max_vio_computation_batch,
        text="MaxVio of the few sequences that one device computes at once, averaged over such groups. It "
        "falls as the group grows, down to the imbalance that the rule leaves.",
        formula=r"\frac1G\sum_{g} \mathrm{MaxVio}\Bigl(\sum_{r\in g} c_r\Bigr)",
        note="A group is a micro-batch times the ranks that share the experts; groups of neighbouring "
        "sequences of one step stand for it, averaged over the last 20 steps whose sequences are recorded "
        "(or their last quarter) and over layers. The curve flattens for an auxiliary loss and keeps "
        "falling for loss-free balancing (Figure 5 of the paper).",
        range=r"0 \ldots N-1",
        at_balance="0",
        at_worst=r"N/K - 1",
        store="health.computation_batches",
        sources=(LOSS_FREE,),
    ),
    Metric(
        key="worst_layer",
        title="Worst layer",
        group=STEPS,
        function=m.worst_layer,
        text="The layer with the highest MaxVio. An average over layers can hide one layer that has "
        "collapsed. Over several seeds: the mean of each run's own worst layer.",
        store="comparison.summary",
    ),
    Metric(
        key="uniform_reference",
        title="Random-routing baseline, independent tokens",
        group=CHANCE,
        function=m.uniform_reference,
        text="The MaxVio expected if every token selected K experts at random. A rule that only uses past "
        "loads cannot be expected to stay below it; expert choice, and a rule fitted to the batch itself, "
        "can.",
        formula=r"\mathrm{MaxVio}_{\mathrm{random}} \lesssim \sqrt{\,2\ln "
        r"N\cdot\frac{N}{K\,T}\Bigl(1-\frac{K}{N}\Bigr)}",
        note="The line (mean and 95th percentile) is simulated, to two significant digits, for the run's N, "
        "K and number of layers and for the tokens counted in each step, so it falls as a batch grows. The "
        "formula is a rough upper estimate of the mean.",
        store="balance.references",
    ),
    Metric(
        key="resampled_reference",
        title="Random-routing baseline, whole sequences",
        group=CHANCE,
        function=m.resampled_reference,
        text="Tokens of one text cluster on the same experts. This baseline resamples whole recorded "
        "sequences, with the expected load of every expert equalised: the imbalance due to sampling texts "
        "alone.",
        store="balance.references",
    ),
    Metric(
        key="dead_experts",
        title="Dead experts",
        group=BIASES,
        function=m.dead_experts,
        text="Experts without a single token in W consecutive recorded steps (100 unless another window is "
        "named). An idle expert may receive tokens again in the next step; a dead one learns nothing.",
        formula=r"\Bigl|\Bigl\{\,i : \sum_{s=1}^{W} c_{s,i} = 0\Bigr\}\Bigr|",
        range=r"0 \ldots N",
        at_balance="0",
        at_worst="N - K",
        unit="experts",
        store="health.dead_experts",
    ),
    Metric(
        key="collapse",
        title="Collapse",
        group=BIASES,
        function=m.collapsed_steps,
        text="A layer has collapsed when its effective experts stay at or below N/2 for 100 steps in a row. "
        "Anything milder is imbalance.",
        store="balance.layer_balance",
    ),
    Metric(
        key="bias_spread",
        title="Bias spread",
        group=BIASES,
        function=m.bias_spread,
        text="Largest bias minus smallest, in units of the score. Above 1, one expert outranks another for "
        "every token where the bias is added to scores between 0 and 1 (sigmoid, softmax).",
        formula=r"\max_i b_i - \min_i b_i",
        note="Adding a constant to all biases changes nothing, so only the spread matters, not the level.",
        range=r"0 \ldots \infty",
        store="loads.load_matrix",
        sources=(LOSS_FREE, OURS),
    ),
    Metric(
        key="oscillation",
        title="Oscillation of the biases",
        group=BIASES,
        function=m.oscillation,
        text="The share of bias updates that reverse the direction of the previous update of the same bias: "
        "0 while biases grow steadily, about ½ under pure noise, 1 when they oscillate.",
        formula=r"\frac{\#\{\Delta_s\,\Delta_{s+1} < 0\}}{\#\{\Delta_s\,\Delta_{s+1} \ne 0\}}, \qquad "
        r"\Delta_s = b_{s+1} - b_s",
        note="Over all experts of a layer in a window of consecutive recorded steps.",
        range=r"0 \ldots 1",
        store="events.events",
    ),
    Metric(
        key="churn",
        title="Churn",
        group=CHOICES,
        function=m.churn,
        text="The share of each token's experts that changed between two points in training, over the same "
        "tokens.",
        formula=r"1 - \frac{\sum_t |A_t\cap B_t|}{\sum_t \max(|A_t|, |B_t|)}",
        note="$A_t$ and $B_t$ are the sets of experts of token $t$. Independent random choices give "
        "$1 - K/N$.",
        range=r"0 \ldots 1",
        store="specialisation.saturation",
    ),
    Metric(
        key="saturation",
        title="Router saturation",
        group=CHOICES,
        function=m.saturation,
        text="The share of the final expert choices that had already been made, over the same tokens.",
        formula=r"\frac{\sum_t |A_t\cap F_t|}{\sum_t |F_t|}",
        note="$F_t$ is the choice at the last checkpoint. Independent random choices give $K/N$.",
        range=r"0 \ldots 1",
        store="specialisation.saturation",
        sources=(OLMOE,),
    ),
    Metric(
        key="coactivation",
        title="Co-activation",
        group=CHOICES,
        function=m.coactivation,
        text="How often two experts of a layer are chosen for the same token, over all pairs of a token's "
        "experts.",
        formula=r"C_{ij} = \#\{\,t : i\in A_t,\ j\in A_t\,\}, \qquad P(j\mid i) = C_{ij}/C_{ii}",
        note="Independent choices give $(K-1)/(N-1)$. A count of neighbours in the sorted list misses pairs "
        "(half of them for K = 4). Between two layers all $K\\times K$ pairs count, and expert numbers of "
        "different layers are unrelated.",
        store="specialisation.coactivation",
        sources=(OLMOE,),
    ),
    Metric(
        key="domain_distance",
        title="Distance between domains (Jensen–Shannon)",
        group=DOMAINS,
        function=m.mean_domain_distance,
        text="How differently two text domains use the experts of a layer: 0 if identically, 1 if no expert "
        "serves both. Over more domains, the mean of all pairs.",
        formula=r"\sqrt{H_2\bigl(\tfrac{p+q}2\bigr) - \tfrac12 H_2(p) - \tfrac12 H_2(q)}",
        note="$H_2$ is the entropy in bits and $p$, $q$ are the load shares of the two domains in one layer.",
        range=r"0 \ldots 1",
        store="specialisation.specialisation",
        sources=(ENDRES,),
    ),
    Metric(
        key="domain_information",
        title="Mutual information of domain and expert",
        group=DOMAINS,
        function=m.mutual_information,
        text="How much a token's expert reveals about the domain of its text, in bits, with all domains "
        "equally likely. 0 means nothing.",
        formula=r"I = H_2\Bigl(\tfrac1D\sum_d p_d\Bigr) - \tfrac1D\sum_d H_2(p_d)",
        note="At most $\\log_2 D$ for $D$ domains. Counting noise alone adds about "
        "$(D-1)(N-1)/(2A\\ln 2)$ bits for $A$ assignments in all. With two domains it is the square of "
        "their distance.",
        range=r"0 \ldots \log_2\min(D, N)",
        unit="bits",
        store="specialisation.specialisation",
        sources=(MILLER, OURS),
    ),
    Metric(
        key="lm_loss",
        title="Language loss",
        group=QUALITY,
        function=m.mean_loss,
        text="Mean next-token cross-entropy in nats. It never includes a balancing loss.",
        formula=r"\ell = -\frac1T\sum_{t=1}^{T}\ln p(x_t \mid x_{<t})",
        unit="nats per token",
        store="losses.loss_series",
        sources=(),
    ),
    Metric(
        key="perplexity",
        title="Perplexity",
        group=QUALITY,
        function=m.perplexity,
        text="The exponential of the held-out language loss, with all domains weighted equally: the model "
        "is as uncertain as if it chose among this many equally likely tokens. Lower is better.",
        formula=r"\mathrm{PPL} = \exp\Bigl(\frac1D\sum_{d=1}^{D}\ell_d\Bigr)",
        range=r"1 \ldots \infty",
        store="losses.eval_series",
    ),
    Metric(
        key="bits_per_byte",
        title="Bits per byte",
        group=QUALITY,
        function=m.bits_per_byte,
        text="The loss per byte of text instead of per token, so that models with different tokenizers can "
        "be compared.",
        formula=r"\mathrm{BPB} = \frac{\ell\cdot\text{tokens}}{\ln 2\cdot\text{bytes}}",
        unit="bits per byte",
        store="losses.eval_series",
    ),
)
