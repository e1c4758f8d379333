"""The worked example of the Glossary: one set of counts, every figure, and what other tools would print."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import streamlit as st
from numpy.typing import NDArray

from explorer import metrics
from explorer.charts import definitions, loads
from explorer.errors import ConfigError
from explorer.figures.arms import Run
from explorer.metrics.catalogue import OF_LOADS, Metric
from explorer.metrics.examples import SHAPES, example, parse_counts
from explorer.metrics.peers import CONVERSIONS
from explorer.queries import health
from explorer.ui.server.services import services
from explorer.ui.shared import cached, show, specs, urls
from explorer.wording import counted

ANCHOR = "worked-example"
TYPED, RUN = "typed", "run"
SOURCES = {shape.key: shape.title for shape in SHAPES} | {
    TYPED: "counts that you type",
    RUN: "a recorded run",
}
EXPERTS = ("2", "4", "8", "16", "32", "64", "128", "256")
TOP_KS = ("1", "2", "4", "6", "8", "16")
TOKENS = ("64", "256", "1024", "4096", "16384", "65536")
FIRST_COUNTS = "10, 5, 3, 2, 0, 0, 2, 2"
KEYS = ("example", "n", "k", "t", "counts", "of_run")
MOST_PANELS = 4

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Example:
    """What is measured."""

    counts: Counts
    """[R, L, E]"""
    top_k: int
    words: str
    names: tuple[int, ...] | None = None
    """The layers' numbers; None: from 0."""

    def name(self, place: int) -> int:
        """The number of the layer at this place of the array."""
        return place if self.names is None else self.names[place]

    @property
    def layers(self) -> Counts:
        """[L, E]: what all ranks did together."""
        return np.asarray(self.counts.sum(0))

    @property
    def tokens(self) -> float:
        """T of one layer, all ranks together."""
        return float(self.layers.sum(-1).mean()) / self.top_k


def link() -> None:
    """A line that leads to the section."""
    # The whole line: a link inside words would be told apart by its colour alone.
    st.markdown(f"[Try every figure on counts of your own, beside what other tools print](#{ANCHOR})")


def section(runs: list[Run]) -> None:
    """The section, with its heading. runs: those that the last step can be taken from."""
    st.header("One set of counts, every figure", divider="gray", anchor=ANCHOR)
    st.markdown(
        "The same loads get another number from every figure, and one name often means several numbers. "
        "Choose counts and compare. Definitions stand above; `docs/metrics.md` has them in one place."
    )
    st.fragment(_view)(runs)


def _view(runs: list[Run]) -> None:
    """Controls and results. Only this reruns when a control moves."""
    usable = [run for run in runs if run.has_loads]
    _settle(usable)
    found = _choose(usable)
    urls.show_notices(*KEYS)
    if found is None:
        return
    st.markdown(show.plain(found.words))
    with show.steady("definitions"):
        _pictures(found)
        _our_figures(found)
        _their_figures(found)


# --- Controls ---


def _complaint(key: str, what: str, fallback: str) -> Callable[[str], str]:
    return lambda value: f"The link gives “{value}” for {key}; it must be {what}. {fallback} is used."


def _settle(runs: list[Run]) -> None:
    """Read the address before the widgets are made, and say what does not fit."""
    offered = [name for name in SOURCES if runs or name != RUN]
    urls.settle("example", offered, "zipf", _complaint("example", f"one of {', '.join(offered)}", "zipf"))
    urls.settle("n", EXPERTS, "8", _complaint("n", f"one of {', '.join(EXPERTS)}", "8"))
    urls.settle("t", TOKENS, "1024", _complaint("t", f"one of {', '.join(TOKENS)}", "1024"))
    if runs:
        ids = [run.run_id for run in runs]
        urls.settle("of_run", ids, ids[0], _complaint("of_run", "a run that is here and has loads", ids[0]))
    _settle_counts()
    ks = _top_ks()
    default = "2" if "2" in ks else ks[0]
    urls.settle("k", ks, default, _complaint("k", f"one of {', '.join(ks)}", default))


def _settle_counts() -> None:
    if "counts" in st.session_state:
        return
    wanted = urls.asked("counts")
    st.session_state["counts"] = FIRST_COUNTS
    if not wanted:
        return
    try:
        parse_counts(wanted[-1])
    except ConfigError as error:
        urls.notice("counts", f"The link cannot be followed: {error} {FIRST_COUNTS} is used.")
    else:
        st.session_state["counts"] = wanted[-1]


def _top_ks() -> tuple[str, ...]:
    """What K can be: no more than there are experts."""
    most = int(st.session_state["n"])
    if st.session_state["example"] == TYPED:
        try:
            most = parse_counts(str(st.session_state["counts"])).shape[-1]
        except ConfigError:
            most = int(TOP_KS[-1])
    return tuple(k for k in TOP_KS if int(k) <= most)


