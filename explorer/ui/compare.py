"""The Compare page: the same questions asked of every chosen arm."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import balance, biases, captions, heatmaps, linking, losses
from explorer.charts.theme import AXIS
from explorer.config import differences
from explorer.glossary import tip
from explorer.metrics import t_interval
from explorer.ui import cached, count_notes, events, layers, links, mechanism, merge, show, specs, urls
from explorer.ui.arms import Arm, Run, arms_key, chart_labels
from explorer.ui.bias_step import gap_of
from explorer.ui.chance import baselines, lines_note
from explorer.ui.compare_quality import paired_panel, plane_section
from explorer.wording import counted

X_AXES = {"step": "step", "tokens": "tokens_seen", "time": "wall_time_s"}
PANEL_PX = 230
BINS = 150
"""Columns of a heatmap here: several stand under each other."""
HEATMAPS_HOW = (
    "One row an expert, time to the right; orange takes more than its share, purple less, and the colours "
    "mean the same in every panel. Expert 3 of one run is not expert 3 of another: compare patterns, "
    "not rows."
)


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
    said, unknown = [], []
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
            if not (arms[0].first.corpus_digest and arm.first.corpus_digest):
                unknown.append(f"“{labels[arm.token]}”")
    if unknown:
        names = [f"“{labels[arms[0].token]}”", *unknown]
        said.append(
            f"The text of {', '.join(names[:-1])} and {names[-1]} is not recorded for "
            f"{'both' if len(names) == 2 else 'all'} (corpus.digest in run.json), so it may differ, "
            "and what you see below may come from that."
        )
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
    """A sentence where two arms of one corpus are known to be trained on different text."""
    names = f"“{labels[first.token]}” and “{labels[arm.token]}”"
    one, other = first.first.corpus_digest, arm.first.corpus_digest
    if not one or not other or one == other:
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
    st.subheader("Who gets the tokens?", help=tip("load_colours"))
    urls.show_notices("layer")
    layer = layers.control(offered)
    for arm in arms:
        if layer not in arm.first.layers:
            own = layers.listed(arm.first.layers)
            show.note(f"“{labels[arm.token]}” has no MoE layer {layer}; its MoE layers are {own}.")
    arms = [arm for arm in arms if layer in arm.first.layers]
    names = {arm.token: _one_seed(arm, labels) for arm in arms}
    frames = {names[arm.token]: cached.load_heatmap(arm.first.version, layer, BINS) for arm in arms}
    # Named here too: a lecture hides the control.
    st.markdown(show.plain(f"Layer {layer}. {captions.compare_heatmaps(frames)}"))
    _heatmaps(arms, frames, layer)
    show.note(f"{HEATMAPS_HOW} Click a cell to open its step in Replay.")
    st.subheader("How far are the biases pushed?", help=tip("expert_bias"))
    biased = {arm: cached.bias_trajectories(arm.first.version, layer, BINS) for arm in arms}
    biased = {arm: frame for arm, frame in biased.items() if not frame.is_empty()}
    if not biased:
        show.note("None of these runs has a bias rule, so there are no biases to show.")
    for column, (arm, frame) in zip(show.in_columns(len(biased)), biased.items(), strict=True):
        marked = events.of_layer(cached.events(arm.first.version), layer)
        with column:
            picked = show.figure(
                specs.kept(
                    ("compare biases", arm.first.version, layer, names[arm.token]),
                    partial(
                        biases.bias_trajectories,
                        frame,
                        title=names[arm.token],
                        highlight=extremes(frame),
                        gap=gap_of(arm.first, frame),
                        events=marked,
                        scope=linking.scope_of(arm.first.run_id, layer),
                    ),
                ),
                subject=f"Expert biases of {names[arm.token]}, layer {layer}",
                finding=captions.bias_trajectories(frame, gap=gap_of(arm.first, frame)),
                how="One line an expert. The rule raises the bias of whoever had too little and lowers that "
                "of whoever had too much."
                + events.marks_note(marked, since=int(frame["first_step"].to_numpy().min())),
                table=frame,
                sources=[marked],
                key=f"compare_bias_{arm.token}",
                pick=True,
            )
            _open_in_replay(arm, layer, picked)


def _heatmaps(arms: Sequence[Arm], frames: dict[str, pl.DataFrame], layer: int) -> None:
    """One panel an arm, all on one colour scale with one legend."""
    cells = show.in_columns(len(arms))
    kinds: set[str] = set()
    for cell, arm, (name, frame) in zip(cells, arms, frames.items(), strict=True):
        marked = events.of_layer(cached.events(arm.first.version), layer)
        kinds.update(marked["kind"])
        chart = specs.kept(
            ("compare loads", arm.first.version, layer, name),
            partial(
                heatmaps.load_heatmap,
                frame,
                title=name,
                height=PANEL_PX,
                events=marked,
                scope=linking.scope_of(arm.first.run_id, layer),
            ),
        )
        with cell:
            picked = show.figure(
                chart,
                shown=specs.without_legend(chart),
                subject=f"Loads of {name}, layer {layer}",
                finding=captions.load_heatmap(frame),
                how=HEATMAPS_HOW + events.marks_note(marked),
                table=frame,
                sources=[marked],
                key=f"compare_loads_{arm.token}",
                said=False,
                pick=True,
            )
            _open_in_replay(arm, layer, picked)
    show.load_legend()
    if kinds:
        show.note(f"Marks above: {events.legend(kinds)}.")


def _open_in_replay(arm: Arm, layer: int, picked: Mapping[str, Any] | None) -> None:
    """A link to the cell or point that was clicked."""
    if picked is None:
        return
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


def _one_seed(arm: Arm, labels: dict[str, str]) -> str:
    """A heatmap shows one run; of a group that is the first seed, and it says so."""
    return f"{labels[arm.token]}, seed {arm.first.seed}" if arm.is_group else labels[arm.token]


def extremes(frame: pl.DataFrame) -> list[int]:
    """The experts with the highest and the lowest finite bias at the end."""
    last = frame.filter(pl.col("last_step") == pl.col("last_step").max(), pl.col("bias_last").is_finite())
    last = last.sort("bias_last")
    return [int(last["expert"][-1]), int(last["expert"][0])] if last.height else []


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
    every = events.of_arms(arms)
    # Events are steps; on another axis they would stand in the wrong place.
    every = every if x == "step" else every.clear()
    frame = merge.series(cached.max_vio_series(runs, None, x), arms, ["max_vio"], merge.ENDS)
    marked, marks = events.of_lines(every, frame)
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
        finding=captions.max_vio_curves(
            frame, labels=labels, references=chance.known, baseline_of=chance.arm
        ),
        how="How far the busiest expert lies above the mean, averaged over layers (the final figures name "
        "the worst one). The band reaches from the lowest to the highest seed, or step behind a point "
        f"where there is one seed only. {lines_note(chance, labels)}"
        f"{marks}",
        table=frame,
        sources=[marked],
        key="compare_max_vio",
    )
    st.subheader("What does balance cost?", help=tip("perplexity"))
    log = st.toggle("Logarithmic axis", key="log", bind="query-params")
    train = merge.series(cached.loss_series(runs, x), arms, ["lm_loss", "perplexity"])
    held = merge.evals(cached.eval_series(runs, x), arms)
    marked, marks = events.of_lines(every, train)
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
