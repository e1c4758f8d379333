"""The probe batch: scores of a token, tokens and co-selected experts of an expert, router saturation.

Charts that follow a click keep their specification (`templates`), so their subjects name no token or expert.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from explorer.charts import microscope as charts
from explorer.charts import spec as specs
from explorer.charts.order import with_places
from explorer.figures import probe_sentences as sentences
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel
from explorer.figures.probe_batch import (
    UNSCORED,
    RoutedBatch,
    cut_off,
    routed_batch,
    token_table,
    visible,
)
from explorer.figures.settings import OneLayer
from explorer.figures.store import Store, Trace
from explorer.figures.templates import with_rows
from explorer.queries import probe as queries
from explorer.queries import specialisation
from explorer.wording import counted

MOST_TEXTS, MOST_OTHERS, MOST_DOMAINS = 10, 8, 32
"""Bars of a chart, at most."""
SCORES_HOW = "Bars are scores; those above the dashed line are chosen."
BIASED_SCORES_HOW = (
    "Bars are scores, rings the choice by scores alone. An arrow adds the bias; experts whose arrow ends "
    "above the dashed line are chosen."
)
STATES_HOW = "Bars are scores; colours mark the chosen experts."
TEXTS_HOW = "Strong: how often this expert received the token. Faint: how often it occurs in the probe."
DOMAINS_HOW = "The dashed line at 1 marks the uniform load: equal shares of the domain's tokens."
SHARE = "share of its tokens"
COSELECTED_HOW = "The small mark is the share that the loads alone predict, the dashed line uniform routing."
SATURATION_HOW = (
    "The experts of the same tokens at the last probe are compared with those at every earlier probe. Bold: "
    "the selected layer. Faint: the others."
)
ONE_EXPERT_PER_TOKEN = "Each token has one expert here, so experts share no tokens."
ONE_LAYER = "This model has one MoE layer."
NO_SCORES = "This run does not record how scores come from the router's logits."


@dataclass(frozen=True, kw_only=True)
class ProbeToken:
    """One token of the probe in one MoE layer, after `step` updates."""

    step: int
    layer: int
    token: int
    expert: int | None = None
    """A marked expert."""


@dataclass(frozen=True, kw_only=True)
class ProbeExpert:
    """One expert of one MoE layer, and the probe after `step` updates."""

    step: int
    layer: int
    expert: int


def not_recorded(step: int, layer: int) -> str:
    """The sentence shown if this probe was not recorded."""
    probe = f"readable probe after {counted(step, 'update')}"
    return f"Layer {layer} has no {probe}; choose another probe or layer."


def token_scores(store: Store, arms: ArmSet, settings: ProbeToken) -> Panel | Missing:
    """Scores of one token with bias and cut-offs, in the first run of the only arm."""
    (arm,) = arms
    subject = f"Scores of the chosen token in layer {settings.layer}"
    trace = Trace(store)
    batch = routed_batch(trace, arm.first, settings.step, settings.layer)
    if batch is None or batch.scores is None:
        reason = not_recorded(settings.step, settings.layer)
        if batch is not None:
            reason = UNSCORED if batch.logits is None else NO_SCORES
        return Missing(subject=subject, reason=reason)
    table = token_table(batch, settings.token)
    rows = score_rows(table, settings.expert)
    is_biased = batch.bias is not None
    # Placeholders: the specification depends on the number of experts alone.
    blank = rows.with_columns(
        *(pl.lit(0.0).alias(name) for name in ("score", "compared", "bias")),
        *(pl.lit(False).alias(name) for name in ("before", "after", "marked")),
        state=pl.lit(charts.LEFT),
    )
    chart = with_rows(
        ("token scores", batch.num_experts, is_biased),
        (rows, cuts_of(batch, settings.token, table)),
        lambda: charts.token_scores(blank, charts.cut_rows(0.0, 0.0, 0.0, 1.0), biased=is_biased),
    )
    how = STATES_HOW if batch.compared is None else BIASED_SCORES_HOW if is_biased else SCORES_HOW
    return Panel(
        subject=subject,
        finding=sentences.token(batch, settings.token, table),
        how=how,
        spec=chart,
        table=table.drop("before", "after"),
        statements=trace.statements,
    )


def score_rows(table: pl.DataFrame, expert: int | None) -> pl.DataFrame:
    """The rows of `charts.token_scores`, from a token's table; `expert` is marked."""
    marked = pl.lit(False) if expert is None else pl.col("expert") == expert
    return table.with_columns(marked=marked).select(charts.COLUMNS)


