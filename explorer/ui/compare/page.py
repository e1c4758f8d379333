"""The Compare page: the same questions asked of every chosen arm."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import balance, captions, losses
from explorer.charts.theme import AXIS
from explorer.config.run import differences
from explorer.figures import biases, loads
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run, arms_key, chart_labels
from explorer.figures.panel import Build, Panel, Question
from explorer.figures.settings import OneLayer
from explorer.metrics import t_interval
from explorer.metrics.glossary import tip
from explorer.ui.compare import mechanism
from explorer.ui.compare.quality import paired_panel, plane_section
from explorer.ui.shared import cached, count_notes, events, layers, links, merge, show, specs, store, urls
from explorer.ui.shared.chance import baselines
from explorer.wording import counted

X_AXES = {"step": "step", "tokens": "tokens_seen", "time": "wall_time_s"}
BINS = 150
"""Columns of a heatmap here: several stand under each other."""


def view(arms: Sequence[Arm]) -> None:
    """Every section, for two to six arms (one arm is shown too)."""
    labels = chart_labels(arms)
    _warnings(arms, labels)
    for sentence in routing_notes(arms, labels):
        show.note(sentence)
    _figures(arms, labels)
    _what_happened(arms, labels)
    by_layer(arms, labels)
    over_time(arms, labels)
    mechanism.section(arms, labels)
    plane_section(arms)
    paired_panel(arms, labels)


def _warnings(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """What differs besides the balancing rule."""
    if len(arms) == 1:
        st.info("Only one run is chosen; add another in the picker to compare.", icon=":material/add:")
    for sentence in confounders(arms, labels):
        st.warning(show.plain(sentence), icon=":material/balance:")
    count_notes.show_notes([(f"“{_one_run(arm, run, labels)}”", run) for arm in arms for run in arm.runs])


def confounders(arms: Sequence[Arm], labels: dict[str, str]) -> list[str]:
    """Sentences that name what differs besides the balancing rule: settings, and seeds."""
    said = []
    first = json.loads(arms[0].first.config)
    for arm in arms[1:]:
        other = json.loads(arm.first.config)
        names = differences(first, other)
        if names:
            details = ", ".join(f"{n} ({_value(first, n)} against {_value(other, n)})" for n in names[:6])
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            said.append(
                f"“{labels[arms[0].token]}” and “{labels[arm.token]}” differ in more than the balancing "
                f"rule: {details}{more}. What you see below may come from that."
            )
        if not any(name.startswith("corpus.") for name in names):
            said += other_text(arms[0], arm, labels)
    seeds = [{run.seed for run in arm.runs} for arm in arms]
    common = set.intersection(*seeds)
    if not common:
        said.append(
            "No seed is in all of these runs, so initial weights and data differ too. Choose the same seeds "
            "for a fair pair."
        )
    elif any(s != common for s in seeds):
        shared = ", ".join(map(str, sorted(common, key=str)))
        said.append(f"Not all of these have the same seeds; pairs are made of seed {shared} only.")
    return said


def other_text(first: Arm, arm: Arm, labels: dict[str, str]) -> list[str]:
    """A sentence where two arms of one corpus were trained on different text, or nobody can tell."""
    names = f"“{labels[first.token]}” and “{labels[arm.token]}”"
    one, other = first.first.corpus_digest, arm.first.corpus_digest
    if not one or not other:
        return [
            f"The text of {names} is not recorded for both (corpus.digest in run.json), so it may differ, "
            "and what you see below may come from that."
        ]
    if one == other:
        return []
    return [
        f"{names} were trained on different text (corpus digest {one[:8]} against {other[:8]}), so their "
        "runs are not paired. Train both on the same corpus files; the text of the corpus “python” changes "
        "with the Python version."
    ]


ROUTING_NOTES = {
    "expert_choice": "Experts take their best tokens, so every expert has the same load by construction. A "
    "token may have any number of experts, none included; gates are the scores, not normalised; and a "
    "token's experts depend on later tokens, in training and on held-out text (routed over whole batches of "
    "one domain), so its perplexity is not one that decoding reaches.",
    "expert_threshold": "A token has every expert whose cut-off its score exceeds, none included; gates are "
    "the scores, not normalised.",
    "hash": "The token's id chooses; the router only weighs.",
    "random": "Chance chooses, anew in every pass; the router only weighs.",
    "dense": "No experts: one feed-forward layer as wide as the experts that a token would pass. It has no "
    "loads, biases or MaxVio and is left out where these are shown.",
}
"""What else differs with a routing that is not token choice, by family."""


def routing_notes(arms: Sequence[Arm], labels: dict[str, str]) -> list[str]:
    """A sentence on every arm whose tokens do not choose: weights and data are shared, choosing is not."""
    return [
        f"“{labels[arm.token]}”: {ROUTING_NOTES[arm.family]}" for arm in arms if arm.family in ROUTING_NOTES
    ]


def with_loads(arms: Sequence[Arm]) -> list[Arm]:
    """The arms that have loads to show; a dense model has none."""
    return [arm for arm in arms if arm.first.has_loads]


def _value(config: dict[str, Any], name: str) -> object:
    section, _, field = name.partition(".")
    values = config.get(section, "not set")
    return values.get(field, "not set") if field and isinstance(values, dict) else values


def _figures(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Final figures, the worst layer beside every average."""
    rows = []
    for arm in arms:
        found = cached.summary(cached.versions(arm.runs))
        rows.append(
            {
                "balancing": labels[arm.token],
                "perplexity": spread(found["perplexity"]),
                "MaxVio held-out": spread(found["max_vio_global"]),
                "worst layer": _worst(found),
                "MaxVio last steps": spread(found["max_vio_batch"]),
                "effective experts": spread(found["effective_experts"]),
                "collapsed": _collapsed(arm),
                "runs": arm.seeds,
            }
        )
    help_of = {
        "perplexity": "perplexity",
        "MaxVio held-out": "max_vio_global",
        "worst layer": "worst_layer",
        "MaxVio last steps": "max_vio_batch",
        "effective experts": "effective_experts",
        "collapsed": "collapse",
    }
    columns = {name: st.column_config.TextColumn(help=tip(key)) for name, key in help_of.items()}
    st.dataframe(rows, hide_index=True, column_config=columns, alt="Final figures of the compared runs")
    if any(arm.is_group for arm in arms):
        show.note(
            "Means over seeds; ± is the half width of the 95 % t interval. The worst layer is that of each "
            "run, so its MaxVio is a mean over seeds as well."
        )


