"""The figures of the Replay page: of one step, of one layer, of the whole run."""

import math
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import biases, captions, domains, heatmaps, linking, loads, losses, theme
from explorer.export.film import Film
from explorer.figures.arms import Run
from explorer.figures.biases import extremes, gap_of
from explorer.figures.panel import Panel
from explorer.metrics.glossary import tip
from explorer.queries import statements as asked
from explorer.ui.replay import expert_order
from explorer.ui.shared import cached, events, exports, show, specs
from explorer.wording import counted

BINS = 80
"""Columns of the charts beside the player: enough for their width, few enough to follow at once."""
LIMIT = 2.0
"""Colours reach from a quarter of the uniform share to four times of it."""
HEATMAP = "replay-heatmap"
BARS_HOW = "A bar would reach the line at 1 if the work were shared evenly."


def loads_panel(run: Run, now: pl.DataFrame, layer: int, order: list[int] | None) -> None:
    st.markdown("### Who works at this step?", help=tip("load"))
    chart = specs.kept(
        ("replay loads", run.run_id, layer, now.is_empty(), tuple(order or ())),
        partial(
            loads.load_bars,
            now,
            limit=LIMIT,
            order=order,
            order_words=expert_order.words(),
            scope=linking.scope_of(run.run_id, layer),
        ),
    )
    show.figure(
        chart.with_rows(loads.bar_rows(now, LIMIT)),
        subject=f"Loads of layer {layer} at the playhead",
        finding=captions.load_bars(now),
        how=BARS_HOW,
        table=now,
        key="replay_loads",
        live=True,
        said=False,
    )


def heatmap(run: Run, layer: int, step: int) -> Panel:
    """The player's heatmap as a still with the playhead in it."""
    frame = cached.load_heatmap(run.version, layer)
    marked = events.of_layer(cached.events(run.version), layer)
    build = partial(heatmaps.load_heatmap, frame, playhead=specs.SOMEWHERE, events=marked)
    return Panel(
        key=HEATMAP,
        subject=f"Loads of layer {layer} of {run.label}",
        finding=captions.load_heatmap(frame, step),
        how="One row an expert, time to the right; orange takes more than its share, purple less."
        + events.marks_note(marked),
        spec=specs.kept(("replay heatmap", run.version, layer), build),
        playhead=float(step),
        table=frame,
        statements=asked.of(frame, marked),
    )


def film(run: Run, layer: int) -> Film:
    """The same as an animation."""
    matrix = cached.load_matrix(run.version, layer)
    return Film(
        key=HEATMAP,
        title=f"{run.label}, seed {run.seed}" if run.seed is not None else run.label,
        subtitle=f"Mixture layer {layer} ({run.of_layers}): who gets the tokens",
        steps=matrix.steps,
        tokens=matrix.tokens,
    )


def at_this_step(run: Run, now: pl.DataFrame, step: int) -> str:
    """What the playhead stands on, in words; one text, because every element costs a move some time."""
    said = (captions.load_bars(now), _bias_at(now), _loss_at(run, step))
    how = f":gray[:small[{BARS_HOW}]]"
    return "\n\n".join(
        [
            f"### Step {step}, layer {st.session_state['layer']}",
            *(show.plain(sentence) for sentence in said if sentence),
            how,
        ]
    )


def bias_panel(run: Run, layer: int, expert: int | None) -> None:
    st.subheader("Which way are they pushed?", help=tip("expert_bias"))
    frame = cached.bias_trajectories(run.version, layer, BINS)
    bold = extremes(frame) if expert is None else [expert]
    marked = events.of_layer(cached.events(run.version), layer)
    show.figure(
        specs.latest.get(
            ("replay biases", run.run_id, layer, tuple(bold)),
            run.version,
            partial(
                biases.bias_trajectories,
                frame,
                playhead=theme.Follow.PLAYER,
                events=marked,
                highlight=bold,
                gap=gap_of(run, frame),
                height=240,
                scope=linking.scope_of(run.run_id, layer),
                pick=True,
            ),
        ),
        subject=f"Expert biases of layer {layer}",
        finding=captions.bias_trajectories(frame, gap=gap_of(run, frame)),
        how="A rising bias makes an expert easier to choose. Bold: "
        + ("the two that end highest and lowest." if expert is None else "the expert you singled out.")
        + " Click a point to open its step."
        + _since(marked, frame),
        table=frame,
        sources=(marked,),
        key="replay_biases",
        live=True,
    )


def _since(marked: pl.DataFrame, frame: pl.DataFrame) -> str:
    """What the marks mean in a figure that begins where the biases do."""
    first = frame["first_step"].min()
    return events.marks_note(marked, since=int(first)) if isinstance(first, int) else ""