def cuts_of(batch: RoutedBatch, token: int, table: pl.DataFrame) -> pl.DataFrame:
    """The cut-offs of a token's choice, with and without the bias; rows of `charts.cut_rows`."""
    biased = cut_off(batch.compared, batch.chosen_by(token), token)
    unbiased = None
    if batch.bias is not None:
        unbiased = cut_off(batch.unbiased, batch.would_choose(token), token)
    values = [v for name in ("score", "compared") for v in table[name].drop_nulls().to_list()]
    return charts.cut_rows(unbiased, biased, min([0.0, *values]), max([0.0, *values]))


def expert_tokens(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """The texts that one expert receives most often, in the first run of the only arm."""
    (arm,) = arms
    subject = "Tokens of the expert in the probe"
    trace = Trace(store)
    batch = routed_batch(trace, arm.first, settings.step, settings.layer)
    if batch is None:
        return Missing(subject=subject, reason=not_recorded(settings.step, settings.layer))
    if batch.logits is None and not batch.text.is_known:
        return Missing(subject=subject, reason=batch.text.note)
    table = queries.expert_texts(batch.after, batch.text.texts, settings.expert)
    rows = with_places(
        table.head(MOST_TEXTS).select(
            pl.col("text").map_elements(visible, return_dtype=pl.String).alias("label"),
            "tokens",
            "occurrences",
            "share",
        )
    )
    chart = with_rows(
        ("expert tokens", rows.is_empty()), (rows,), lambda: charts.favourite_texts(rows, rows=MOST_TEXTS)
    )
    received = int((batch.after == settings.expert).sum())
    return Panel(
        subject=subject,
        finding=sentences.texts(table, settings.expert, received, batch.num_tokens),
        how=TEXTS_HOW,
        spec=chart,
        table=table,
        statements=trace.statements,
    )


def expert_domains(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """Load of one expert in every domain of the probe, in the first run of the only arm."""
    (arm,) = arms
    subject = "Domains of the expert in the probe"
    trace = Trace(store)
    batch = routed_batch(trace, arm.first, settings.step, settings.layer)
    if batch is None:
        return Missing(subject=subject, reason=not_recorded(settings.step, settings.layer))
    if batch.logits is None and not 1 < len(set(batch.text.domains)) <= MOST_DOMAINS:
        reason = f"The trace has {counted(len(batch.text.spans), 'sequence')} and names no domains."
        return Missing(subject=subject, reason=reason)
    table = queries.expert_domains(batch.after, batch.text.domains, settings.expert, batch.num_experts)
    rows = table.select("domain", "tokens", pl.col("load_ratio").fill_null(0.0))
    chart = with_rows(("expert domains", rows.height), (rows,), lambda: charts.served_domains(rows))
    return Panel(
        subject=subject,
        finding=sentences.domains(table, settings.expert),
        how=DOMAINS_HOW,
        spec=chart,
        table=table,
        statements=trace.statements,
    )


def coselected_experts(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """Experts of the same layer that are chosen for the same tokens, in the first run of the only arm."""
    (arm,) = arms
    run, expert, subject = arm.first, settings.expert, "Co-selected experts of the expert"
    trace = Trace(store)
    batch = routed_batch(trace, run, settings.step, settings.layer)
    if batch is None:
        return Missing(subject=subject, reason=not_recorded(settings.step, settings.layer))
    experts, k = batch.num_experts, batch.after.shape[1]
    if k < 2 or experts < 2:
        return Missing(subject=subject, reason=ONE_EXPERT_PER_TOKEN)
    pairs = _pairs(trace, run, settings).within
    rows = shared_rows(pairs, own_loads(pairs), expert, others_only=True)
    even = (float((batch.after < experts).sum(-1).mean()) - 1) / (experts - 1)
    return Panel(
        subject=subject,
        finding=sentences.coselected(rows, expert, even),
        how=COSELECTED_HOW,
        spec=_shares(rows, even, title=SHARE),
        table=rows,
        statements=trace.statements,
    )


def next_layer(layers: Sequence[int], layer: int) -> int | None:
    """The MoE layer after this one, the one before for the last; None where there is no other."""
    place = layers.index(layer)
    others = [*layers[place + 1 :], *reversed(layers[:place])]
    return others[0] if others else None


def across_layers(store: Store, arms: ArmSet, settings: ProbeExpert) -> Panel | Missing:
    """Experts of the next MoE layer for the tokens of one expert, in the first run of the only arm."""
    (arm,) = arms
    run, expert = arm.first, settings.expert
    other = next_layer(run.layers, settings.layer)
    subject = f"Experts of layer {other} for the tokens of the expert"
    if other is None:
        return Missing(subject="Experts of other layers for the tokens of the expert", reason=ONE_LAYER)
    trace = Trace(store)
    batch = routed_batch(trace, run, settings.step, settings.layer)
    if batch is None:
        return Missing(subject=subject, reason=not_recorded(settings.step, settings.layer))
    pairs = _pairs(trace, run, settings)
    rows = shared_rows(pairs.across, pairs.other_loads, expert, others_only=False)
    even = float((batch.after < batch.num_experts).sum(-1).mean()) / run.width(other)
    return Panel(
        subject=subject,
        finding=sentences.across_layers(rows, expert, other, even),
        how=COSELECTED_HOW,
        spec=_shares(rows, even, title=f"{SHARE}, in layer {other}"),
        steady=_shares(rows, even, title=SHARE),
        table=rows,
        statements=trace.statements,
    )


def _pairs(trace: Trace, run: Run, settings: ProbeExpert) -> specialisation.Coactivation:
    """What both panels of pairs of experts read, in one question."""
    other = next_layer(run.layers, settings.layer)
    return trace.ask(specialisation.coactivation, run, settings.layer, other, step=settings.step)


def shared_rows(pairs: pl.DataFrame, loads: pl.DataFrame, expert: int, *, others_only: bool) -> pl.DataFrame:
    """The experts that the tokens of `expert` also go to, most tokens first: name, share, expected, tokens.

    pairs: `within` or `across` of `queries.Coactivation`; loads: expert, load of the experts on the other
    side. expected: the share that the loads alone predict. `others_only` leaves out the expert itself.
    """
    rows = pairs.filter(pl.col("expert") == expert).join(
        loads.rename({"expert": "other"}), on="other", how="left"
    )
    if others_only:
        rows = rows.filter(pl.col("other") != expert)
    per_token = pl.col("share").sum()
    return rows.select(
        pl.format("expert {}", "other").alias("name"),
        "share",
        expected=(per_token * pl.col("load") / pl.col("load").sum()).clip(0.0, 1.0),
        tokens=pl.col("tokens").cast(pl.Int64),
    ).sort("share", "tokens", descending=True, nulls_last=True, maintain_order=True)


def own_loads(pairs: pl.DataFrame) -> pl.DataFrame:
    """The diagonal of a layer's co-activation: expert, load (its probe tokens)."""
    return pairs.filter(pl.col("expert") == pl.col("other")).select("expert", load=pl.col("tokens"))


def _shares(rows: pl.DataFrame, even: float, *, title: str) -> specs.Spec:
    """Bars of the highest shares; rows: of `shared_rows`."""
    top = with_places(rows.filter(pl.col("share").is_not_null()).head(MOST_OTHERS))
    return with_rows(
        ("shared tokens", title, even, top.is_empty()),
        (top,),
        lambda: charts.shared_tokens(top, even=even, title=title, rows=MOST_OTHERS),
    )


def saturation(store: Store, arms: ArmSet, settings: OneLayer) -> Panel | Missing:
    """Share of the final choices that each probe already made, in the first run of the only arm."""
    (arm,) = arms
    trace = Trace(store)
    frame = trace.ask(specialisation.saturation, arm.first)
    return Panel(
        subject=f"Router saturation of {arm.first.label}",
        finding=sentences.saturation(frame, settings.layer),
        how=SATURATION_HOW,
        spec=with_rows(
            ("saturation", frame.write_ipc(None).getvalue()),
            (charts.saturation_rows(frame, settings.layer),),
            lambda: charts.saturation(frame, layer=settings.layer),
        ),
        table=frame,
        statements=trace.statements,
    )
