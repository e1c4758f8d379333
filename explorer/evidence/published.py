"""Published numbers, each table with its source. Nothing here is ours, and nothing of ours is in here."""

from dataclasses import dataclass

from explorer.evidence.claim import (
    DEEPSEEK_MOE,
    DEEPSEEK_V3,
    DEMONS,
    LOSS_FREE,
    LYNX,
    OEA,
    OLMOE,
    Source,
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One published table."""

    key: str
    title: str
    source: Source
    place: str
    """Table or section in the source."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    claims: tuple[str, ...] = ()
    """Claims that test our small-scale analogue."""


CARDS = (
    Card(
        key="loss_free",
        title="Loss-free against auxiliary loss",
        source=LOSS_FREE,
        place="Table 2",
        columns=("model", "rule", "perplexity", "MaxVio global"),
        rows=(
            ("1B", "auxiliary loss, α = 0.001", "9.56", "0.72"),
            ("1B", "loss-free, u = 0.001", "9.50", "0.04"),
            ("3B", "auxiliary loss, α = 0.001", "7.97", "0.52"),
            ("3B", "loss-free, u = 0.001", "7.92", "0.04"),
        ),
        note="Both differences are 0.0063 nats. 64 routed experts, 6 per token, 2 shared; 100B and 200B "
        "tokens.",
        claims=("A8", "A9", "A10"),
    ),
    Card(
        key="update_rules",
        title="Update rules and forms of the bias, 1B",
        source=LOSS_FREE,
        place="Tables 3 and 4",
        columns=("rule", "u", "perplexity", "MaxVio global"),
        rows=(
            ("sign, additive", "0.001", "9.50", "0.044"),
            ("proportional", "0.01", "9.53", "0.028"),
            ("proportional", "0.001", "9.51", "0.036"),
            ("proportional", "0.0001", "9.51", "0.040"),
            ("sign, multiplicative", "0.01", "9.52", "0.041"),
            ("sign, multiplicative", "0.001", "9.52", "0.036"),
            ("sign, multiplicative", "0.0001", "9.54", "0.048"),
        ),
        claims=("C1", "C2", "C3"),
    ),
    Card(
        key="softmax",
        title="The softmax gate, 1B",
        source=LOSS_FREE,
        place="Table 6",
        columns=("rule", "perplexity", "MaxVio global"),
        rows=(
            ("auxiliary loss, α = 0.0003", "9.604", "0.937"),
            ("loss-free, proportional", "9.599", "0.027"),
        ),
        claims=("A3", "C5"),
    ),
    Card(
        key="v3_scope",
        title="Scope of the auxiliary loss",
        source=DEEPSEEK_V3,
        place="section 4.5.3",
        columns=("model", "aux, sequence", "loss-free", "aux, batch"),
        rows=(("1B", "2.258", "2.253", "2.253"), ("3B", "2.085", "2.080", "2.080")),
        note="Validation loss in nats.",
        claims=("X1",),
    ),
    Card(
        key="v3_ablation",
        title="Auxiliary loss against loss-free at scale",
        source=DEEPSEEK_V3,
        place="Table 5",
        columns=("benchmark", "small, aux", "small, loss-free", "large, aux", "large, loss-free"),
        rows=(
            ("Pile-test (bits per byte)", "0.727", "0.724", "0.656", "0.652"),
            ("HumanEval pass@1", "22.0", "22.6", "40.2", "46.3"),
            ("MBPP pass@1", "36.6", "35.8", "59.2", "61.2"),
            ("MMLU", "51.0", "51.8", "68.3", "67.2"),
            ("GSM8K", "27.1", "29.6", "70.7", "74.5"),
        ),
        note="Small: 15.7B parameters, 1.33T tokens; large: 228.7B, 578B. HumanEval has 164 problems: +0.6 "
        "is "
        "one of them, +6.1 is ten. Two of these comparisons go the other way.",
        claims=("001",),
    ),
    Card(
        key="demons",
        title="Tokens that are counted together, 3.4B",
        source=DEMONS,
        place="Table 1 and the switching study",
        columns=("rule", "sequences counted together", "perplexity", "MMLU"),
        rows=(
            ("auxiliary loss", "4", "8.167", "41.63"),
            ("auxiliary loss", "32", "8.062", "42.08"),
            ("auxiliary loss", "512", "8.038", "43.48"),
            ("auxiliary loss, shuffled tokens", "4", "8.041", ""),
            ("loss-free", "4", "8.521", "41.30"),
            ("loss-free", "512", "8.080", "42.74"),
        ),
        note="Changed from 2 to 512 at 10, 30 and 50 % of the steps (400B tokens): 7.283, 7.297 and 7.322, "
        "against 7.199 from the start.",
        claims=("X1", "X2", "X3"),
    ),
    Card(
        key="deepseek_moe",
        title="DeepSeekMoE against GShard, 2B",
        source=DEEPSEEK_MOE,
        place="the 2B comparison and its ablation",
        columns=("model", "Pile loss", "HellaSwag"),
        rows=(
            ("GShard", "1.867", "50.5"),
            ("DeepSeekMoE", "1.808", "54.8"),
            ("DeepSeekMoE, shared expert disabled", "2.414", ""),
        ),
        claims=("A1", "A2"),
    ),
    Card(
        key="lynx",
        title="Lynx on Mixtral-8x7B-Instruct",
        source=LYNX,
        place="version 3, Table 2",
        columns=("benchmark", "base", "Lynx", "speed per output token"),
        rows=(
            ("HumanEval", "49.4", "50.6", "1.18×"),
            ("MBPP", "37.2", "37.6", "1.09×"),
            ("MATH", "37.8", "38.6", "1.09×"),
            ("GSM8K", "65.6", "65.0", "1.13×"),
        ),
        note="HotpotQA is not among its benchmarks. Three versions under one number report different "
        "methods.",
        claims=("004",),
    ),
    Card(
        key="oea",
        title="Pruned top-k against opportunistic expert activation",
        source=OEA,
        place="Qwen3-30B, 3 experts kept per token",
        columns=("benchmark", "all 8 experts", "pruned", "OEA"),
        rows=(
            ("AIME24", "80.4", "51.2", "80.0"),
            ("GPQA", "", "45.7", "58.6"),
            ("LiveCodeBench", "", "37.4", "61.2"),
        ),
        note="MoE latency at batch 16: −39 % (30B) and −15 % (235B).",
        claims=("004",),
    ),
    Card(
        key="deepseek_r1",
        title="DeepSeek-R1 in serving, by input length",
        source=Source("SGLang's expert statistics", "https://github.com/sgl-project/sglang/pull/6017"),
        place="prefill files, equal totals per length",
        columns=("input tokens", "MaxVio, mean of 58 MoE layers"),
        rows=(("512", "5.11"), ("1,024", "5.53"), ("4,096", "7.12")),
        note="256 experts, trained with loss-free balancing and a small sequence loss; 67,108,864 "
        "assignments per layer and length. Our analogue has another model, text and range of lengths.",
        claims=("002",),
    ),
    Card(
        key="olmoe",
        title="How early routing settles in OLMoE",
        source=OLMOE,
        place="the router analysis",
        columns=("share of training", "final choices present"),
        rows=(("1 %", "about 60 %"),),
        note="64 experts, top-8, load-balancing loss 0.01, z-loss 0.001. Shared experts did not help there.",
        claims=("X3",),
    ),
)
UNRELATED = (
    (
        "GORGO",
        "https://arxiv.org/abs/2602.11688",
        "balances requests to language models between regions of a network",
    ),
    (
        "A reinforcement-learning load balancer",
        "https://arxiv.org/abs/2409.04896",
        "balances the load of cloud servers",
    ),
)
"""Papers that the questions cite and that are not about mixtures of experts."""