def _choose(runs: list[Run]) -> Example | None:
    """The controls that the kind of example needs; None when nothing can be measured."""
    offered = [name for name in SOURCES if runs or name != RUN]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        kind = st.selectbox(
            "Counts", offered, format_func=SOURCES.__getitem__, key="example", bind="query-params", width=280
        )
        if kind == RUN:
            return _from_run(runs)
        if kind == TYPED:
            text = st.text_input(
                "Assignments of each expert",
                key="counts",
                bind="query-params",
                help="Whole numbers with commas or spaces between them, one an expert, idle ones included.",
            )
        else:
            _slider("Experts N", EXPERTS, "n", "Routed experts of a layer.")
        _slider("K", _top_ks(), "k", "Experts that every token is sent to.")
        if kind != TYPED:
            _slider("Tokens T", TOKENS, "t", "Tokens that are counted, on each rank where there are several.")
    return _typed(text) if kind == TYPED else _shaped(kind)


def _slider(label: str, options: tuple[str, ...], key: str, help_text: str) -> None:
    st.select_slider(label, options, key=key, bind="query-params", help=help_text, width=190)


def _shaped(kind: str) -> Example:
    n, k, t = (int(st.session_state[key]) for key in ("n", "k", "t"))
    shape = {found.key: found for found in SHAPES}[kind]
    return Example(counts=example(kind, n, k, t), top_k=k, words=shape.text)


def _typed(text: str) -> Example | None:
    try:
        counts = parse_counts(text)
    except ConfigError as error:
        st.error(show.plain(str(error)), icon=":material/error:")
        return None
    top_k = int(st.session_state["k"])
    total, largest = int(counts.sum()), int(counts.max())
    words = f"{counted(counts.shape[-1], 'expert')} with {counted(total, 'assignment')}."
    if total % top_k:
        words += f" That is no multiple of K = {top_k}: some tokens did not get all their experts."
    elif largest * top_k > total:
        words += (
            f" One expert has {largest:,}, more than the {total // top_k:,} tokens that there can be with "
            f"K = {top_k}, so figures lie beyond their worst case."
        )
    return Example(counts=counts, top_k=top_k, words=words)


def _from_run(runs: list[Run]) -> Example | None:
    by_id = {run.run_id: run for run in runs}
    run = by_id[urls.selectbox("Run", list(by_id), key="of_run")]
    frame = _last_counts(run.version, run.last_step)
    if frame.is_empty():
        st.info("This run has no loads yet.")
        return None
    # Figures of one array: of layers of different width those that are as wide as the widest.
    width = pl.len().over("layer")
    frame = frame.filter(width == width.max())
    names = tuple(frame["layer"].unique(maintain_order=True).to_list())
    counts = frame["tokens"].to_numpy().reshape(1, len(names), -1)
    left_out = run.num_moe_layers - len(names)
    words = (
        f"Step {frame['step'][0]:,} of {run.label}: {counted(len(names), 'layer')} of "
        f"{counted(counts.shape[-1], 'expert')}, "
        f"{run.top_k} for each token."
    )
    if left_out > 0:
        words += f" {left_out} narrower layer{'s are' if left_out > 1 else ' is'} left out."
    return Example(counts=counts, top_k=max(1, run.top_k), words=words, names=names)


@st.cache_data(max_entries=50, show_spinner=False)
def _last_counts(version: cached.Version, step: int) -> pl.DataFrame:
    with services().index.cursor() as cur:
        return health.counts_at(cur, version[0], step)


# --- Results ---


def _number(value: float | None) -> str:
    if value is None:
        return "not known from counts"
    if math.isnan(value):
        return "NaN (0/0)"
    if abs(value) < 5e-5:
        return "0"
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"


def _values(found: Example, figure: Metric) -> NDArray[np.float64]:
    return np.asarray(figure.function(found.layers), dtype=np.float64)


def _pictures(found: Example) -> None:
    """The counts as bars, and where every figure puts them."""
    panels = _panels(found)
    beside = len(panels) == 1
    left, right = show.in_columns(2) if beside else (st.container(), st.container())
    with left:
        cells = [left] if beside else show.in_columns(len(panels), most=2)
        for number, (cell, (name, counts)) in enumerate(zip(cells, panels, strict=True)):
            with cell:
                _bars(name, counts, number, height=240 if beside else 150)
    with right:
        table = pl.DataFrame(
            [(figure.title, *_position(found, figure)) for figure in OF_LOADS],
            schema={"figure": pl.String, "position": pl.Float64, "value": pl.String},
            orient="row",
        )
        st.markdown("**How bad each figure says it is**")
        show.figure(
            specs.make(definitions.severity(table)),
            subject="Every figure between its value at balance and its worst case",
            finding="; ".join(f"{row[0]} {row[2]}" for row in table.rows()) + ".",
            how="Left is balance, right the worst that these counts could be.",
            table=table,
            key="severity",
            said=False,
        )


