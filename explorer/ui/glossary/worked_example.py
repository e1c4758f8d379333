"""The worked example of the Glossary: one set of counts, every metric, and the numbers of other tools."""

from collections.abc import Callable, Sequence

import polars as pl
import streamlit as st

from explorer import metrics
from explorer.errors import ConfigError
from explorer.figures.arms import Run
from explorer.figures.examples import Example, ends, number, random_baseline
from explorer.figures.views.glossary import (
    DEFAULTS,
    EXPERTS,
    RUN,
    SOURCES,
    TOKENS,
    TYPED,
    GlossarySettings,
    bar_questions,
    default_top_k,
    example_of,
    severity_question,
    sources,
    top_ks,
)
from explorer.figures.views.selection import run_names
from explorer.metrics.catalogue import OF_LOADS
from explorer.metrics.examples import parse_counts
from explorer.metrics.peers import CONVERSIONS
from explorer.ui.shared import show, state, urls
from explorer.ui.shared.store import STORE

ANCHOR = "worked-example"
KEYS = ("example", "n", "k", "t", "counts", "of_run")


def link() -> None:
    """A line that leads to the section."""
    # The whole line: a link within a sentence would differ from its text by colour alone.
    st.markdown(
        f"[Compute every metric for your own counts, beside the numbers that other tools report](#{ANCHOR})"
    )


def section(runs: Sequence[Run]) -> None:
    """The section with its heading. runs: those that the last step can be taken from."""
    st.header("One set of counts, every metric", divider="gray", anchor=ANCHOR)
    st.markdown(
        "Each metric turns the same loads into a different number, and one name often stands for several "
        "metrics. Choose counts and compare. Definitions are above."
    )
    _example([run for run in runs if run.has_loads])


@st.fragment
def _example(runs: Sequence[Run]) -> None:
    """Controls and results. Only this reruns when a control moves."""
    _prepare(runs)
    settings = _settings(runs)
    urls.show_notices(*KEYS)
    try:
        example = example_of(STORE, runs, settings)
    except ConfigError as error:
        st.error(show.plain(str(error)), icon=":material/error:")
        return
    if example is None:
        st.info("This run has no loads yet.")
        return
    st.markdown(show.plain(example.text))
    with show.steady("definitions"):
        _panels(example)
        _our_metrics(example)
        _their_metrics(example)


# --- Controls ---


def _complaint(key: str, rule: str, fallback: str) -> Callable[[str], str]:
    return lambda value: f"The link gives “{value}” for {key}; it must be {rule}. {fallback} is used."


def _prepare_choice(key: str, options: Sequence[str], default: str) -> None:
    urls.prepare_choice(key, options, default, _complaint(key, f"one of {', '.join(options)}", default))


def _prepare(runs: Sequence[Run]) -> None:
    """Read the address before the widgets are made; values that do not fit become notices."""
    _prepare_choice("example", sources(runs), DEFAULTS.example)
    _prepare_choice("n", EXPERTS, str(DEFAULTS.n))
    _prepare_choice("t", TOKENS, str(DEFAULTS.t))
    if runs:
        ids = [run.run_id for run in runs]
        urls.prepare_choice("of_run", ids, ids[0], _complaint("of_run", "a recorded run with loads", ids[0]))
    _prepare_counts()
    ks = _top_ks()
    _prepare_choice("k", ks, default_top_k(ks))


def _prepare_counts() -> None:
    """The same for typed counts."""
    if state.has("counts"):
        return
    texts = urls.values_of("counts")
    state.put("counts", DEFAULTS.counts)
    if not texts:
        return
    try:
        parse_counts(texts[-1])
    except ConfigError as error:
        urls.notice("counts", f"The link cannot be followed: {error} {DEFAULTS.counts} is used.")
    else:
        state.put("counts", texts[-1])


def _top_ks() -> tuple[str, ...]:
    return top_ks(state.text("example"), state.number("n"), state.text("counts"))


