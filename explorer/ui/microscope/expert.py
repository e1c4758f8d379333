"""One expert under the Microscope: its tokens, its company, its history."""

from collections.abc import Sequence
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import microscope as charts
from explorer.charts.theme import AXIS
from explorer.figures.arms import Run
from explorer.metrics.glossary import tip
from explorer.queries.probe import expert_domains, expert_texts
from explorer.ui.microscope import queries as cached_probe
from explorer.ui.microscope import text as microscope_words
from explorer.ui.microscope.view import View, visible
from explorer.ui.shared import cached, events, links, show, specs

MOST_TEXTS, MOST_OTHERS, BINS = 10, 8, 80


def section(run: Run, view: View, expert: int, *, is_marked: bool) -> None:
    """Six small figures of one expert."""
    st.subheader(f"Expert {expert}: what does it do?")
    show.note(
        "The expert that is marked in the text."
        if is_marked
        else "The one that is first choice most often. Click a number above the text to look at another."
    )
    links.page(
        "replay", f"Replay this run with expert {expert}", run=run.run_id, layer=view.layer, expert=expert
    )
    cells = show.in_columns(6, most=3, least_px=300)
    with cells[0]:
        _texts(run, view, expert)
    with cells[1]:
        _domains(run, view, expert)
    with cells[2]:
        _neighbours(run, view, expert)
    with cells[3]:
        _onward(run, view, expert)
    with cells[4]:
        _loads(run, view, expert)
    with cells[5]:
        _biases(run, view, expert)


def _texts(run: Run, view: View, expert: int) -> None:
    st.markdown("### Its tokens")
    found = expert_texts(view.after, view.text.texts, expert)
    rows = found.head(MOST_TEXTS).select(
        pl.col("text").map_elements(visible, return_dtype=pl.String).alias("label"),
        "tokens",
        "occurrences",
        "share",
    )
    taken = int((view.after == expert).sum())
    chart = specs.kept(
        ("microscope texts", rows.is_empty()), partial(charts.favourite_texts, rows, rows=MOST_TEXTS)
    )
    show.figure(
        chart if rows.is_empty() else chart.with_rows(rows),
        subject="Tokens of the expert in the probe",
        finding=microscope_words.texts(found, expert, taken, view.num_tokens),
        how="Strong: how often this expert took the token. Faint: how often it occurs in the probe.",
        table=found,
        sources=(view.source,),
        key="microscope_texts",
        live=True,
    )


def _domains(run: Run, view: View, expert: int) -> None:
    st.markdown("### Its domains", help=tip("domain"))
    found = expert_domains(view.after, view.text.domains, expert, view.num_experts)
    rows = found.select("domain", "tokens", pl.col("load_ratio").fill_null(0.0))
    chart = specs.kept(("microscope domains", run.run_id), partial(charts.served_domains, rows))
    show.figure(
        chart.with_rows(rows),
        subject="Domains of the expert in the probe",
        finding=microscope_words.domains(found, expert),
        how="A bar would end at the line if the domain's tokens were shared evenly among the experts.",
        table=found,
        sources=(view.source,),
        key="microscope_domains",
        live=True,
    )


def shared_rows(pairs: pl.DataFrame, loads: pl.DataFrame, expert: int, *, others_only: bool) -> pl.DataFrame:
    """Whom the tokens of `expert` also go to, most first: name, share, expected, tokens.

    pairs: of `queries.coactivation` or `cross_activation`; loads: expert, load of the experts on the other
    side. expected: the share that the loads alone would give. Of its own layer the expert does not count.
    """
    rows = pairs.filter(pl.col("expert") == expert).join(
        loads.rename({"expert": "other"}), on="other", how="left"
    )
    if others_only:
        rows = rows.filter(pl.col("other") != expert)
    mates = pl.col("share").sum()
    return rows.select(
        pl.format("expert {}", "other").alias("name"),
        "share",
        expected=(mates * pl.col("load") / pl.col("load").sum()).clip(0.0, 1.0),
        tokens=pl.col("tokens").cast(pl.Int64),
    ).sort("share", "tokens", descending=True, nulls_last=True, maintain_order=True)


def own_loads(pairs: pl.DataFrame) -> pl.DataFrame:
    """The diagonal of a layer's co-activation: expert, load (its probe tokens)."""
    return pairs.filter(pl.col("expert") == pl.col("other")).select("expert", load=pl.col("tokens"))


def _neighbours(run: Run, view: View, expert: int) -> None:
    st.markdown("### Its company", help=tip("coactivation"))
    experts, k = view.num_experts, view.after.shape[1]
    if k < 2 or experts < 2:
        show.note("Each token has one expert here, so experts share no tokens.")
        return
    pairs = cached_probe.coactivation(run.version, view.layer, view.step)
    rows = shared_rows(pairs, own_loads(pairs), expert, others_only=True)
    chance = (float((view.after < experts).sum(-1).mean()) - 1) / (experts - 1)
    _company_figure(
        rows,
        chance,
        ("microscope company", run.run_id),
        title="share of its tokens",
        subject="Experts that are chosen together with the expert",
        finding=microscope_words.neighbours(rows, expert, chance),
        sources=(pairs,),
        key="microscope_company",
    )