def _panels(found: Example) -> list[tuple[str, Counts]]:
    """What is drawn: the ranks, or the layers, or the least even layer of many."""
    ranks, layers, _ = found.counts.shape
    if ranks > 1:
        return [(f"Rank {rank}", found.counts[rank, 0]) for rank in range(min(ranks, MOST_PANELS))]
    if layers == 1:
        return [("The counts", found.layers[0])]
    if layers == 2:
        return [(f"Layer {found.name(place)}", found.layers[place]) for place in range(layers)]
    layer, _ = metrics.worst_layer(found.layers)
    return [(f"Layer {found.name(layer)}, the least even one", found.layers[layer])]


def _bars(name: str, counts: Counts, number: int, height: int) -> None:
    st.markdown(f"**{name}**")
    total = int(counts.sum())
    frame = pl.DataFrame(
        {
            "expert": np.arange(len(counts)),
            "tokens": counts,
            "load_ratio": counts * len(counts) / total if total else np.full(len(counts), np.nan),
        }
    )
    show.figure(
        specs.make(loads.load_bars(frame, height=height)),
        subject=f"{name}, load of every expert",
        finding=f"Counts: {', '.join(map(str, counts))}.",
        how="A bar would reach the line at 1 if the work were shared evenly.",
        table=frame,
        key=f"example_bars_{number}",
        said=False,
    )


def _position(found: Example, figure: Metric) -> tuple[float | None, str]:
    """How far from balance (0) to the worst case (1), and the value as text; means over layers."""
    assert figure.balance is not None
    assert figure.worst is not None
    experts = found.counts.shape[-1]
    best, worst = figure.balance(experts, found.top_k), figure.worst(experts, found.top_k)
    value = float(_values(found, figure).mean())
    if best == worst or math.isnan(value):
        return None, _number(value)
    return (value - best) / (worst - best), _number(value)


def _our_figures(found: Example) -> None:
    st.subheader("Our figures", anchor="our-figures")
    experts, several = found.counts.shape[-1], len(found.layers) > 1
    worst_layer = metrics.worst_layer(found.layers)[0] if several else 0
    rows = []
    for figure in OF_LOADS:
        values = _values(found, figure)
        assert figure.balance is not None
        assert figure.worst is not None
        row = {
            "figure": f"[{figure.title}](#{figure.key})",
            "mean over layers" if several else "value": _number(float(values.mean())),
        }
        if several:
            row[f"layer {found.name(worst_layer)}"] = _number(float(values[worst_layer]))
        rows.append(
            {
                **row,
                "at balance": _number(figure.balance(experts, found.top_k)),
                "at worst": _number(figure.worst(experts, found.top_k)),
            }
        )
    st.table(pl.DataFrame(rows), border="horizontal", hide_index=True, alt="Our figures of these counts")
    show.note(_chance(found))


def _chance(found: Example) -> str:
    experts, tokens, layers = found.counts.shape[-1], round(found.tokens), len(found.layers)
    if found.top_k >= experts or tokens < 1:
        return "With K = N every token takes all experts, and nothing can be uneven."
    mean, high = metrics.uniform_reference(experts, found.top_k, tokens, layers)
    guide = metrics.uniform_guide(experts, found.top_k, tokens)
    averaged = f", averaged over {layers} layers" if layers > 1 else ""
    return (
        f"Chance alone, {tokens:,} tokens that each take {found.top_k} of {experts} experts at random, gives "
        f"a MaxVio of {mean:.3f} on average and {high:.3f} at the 95th percentile{averaged} (closed-form "
        f"guide {guide:.3f}). At worst: all tokens take the same {found.top_k}."
    )


def _their_figures(found: Example) -> None:
    st.subheader("What other tools print for the same counts", anchor="other-tools")
    experts = found.counts.shape[-1]
    rows = [
        {
            "number of a tool": f"[{one.tool}]({one.link}): {show.plain(one.name)}",
            "prints": _number(one.printed(found.counts, found.top_k)),
            "at balance": _number(one.at_balance(experts, found.top_k)),
            # In one cell, so that the table fits a narrow page.
            "from our figures": f"${one.formula}$. {one.trap}",
        }
        for one in CONVERSIONS
    ]
    st.table(
        pl.DataFrame(rows),
        border="horizontal",
        hide_index=True,
        alt="Numbers of other tools for these counts",
    )
    show.note(
        "Read from the tools' sources. A loss also depends on the router's mean probabilities, which counts "
        "do not tell: they are taken to equal the load shares here; the value at balance holds for any. "
        "Where a tool counts rank by rank, the ranks of the example are its ranks."
    )
