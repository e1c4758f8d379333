"""The Overview page: the shipped comparison in one picture, and the table of runs."""

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from explorer.charts import captions, theme
from explorer.course.cards import LESSONS, first_card
from explorer.figures import balance, final
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.opening import LoadFilm
from explorer.figures.quality import UNTUNED
from explorer.figures.views import overview
from explorer.metrics.glossary import tip
from explorer.queries import comparison
from explorer.ui.components import opening
from explorer.ui.components.opening import Film
from explorer.ui.shared import links, marks, show, store
from explorer.wording import counted


def opening_section(selected: Sequence[Arm]) -> None:
    """Where to begin, what a router does, and what goes wrong."""
    _starts()
    films = store.opening(tuple(selected))
    if films is None:
        opening.opening((), ())
        return
    unbalanced, balanced = films
    opening.opening(
        [_film(unbalanced), _film(balanced)],
        [int(step) for step in unbalanced.last_steps],
    )
    st.markdown(
        "Experts without tokens learn nothing, and every step waits for the busiest expert. The usual "
        "remedy, an auxiliary loss, also changes what the model learns. Loss-free balancing needs no extra "
        "loss: it adds a bias to each expert's score. The bias affects which experts are selected, but not "
        "how much their outputs count."
    )
    show.note(
        f"Two recorded runs, layer {unbalanced.layer}, seed {unbalanced.run.seed}; each row is one of "
        f"{unbalanced.num_experts} experts, of which the router picks {unbalanced.run.top_k} for every "
        "token. The uniform load is what every expert gets if all get the same number of tokens. The "
        "busiest expert's load is averaged over the last 100 steps of all layers and seeds, as in the chart "
        "below; MaxVio is how far it lies above the uniform load."
    )


def _starts() -> None:
    """Three ways to begin: a button for the newcomer's, and links that stand back (`shell._READABLE`)."""
    first = first_card(LESSONS)
    with st.container(key="starts", horizontal=True, gap="small"):
        if first is None:
            links.page("lessons", "Lessons")
        else:
            links.page("lessons", f"**Start lesson 1** · {first.minutes} minutes", lesson=first.slug)
        links.page("compare", "Compare balancing rules")
        links.page("train", "Train your own")


def _film(film: LoadFilm) -> Film:
    """What the opening shows of a run; its rule gives the title, so that the two cannot change places."""
    title = "Without balancing" if film.run.balancer == "none" else "Loss-free balancing"
    ink = theme.family_ink(film.run.family, film.run.scope)
    finding = _finding(film)
    return Film(
        title=title,
        finding=finding,
        alt=f"Loads of {film.num_experts} experts over training. {title}: {finding}",
        colours=(ink.light, ink.dark),
        experts=film.num_experts,
        levels=opening.levels(film.load_ratio),
    )


def _finding(film: LoadFilm) -> str:
    """The load of the busiest expert, in both forms in use, and how many experts are nearly idle."""
    sentences = []
    if film.max_vio is not None:
        sentences.append(
            f"Over all layers and seeds, the busiest expert gets {captions.number(1 + film.max_vio)}× the "
            f"uniform load (MaxVio {captions.number(film.max_vio)})."
        )
    if film.nearly_idle:
        verb = "gets" if film.nearly_idle == 1 else "get"
        few = f"{film.nearly_idle} of these {film.num_experts} experts {verb}"
        sentences.append(
            f"In this layer and seed, {few} less than a quarter of the uniform "
            "load over the last tenth of training."
        )
    return " ".join(sentences)


def story_section(selected: Sequence[Arm]) -> None:
    """One picture, and two metrics of every arm under it."""
    arms = ArmSet.of(selected)
    st.subheader("Imbalance (MaxVio) over training", help=tip("max_vio"))
    show.question(overview.story(arms))
    _cards(arms)
    if floor := balance.floor_of_sequences(store.STORE, arms):
        show.note(floor)
    links.cost_of_the_auxiliary_loss()


