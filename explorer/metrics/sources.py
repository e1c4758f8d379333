"""Where definitions come from: papers and projects, each named once."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a definition comes from."""

    words: str
    link: str = ""


LOSS_FREE = Source(words="Wang et al. 2024, Loss-Free Balancing", link="https://arxiv.org/abs/2408.15664")
V3 = Source(words="DeepSeek-V3", link="https://arxiv.org/abs/2412.19437")
SWITCH = Source(words="Fedus et al. 2021, Switch Transformer", link="https://arxiv.org/abs/2101.03961")
GSHARD = Source(words="Lepikhin et al. 2020, GShard", link="https://arxiv.org/abs/2006.16668")
ST_MOE = Source(words="Zoph et al. 2022, ST-MoE", link="https://arxiv.org/abs/2202.08906")
DEEPSEEK_MOE = Source(words="Dai et al. 2024, DeepSeekMoE", link="https://arxiv.org/abs/2401.06066")
DEMONS = Source(words="Qiu et al. 2025, Demons in the Detail", link="https://arxiv.org/abs/2501.11873")
SPARSE_GATES = Source(
    words="Shazeer et al. 2017, Sparsely-Gated Mixture-of-Experts", link="https://arxiv.org/abs/1701.06538"
)
SIMBAL = Source(
    words="Omi et al. 2025, Similarity Preserving Routers", link="https://arxiv.org/abs/2506.14038"
)
TRINITY = Source(words="Arcee Trinity Large 2026, technical report", link="https://arxiv.org/abs/2602.17004")
OLMOE = Source(words="Muennighoff et al. 2024, OLMoE", link="https://arxiv.org/abs/2409.02060")
SHINKA = Source(words="ShinkaEvolve 2025", link="https://arxiv.org/abs/2509.19349")
PROTOTYPES = Source(words="Latent Prototype Routing 2025", link="https://arxiv.org/abs/2506.21328")
ENDRES = Source(words="Endres and Schindelin 2003, A new metric for probability distributions")
MILLER = Source(words="Miller 1955, Note on the bias of information estimates")
EPLB = Source(
    words="DeepSeek 2025, Expert Parallelism Load Balancer", link="https://github.com/deepseek-ai/EPLB"
)
LYNX = Source(words="Gupta et al. 2026, Lynx, version 3", link="https://arxiv.org/abs/2411.08982")
OEA = Source(words="OEA 2025, opportunistic expert activation", link="https://arxiv.org/abs/2511.02237")
OURS = Source(words="this project, explorer/metrics")
