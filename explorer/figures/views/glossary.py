"""The worked example of the Glossary: one set of counts, every imbalance metric."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from explorer.errors import ConfigError
from explorer.figures import examples
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.examples import Example
from explorer.figures.panel import Question
from explorer.figures.store import Store
from explorer.figures.views.address import Address
from explorer.figures.views.view import OpenView, Query
from explorer.metrics.examples import SHAPES, parse_counts

TITLE = "Glossary"
TYPED, RUN = "typed", "run"
SOURCES = {shape.key: shape.title for shape in SHAPES} | {
    TYPED: "counts that you type",
    RUN: "a recorded run",
}
"""Where counts come from: the value in an address and its title."""
EXPERTS = ("2", "4", "8", "16", "32", "64", "128", "256")
TOP_KS = ("1", "2", "4", "6", "8", "16")
TOKENS = ("64", "256", "512", "1024", "4096", "16384", "65536")


@dataclass(frozen=True, kw_only=True)
class GlossarySettings:
    """The state of the worked example, as the page's address says it."""

    example: str = "zipf"
    """A key of SOURCES."""
    n: int = 8
    """Experts, of a known shape."""
    k: int = 2
    """Experts per token."""
    t: int = 1024
    """Tokens per rank, of a known shape."""
    counts: str = "10, 5, 3, 2, 0, 0, 2, 2"
    """Counts that somebody typed."""
    of_run: str = ""
    """Id of the run whose last step is measured; empty where no run has loads."""

    @property
    def query(self) -> Query:
        """The address of this state."""
        names = ("example", "n", "k", "t", "counts", "of_run")
        values = {name: str(getattr(self, name)) for name in names}
        return {name: (value,) for name, value in values.items() if value}


DEFAULTS = GlossarySettings()


def sources(runs: Sequence[Run]) -> list[str]:
    """The kinds of counts on offer; runs: those with loads."""
    return [name for name in SOURCES if runs or name != RUN]


def top_ks(kind: str, num_experts: int, counts: str) -> tuple[str, ...]:
    """The values of K on offer: at most the number of experts."""
    most = num_experts
    if kind == TYPED:
        try:
            most = parse_counts(counts).shape[-1]
        except ConfigError:
            most = int(TOP_KS[-1])
    return tuple(k for k in TOP_KS if int(k) <= most)


def default_top_k(ks: Sequence[str]) -> str:
    """2 where it is on offer."""
    default = str(DEFAULTS.k)
    return default if default in ks else ks[0]


def example_of(store: Store, runs: Sequence[Run], settings: GlossarySettings) -> Example | None:
    """The counts that are measured; None where the run has no loads yet. Raises ConfigError."""
    if settings.example == RUN:
        return examples.last_step(store, {run.run_id: run for run in runs}[settings.of_run])
    if settings.example == TYPED:
        return examples.typed(settings.counts, settings.k)
    return examples.example_of_shape(settings.example, settings.n, settings.k, settings.t)


def bar_questions(example: Example) -> tuple[Question, ...]:
    """The counts as bars, a chart per rank or layer."""
    no_arms = ArmSet.of([])
    return tuple(
        Question(key=f"example_bars_{i}", build=examples.load_bars, arms=no_arms, settings=bars)
        for i, bars in enumerate(examples.bar_charts(example))
    )


def severity_question(example: Example) -> Question:
    """Every metric between balance and its worst case."""
    return Question(key="severity", build=examples.severity, arms=ArmSet.of([]), settings=example)


def read(runs: Sequence[Run], address: Address) -> GlossarySettings:
    """The settings that an address asks for; runs: those with loads, newest first."""
    kinds, ids = sources(runs), [run.run_id for run in runs]
    settings = GlossarySettings(
        example=address.choice("example", kinds, DEFAULTS.example, f"it can be {', '.join(kinds)}"),
        n=_one_of(address, "n", EXPERTS, str(DEFAULTS.n)),
        t=_one_of(address, "t", TOKENS, str(DEFAULTS.t)),
        of_run=address.choice("of_run", ids, ids[0], "that run is not here or has no loads") if ids else "",
    )
    counts = (address.query.get("counts") or (DEFAULTS.counts,))[-1]
    try:
        parse_counts(counts)
    except ConfigError as error:
        address.notices.append(str(error))
        counts = DEFAULTS.counts
    ks = top_ks(settings.example, settings.n, counts)
    return replace(settings, counts=counts, k=_one_of(address, "k", ks, default_top_k(ks)))


def _one_of(address: Address, key: str, options: Sequence[str], default: str) -> int:
    return int(address.choice(key, options, default, f"it can be {', '.join(options)}"))


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """See `views.view.Opener`. A search for a term shows no example, and so no panels."""
    address = Address(query)
    usable = [run for run in runs if run.has_loads]
    settings = read(usable, address)
    example = None if any(query.get("term", ())) else example_of(store, usable, settings)
    questions = () if example is None else (*bar_questions(example), severity_question(example))
    return OpenView(title=TITLE, questions=questions, notices=tuple(address.notices), query=settings.query)