def _what_happened(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """The events of every arm, one sentence each."""
    counts = cached.event_counts(cached.versions([run for arm in arms for run in arm.runs]))
    st.subheader("What happened on the way?", help=tip("events"))
    said = [
        f"- {show.plain(labels[arm.token])}: {show.plain(events.arm_sentence(arm, counts))}." for arm in arms
    ]
    st.markdown("\n".join(said))


def _worst(found: pl.DataFrame) -> str:
    """The MaxVio of each run's worst layer, averaged over seeds, and which layers these are."""
    layers = sorted({int(layer) for layer in found["worst_layer"].drop_nulls()})
    if not layers:
        return "–"
    named = f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
    return f"{spread(found['worst_max_vio'])} ({named})"


def _collapsed(arm: Arm) -> str:
    """How many layers have ever collapsed, over all seeds."""
    layers = cached.layer_balance(cached.versions(arm.runs))
    known = layers["collapsed"].drop_nulls()
    return f"{int(known.sum())} of {counted(len(known), 'layer')}" if len(known) else "–"


def spread(values: pl.Series) -> str:
    """Mean ± half width of the 95 % interval over seeds; the value alone for one run."""
    known = [float(v) for v in values.drop_nulls().to_list()]
    if not known:
        return "–"
    odd = sum(not math.isfinite(value) for value in known)
    if odd:
        return "not finite" if len(known) == 1 else f"not finite in {odd} of {counted(len(known), 'seed')}"
    interval = t_interval(known)
    digits = 0 if abs(known[0]) >= 1000 else 2 if abs(known[0]) >= 1 else 3
    if interval is None:
        return f"{known[0]:,.{digits}f}"
    return f"{interval[0]:,.{digits}f} ± {interval[1]:,.{digits}f}"


@st.fragment
def by_layer(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Loads and biases of one layer."""
    arms = with_loads(arms)
    if not arms:
        show.note("None of these runs has experts, so there are no loads and no biases to show.")
        return
    offered = sorted({layer for arm in arms for layer in arm.first.layers})
    layers.settle(offered, "these runs")
    st.subheader("Expert load over training", help=tip("load_colours"))
    urls.show_notices("layer")
    layer = layers.control(offered)
    asked = ArmSet(tuple(arms), labels)
    at_layer = OneLayer(layer=layer, bins=BINS)
    heatmaps = [_of_arm("compare_loads", loads.heatmap, asked, arm, at_layer) for arm in arms]
    # Named here too: a lecture hides the control.
    st.markdown(show.plain(f"Layer {layer}. {loads.busiest_experts(store.STORE, asked, at_layer)}"))
    for cell, question in zip(show.in_columns(len(heatmaps)), heatmaps, strict=True):
        with cell:
            _open_in_replay(question, show.question(question, text=False, pick=True))
    show.load_legend()
    kinds = loads.event_kinds(store.STORE, asked, at_layer)
    if kinds:
        show.note(f"Marks above: {events.legend(kinds)}.")
    show.note(f"{loads.HEATMAP_HOW} Click a cell to open its step in Replay.")
    st.subheader("Bias trajectories", help=tip("expert_bias"))
    lines = [_of_arm("compare_bias", biases.trajectories, asked, arm, at_layer) for arm in arms]
    lines = [question for question in lines if isinstance(store.answer(question), Panel)]
    if not lines:
        show.note(biases.NO_BIAS)
    for cell, question in zip(show.in_columns(len(lines)), lines, strict=True):
        with cell:
            _open_in_replay(question, show.question(question, pick=True))


def _of_arm(name: str, build: Build, arms: ArmSet, arm: Arm, settings: OneLayer) -> Question:
    """A question about a single arm of the view."""
    return Question(key=f"{name}_{arm.token}", build=build, arms=arms.only([arm]), settings=settings)


def _open_in_replay(question: Question, picked: Mapping[str, Any] | None) -> None:
    """A link to the cell or point that was clicked."""
    if picked is None:
        return
    (arm,), layer = question.arms, question.settings.layer
    step, expert = round(picked.get("first_step", picked.get("x", 0))), int(picked["expert"])
    links.page(
        "replay",
        f"Open expert {expert} at step {step:,} in Replay",
        run=arm.first.run_id,
        layer=layer,
        expert=expert,
        step=step,
    )


def _one_run(arm: Arm, run: Run, labels: dict[str, str]) -> str:
    return f"{labels[arm.token]}, seed {run.seed}" if arm.is_group else labels[arm.token]


@st.fragment
def over_time(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """MaxVio and perplexity over steps, tokens or time."""
    urls.settle(
        "x", list(X_AXES), "step", lambda v: f"The link asks for x = {v}; it can be step, tokens or time."
    )
    urls.settle_flag("log", True)
    st.subheader("How uneven is every step?", help=tip("max_vio"))
    urls.show_notices("x")
    x = st.segmented_control(
        "Horizontal axis", list(X_AXES), key="x", bind="query-params", required=True
    ) or "step"  # fmt: skip
    runs = tuple(run.version for arm in arms for run in arm.runs)
    families = {arm.token: arm.family for arm in arms}
    x_title = AXIS[X_AXES[x]]
    # Events are steps; on another axis they would stand in the wrong place.
    marked = events.of_arms(arms) if x == "step" else None
    marks = events.marks_note(marked, several=len(arms) > 1) if marked is not None else ""
    frame = merge.series(cached.max_vio_series(runs, None, x), arms, ["max_vio"], merge.ENDS)
    chance = baselines(arms, x=x)
    show.figure(
        specs.kept(
            ("compare balance", x, arms_key(arms, labels)),
            partial(
                balance.max_vio_curves,
                frame,
                labels=labels,
                families=families,
                references=chance.known,
                curve=chance.curve,
                x_title=x_title,
                events=marked,
            ),
        ),
        subject="MaxVio over training",
        finding=captions.max_vio_curves(frame, labels=labels, references=chance.known),
        how="How far the busiest expert lies above the mean, averaged over layers (the final figures name "
        "the worst one). The band reaches from the lowest to the highest seed, or step behind a point "
        f"where there is one seed only. {chance.missing or 'The dashed lines are random-routing baselines.'}"
        f"{marks}",
        table=frame,
        sources=[marked],
        key="compare_max_vio",
    )
    st.subheader("What does balance cost?", help=tip("perplexity"))
    log = st.toggle("Logarithmic axis", key="log", bind="query-params")
    train = merge.series(cached.loss_series(runs, x), arms, ["lm_loss", "perplexity"])
    held = merge.evals(cached.eval_series(runs, x), arms)
    show.figure(
        specs.kept(
            ("compare losses", x, log, arms_key(arms, labels)),
            partial(
                losses.loss_curves,
                train,
                held,
                labels=labels,
                families=families,
                x_title=x_title,
                log_y=log,
                events=marked,
            ),
        ),
        subject="Perplexity over training",
        finding=captions.loss_curves(train, held, labels=labels),
        how="Lines are training text, points are held-out text with every domain weighing the same. Lower is "
        f"better.{marks}",
        table=held,
        sources=[train, marked],
        key="compare_loss",
    )