def loss_panel(run: Run) -> None:
    st.subheader("What has the model learnt by then?", help=tip("lm_loss"))
    train = cached.loss_series((run.version,), "step", BINS)
    held = cached.eval_series((run.version,), "step")
    labels = {run.run_id: run.label}
    happened = cached.events(run.version)
    show.figure(
        specs.latest.get(
            ("replay losses", run.run_id),
            run.version,
            partial(
                losses.loss_curves,
                train,
                held,
                labels=labels,
                families={run.run_id: run.family},
                metric="lm_loss",
                log_y=False,
                playhead=theme.Follow.PLAYER,
                events=happened,
                height=240,
            ),
        ),
        subject="Language loss over steps",
        finding=captions.loss_curves(train, held, labels=labels),
        how="The line is the training text of every step, the points are held-out text. No balancing loss is "
        "added." + events.marks_note(happened),
        table=train,
        sources=(held, happened),
        key="replay_loss",
        live=True,
    )


def specialists(run: Run, layer: int) -> None:
    """Which expert serves which kind of text, at the last evaluation; it does not follow the playhead."""
    frame = cached.domain_expert(run.version, layer)
    if frame.is_empty():
        return
    order = expert_order.frozen(run, layer)
    st.subheader("Who serves which text?", help=tip("domain"))
    show.figure(
        specs.kept(
            ("replay domains", run.version, layer, tuple(order or ())),
            partial(
                domains.domain_expert_heatmap,
                frame,
                order=order,
                order_words=expert_order.words(),
                scope=linking.scope_of(run.run_id, layer),
            ),
        ),
        subject=f"Held-out loads of layer {layer} by domain",
        finding=captions.domain_expert_heatmap(frame),
        how=f"Held-out text at the last evaluation, layer {layer}. A row of even colour is a domain without "
        "specialists.",
        table=frame,
        key="replay_domains",
    )


@st.fragment
def every_step(run: Run, layer: int) -> None:
    """The whole layer as one still image; Plotly draws a hundred thousand cells faster than Vega."""
    panel = st.expander(
        "Every step at full resolution", key="full", on_change="rerun", icon=":material/grid_on:"
    )
    if not panel.open:
        return
    with panel:
        drawn = partial(
            heatmaps.full_heatmap, cached.load_matrix(run.version, layer), title=f"{run.label}, layer {layer}"
        )
        st.plotly_chart(
            drawn(dark=st.context.theme.type == "dark"),
            key="full_heatmap",
            config=heatmaps.PLOTLY_CONFIG,
            alt=f"Loads of layer {layer} at every recorded step, as one image",
        )
        show.note("A still with hover: drag to zoom in, double click to come back.")
        exports.plotly_button(drawn, key="full", run_id=run.run_id)


def _bias_at(now: pl.DataFrame) -> str:
    """Who is helped and who is held back in the step of the playhead; nothing without a bias rule."""
    known = now.drop_nulls("expert_bias")
    if known.is_empty():
        return ""
    at = f"At step {now['step'][0]}"
    finite = pl.col("expert_bias").is_finite()
    odd = captions.experts(known.filter(~finite)["expert"].sort().to_list())
    ranked = known.filter(finite).sort("expert_bias")
    tail = f" Not finite (NaN or infinite): the bias of {odd}." if odd else ""
    if ranked.is_empty():
        return f"{at} no bias is finite."
    low, high = ranked.row(0, named=True), ranked.row(-1, named=True)
    if low["expert_bias"] == high["expert_bias"]:
        which = "all other biases" if odd else "all biases"
        return f"{at} {which} are equal{'.' if odd else ': nobody has been pushed yet.'}{tail}"
    return (
        f"{at} expert {high['expert']} is helped most ({high['expert_bias']:+.3f}) and "
        f"expert {low['expert']} held back most ({low['expert_bias']:+.3f}).{tail}"
    )


def _loss_at(run: Run, step: int) -> str:
    row = cached.step_row(run.version, step)
    if row.is_empty():
        known = cached.nearest_step(run.version, step)
        row = row if known is None else cached.step_row(run.version, known)
    if row.is_empty() or row["lm_loss"][0] is None:
        return f"No loss was recorded for step {step}."
    loss, tokens, at = float(row["lm_loss"][0]), int(row["tokens_seen"][0]), int(row["step"][0])
    if not math.isfinite(loss):
        return f"At step {at}, after {counted(tokens, 'token')}, the language loss is not finite ({loss})."
    return f"At step {at}, after {counted(tokens, 'token')}, the language loss is {loss:.2f} nats per token."