def _cards(arms: ArmSet) -> None:
    """MaxVio and perplexity of every arm, at the end and on held-out text."""
    # By twos: a page with room for three cards would leave the fourth alone in its row.
    pairs = st.grid(math.ceil(len(arms) / 2), min_column_width=400)
    strokes = marks.strokes(arms, dark=st.context.theme.type == "dark")
    for nth, arm in enumerate(arms):
        headline = final.headline(store.STORE, arm)
        if nth % 2 == 0:
            pair = pairs.grid(2, min_column_width=150)
        with pair, st.container(border=True, height="stretch"):
            st.html(strokes[arm.token])
            st.metric(
                show.plain(arms.names[arm.token]),
                final.UNKNOWN if headline.max_vio is None else captions.number(headline.max_vio),
                "no evaluation yet"
                if headline.perplexity is None
                else f"perplexity {captions.number(headline.perplexity)}",
                delta_color="off",
                delta_arrow="off",
                help=f"Large: {tip('max_vio_batch')} Below: {tip('perplexity')}",
            )
    show.note(
        "Large: imbalance (MaxVio) over the last 100 steps, averaged over layers and seeds. Below it: "
        "perplexity on held-out text at the end of training, averaged over seeds; lower is better. The "
        "number in a rule's name is α for an auxiliary loss and u for loss-free balancing; “sequence” and "
        f"“global” say over which tokens an auxiliary loss counts the loads. {UNTUNED}"
    )


def runs_section(runs: Sequence[Run]) -> None:
    """Every run with its metrics and a link into Replay; unreadable ones with the reason."""
    if not runs:
        return
    st.subheader("Recorded runs")
    for run in runs:
        if not run.is_readable:
            sentence = f"{run.run_id} cannot be read: {run.problem}"
            st.warning(show.plain(sentence), icon=":material/folder_off:")
    readable = [run for run in runs if run.is_readable]
    if not readable:
        return
    summary = store.ask(comparison.summary, tuple(readable))
    metrics = {row["run_id"]: row for row in summary.to_dicts()}
    rows = [_row(run, metrics.get(run.run_id, {})) for run in readable]
    if not any(run.title for run in readable):
        rows = [{name: value for name, value in row.items() if name != "name"} for row in rows]
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        height=min(460, 38 + 35 * len(rows)),
        alt=f"Table of {counted(len(rows), 'recorded run')} with their metrics",
        column_config={
            "balancing": st.column_config.TextColumn(width=215),
            "name": st.column_config.TextColumn(width=125),
            "preset": st.column_config.TextColumn(width=80),
            "seed": number(width=50),
            "perplexity": number(format="%.2f", help=tip("perplexity"), width=80),
            "MaxVio held-out": number(format="%.3f", help=tip("max_vio_global"), width=110),
            "worst layer": number(format="%.3f", help=tip("worst_layer"), width=85),
            "MaxVio last steps": number(format="%.3f", help=tip("max_vio_batch"), width=120),
            "steps": number(format="localized", width=55),
            "from": st.column_config.TextColumn(width=80),
            "run": st.column_config.LinkColumn(
                "", display_text="Open", width=60, help="Opens the run in Replay, or in Compare without loads"
            ),
        },
    )
    show.note(
        "“MaxVio held-out” counts all held-out tokens together, “MaxVio last steps” each batch by itself. "
        "Random imbalance shrinks with more tokens, so compare only “MaxVio last steps” with the "
        "random-routing baseline above."
    )
    odd = [name for name, row in metrics.items() if not math.isfinite(row["perplexity"] or 0.0)]
    if odd:
        show.note(
            f"Perplexity is not finite (NaN or infinite) and therefore not in the table: {', '.join(odd)}."
        )


def _row(run: Run, metrics: Mapping[str, object]) -> dict[str, object]:
    """A row of the table; metrics: that of `queries.comparison.summary`, empty for none."""
    # An imported run whose rule nobody stated is labelled by its name, which has a column of its own.
    is_name = bool(run.title) and run.kind_of_loads.behind(run.title) == run.label
    return {
        "balancing": run.kind_of_loads.behind("not stated") if is_name else run.short,
        "name": run.title,
        "preset": run.preset,
        "seed": run.seed,
        "perplexity": metrics.get("perplexity"),
        "MaxVio held-out": metrics.get("max_vio_global"),
        "worst layer": metrics.get("worst_max_vio"),
        "MaxVio last steps": metrics.get("max_vio_batch"),
        "steps": run.last_step + 1,
        "from": ("shipped" if run.shipped else "own") + ("" if run.state == "finished" else f", {run.state}"),
        "run": links.replay_url(run.run_id) if run.has_loads else links.compare_url(run.run_id),
    }
