"""What is claimed, and the comparisons that decide it."""

from dataclasses import dataclass

from explorer.evidence.statistics import Region


@dataclass(frozen=True)
class Source:
    """A paper or a set of questions."""

    title: str
    url: str = ""


LOSS_FREE = Source("Wang et al. 2024, loss-free balancing", "https://arxiv.org/abs/2408.15664")
DEEPSEEK_V3 = Source("DeepSeek-V3 report", "https://arxiv.org/abs/2412.19437")
DEEPSEEK_MOE = Source("DeepSeekMoE", "https://arxiv.org/abs/2401.06066")
ALF_LB = Source("Han and Zhong 2025, ALF-LB", "https://arxiv.org/abs/2512.03915")
DEMONS = Source("Demons in the detail", "https://arxiv.org/abs/2501.11873")
LYNX = Source("Lynx", "https://arxiv.org/abs/2411.08982")
OEA = Source("OEA", "https://arxiv.org/abs/2511.02237")
OLMOE = Source("OLMoE", "https://arxiv.org/abs/2409.02060")
QUANTILE = Source("Quantile balancing (Su 2026)")
THREE_PHASES = Source("Three phases of expert routing", "https://arxiv.org/abs/2604.04230")
MARIN = Source("marin, issue 5502", "https://github.com/marin-community/marin/issues/5502")
QUESTION = Source("research question")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A quantity whose true value decides a claim: a contrast of arms in one metric, over paired seeds."""

    experiment: str
    metric: str
    """A key of what `measures.measure` or a trial returns, of `pairs.ROW_MEASURES` or of `PAIR_MEASURES`."""
    contrast: tuple[tuple[str, float], ...]
    """Arms and weights: 1 and -1 for a difference, a single 1 for the value itself."""
    region: Region
    words: str
    """The quantity in words, as an axis says it."""
    published: float | None = None
    """The same effect in the paper, where it states one in the same unit."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        return tuple(arm for arm, _ in self.contrast)


def difference(
    experiment: str,
    metric: str,
    arm: str,
    base: str,
    region: Region,
    words: str,
    published: float | None = None,
) -> Comparison:
    """The paired difference arm - base."""
    return Comparison(
        experiment=experiment,
        metric=metric,
        contrast=((arm, 1.0), (base, -1.0)),
        region=region,
        words=words,
        published=published,
    )


def value(experiment: str, metric: str, arm: str, region: Region, words: str) -> Comparison:
    """The value of one arm, run by run."""
    return Comparison(
        experiment=experiment, metric=metric, contrast=((arm, 1.0),), region=region, words=words
    )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim in our words."""

    id: str
    """Its id in addresses and files."""
    name: str
    """Its short name on the pages."""
    text: str
    source: Source
    comparisons: tuple[Comparison, ...] = ()
    """The first one is the effect that tables show; all must hold."""
    falsifier: str = ""
    """The result that would contradict it."""
    published: str = ""
    """What the source reports, with its unit."""
    caveat: str = ""
    """Where our analogue differs."""
    not_testable: str = ""
    """Why nothing here can test it; empty where something can."""

    @property
    def group(self) -> str:
        """A, B, C, X, or Q for the research questions."""
        return "Q" if self.id.isdecimal() else self.id[0]