def next_layer(layers: Sequence[int], layer: int) -> int | None:
    """The MoE layer after this one, before it for the last one; None where there is no other."""
    place = layers.index(layer)
    others = [*layers[place + 1 :], *reversed(layers[:place])]
    return others[0] if others else None


def _onward(run: Run, view: View, expert: int) -> None:
    layer = next_layer(run.layers, view.layer)
    if layer is None:
        st.markdown("### Its tokens in other layers")
        show.note("This model has one mixture layer.")
        return
    st.markdown(f"### Its tokens in layer {layer}")
    pairs = cached_probe.cross_activation(run.version, view.layer, layer, view.step)
    there = cached_probe.coactivation(run.version, layer, view.step)
    rows = shared_rows(pairs, own_loads(there), expert, others_only=False)
    chance = float((view.after < view.num_experts).sum(-1).mean()) / run.width(layer)
    _company_figure(
        rows,
        chance,
        ("microscope onward", run.run_id),
        title=f"share of its tokens, in layer {layer}",
        subject=f"Experts of layer {layer} for the tokens of the expert",
        finding=microscope_words.onward(rows, expert, layer, chance),
        sources=(pairs, there),
        key="microscope_onward",
    )


def _company_figure(
    rows: pl.DataFrame,
    chance: float,
    name: tuple[str, str],
    *,
    title: str,
    subject: str,
    finding: str,
    sources: tuple[object, ...],
    key: str,
) -> None:
    top = rows.filter(pl.col("share").is_not_null()).head(MOST_OTHERS)
    chart = specs.kept(
        (*name, title, round(chance, 6), top.is_empty()),
        partial(charts.company, top, chance=chance, title=title, rows=MOST_OTHERS),
    )
    show.figure(
        chart if top.is_empty() else chart.with_rows(top),
        subject=subject,
        finding=finding,
        how="The small mark is what the loads alone would give, the dashed line what even choices would.",
        table=rows,
        sources=sources,
        key=key,
        live=True,
    )


def _loads(run: Run, view: View, expert: int) -> None:
    st.markdown("### Its load in training", help=tip("load"))
    frame = cached.load_heatmap(run.version, view.layer, BINS)
    everyone = frame.select(
        x=pl.col("first_step").cast(pl.Float64), value=pl.col("load_ratio").round(4), expert="expert"
    )
    one = frame.filter(pl.col("expert") == expert).select(
        x=pl.col("first_step").cast(pl.Float64), value="load_ratio", low="min_ratio", high="max_ratio"
    )
    _history(run, view, frame, everyone, one, "load", expert, title=AXIS["load_ratio"], level=1.0)


def _biases(run: Run, view: View, expert: int) -> None:
    st.markdown("### Its bias in training", help=tip("expert_bias"))
    source = cached.bias_trajectories(run.version, view.layer, BINS)
    if source.is_empty():
        show.note("This run has no bias rule, so there is no bias to show.")
        return
    everyone = source.select(
        x=pl.col("first_step").cast(pl.Float64), value=pl.col("bias_mean").round(5), expert="expert"
    )
    one = source.filter(pl.col("expert") == expert).select(
        x=pl.col("first_step").cast(pl.Float64), value="bias_mean", low="bias_min", high="bias_max"
    )
    _history(run, view, source, everyone, one, "bias", expert, title=AXIS["expert_bias"], level=None)


def _history(
    run: Run,
    view: View,
    source: pl.DataFrame,
    everyone: pl.DataFrame,
    one: pl.DataFrame,
    what: str,
    expert: int,
    *,
    title: str,
    level: float | None,
) -> None:
    one = one.with_columns(pl.col("value", "low", "high").cast(pl.Float64).fill_nan(None).round(5))
    marked = events.of_layer(cached.events(run.version), view.layer)
    chart = specs.kept(
        ("microscope history", what, run.version, view.layer, everyone.is_empty()),
        partial(charts.expert_history, everyone, one, y_title=title, level=level, events=marked),
    )
    since = 0 if everyone.is_empty() else int(everyone["x"].to_numpy().min())
    show.figure(
        chart if everyone.is_empty() else chart.with_rows(one),
        subject=f"{what.capitalize()} of the expert in layer {view.layer} over steps",
        finding=microscope_words.history(one, expert, view.step, what=what),
        how="Bold: this expert, its band the steps between. Faint: all others. Vertical line: the probe."
        + events.marks_note(marked, since=since),
        table=one,
        sources=(source, marked),
        key=f"microscope_{what}",
        live=True,
        playhead=float(view.step),
    )