def _settings(runs: Sequence[Run]) -> GlossarySettings:
    """The controls that the kind of example needs, and what all of them say."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox(
            "Counts",
            sources(runs),
            format_func=SOURCES.__getitem__,
            key="example",
            bind="query-params",
            width=280,
        )
        if kind == RUN:
            urls.selectbox(
                "Run", [run.run_id for run in runs], key="of_run", format_func=run_names(runs).__getitem__
            )
        elif kind == TYPED:
            st.text_input(
                "Assignments per expert",
                key="counts",
                bind="query-params",
                help="Whole numbers separated by commas or spaces, one per expert, idle experts included.",
            )
        else:
            _slider("Experts N", EXPERTS, "n", "Routed experts per layer.")
        if kind != RUN:
            _slider("K", _top_ks(), "k", "Experts per token.")
        if kind not in (RUN, TYPED):
            _slider("Tokens T", TOKENS, "t", "Counted tokens, per rank where there are several.")
    return GlossarySettings(
        example=kind,
        n=state.number("n"),
        k=state.number("k"),
        t=state.number("t"),
        counts=state.text("counts"),
        of_run=state.text("of_run") if runs else "",
    )


def _slider(label: str, options: tuple[str, ...], key: str, help_text: str) -> None:
    st.select_slider(label, options, key=key, bind="query-params", help=help_text, width=190)


# --- Results ---


def _panels(example: Example) -> None:
    """The counts as bars, and every metric between balance and worst case."""
    bars = bar_questions(example)
    beside = len(bars) == 1
    left, right = show.in_columns(2) if beside else (st.container(), st.container())
    with left:
        cells = [left] if beside else show.in_columns(len(bars), most=2)
        for cell, question in zip(cells, bars, strict=True):
            with cell:
                st.markdown(f"**{question.settings.name}**")
                show.question(question, text=False)
    with right:
        st.markdown("**Imbalance according to each metric**")
        show.question(severity_question(example), text=False)


def _our_metrics(example: Example) -> None:
    """The metrics of this app as a table, with the worst layer beside the mean."""
    st.subheader("Our metrics", anchor="our-figures")
    several = len(example.layers) > 1
    worst = metrics.worst_layer(example.layers)[0] if several else 0
    rows = []
    for metric in OF_LOADS:
        values = example.values(metric)
        at_balance, at_worst = ends(example, metric)
        row = {
            "metric": f"[{metric.title}](#{metric.key})",
            "mean over layers" if several else "value": number(float(values.mean())),
        }
        if several:
            row[f"layer {example.layer_name(worst)}"] = number(float(values[worst]))
        rows.append({**row, "at balance": number(at_balance), "worst case": number(at_worst)})
    st.table(pl.DataFrame(rows), border="horizontal", hide_index=True, alt="Our metrics of these counts")
    show.note(random_baseline(example))


_OTHER_TOOLS = "other-tools-table"
# On a phone the fourth column would be cut off, so each row becomes a block with one line per value.
_STACKED = f"""
@media (max-width: 640px) {{
  .st-key-{_OTHER_TOOLS} thead {{ display: none; }}
  .st-key-{_OTHER_TOOLS} :is(table, tbody, tr, td) {{ display: block; width: 100%; }}
  .st-key-{_OTHER_TOOLS} tr {{ border-bottom: 1px solid rgba(128, 128, 128, .3); padding: .5rem 0; }}
  .st-key-{_OTHER_TOOLS} td {{ border: 0 !important; padding: .1rem 0; }}
  .st-key-{_OTHER_TOOLS} td:first-of-type {{ font-weight: 600; }}
  .st-key-{_OTHER_TOOLS} td :is(p, div) {{ display: inline; }}
  .st-key-{_OTHER_TOOLS} td:nth-of-type(2)::before {{ content: "prints: "; }}
  .st-key-{_OTHER_TOOLS} td:nth-of-type(3)::before {{ content: "at balance: "; }}
}}
"""


def _their_metrics(example: Example) -> None:
    """The numbers that other tools print for the same counts, as a table."""
    st.subheader("Other tools on the same counts", anchor="other-tools")
    counts = example.counts.array
    rows = [
        {
            "metric of a tool": f"[{one.tool}]({one.link}): {show.plain(one.name)}",
            "prints": number(one.printed(counts, example.top_k)),
            "at balance": number(one.at_balance(example.num_experts, example.top_k)),
            # In one cell, so that the table fits a narrow page.
            "from our metrics": f"${one.formula}$. {one.trap}",
        }
        for one in CONVERSIONS
    ]
    with st.container(key=_OTHER_TOOLS):
        st.html(f"<style>{_STACKED}</style>")
        st.table(
            pl.DataFrame(rows),
            border="horizontal",
            hide_index=True,
            alt="Metrics of other tools for these counts",
        )
    show.note(
        "Formulas are taken from the tools' source code. A loss also depends on the router's mean "
        "probabilities, which counts do not determine: here they equal the load shares; the value at "
        "balance holds for any. Where a tool counts per rank, it uses the ranks of the example."
    )
