"""The Microscope page: one batch, one layer, one token of a recorded run, with its numbers."""

import json
from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from explorer.figures.arms import Arm, Run
from explorer.metrics.glossary import tip
from explorer.routing.routing_math import settings_of
from explorer.ui.components.token_text import TokenPick, token_text
from explorer.ui.components.token_text.component import ALL, FIRST
from explorer.ui.components.token_text.payload import text_payload
from explorer.ui.microscope import domains as microscope_domains
from explorer.ui.microscope import expert as microscope_expert
from explorer.ui.microscope import queries as cached_probe
from explorer.ui.microscope import text as microscope_words
from explorer.ui.microscope import token as microscope_token
from explorer.ui.microscope.view import ProbeText, View, probe_text, view_of
from explorer.ui.shared import cached, layers, show, urls
from explorer.wording import counted

NOBODY = "all"
COLOURS = (FIRST, ALL)

Probes = list[tuple[int, bool]]


def with_probe(runs: Sequence[Run], chosen: Sequence[Arm]) -> tuple[list[Run], dict[str, Probes]]:
    """Runs that keep a probe batch, those of the run picker first, and their probes."""
    usable = [run for run in runs if run.has_loads]
    probes = cached_probe.probes(cached.versions(usable))
    picked = list(dict.fromkeys(run for arm in chosen for run in arm.runs))
    ordered = [run for run in picked if run in usable] + [run for run in usable if run not in picked]
    return [run for run in ordered if run.run_id in probes], probes


def choose_run(runs: Sequence[Run]) -> Run:
    """The selector of the run, bound to `?run=` as in Replay."""
    by_id = {run.run_id: run for run in runs}
    usual = next((run for run in runs if run.family == "loss_free"), runs[0])
    urls.settle(
        "run",
        list(by_id),
        usual.run_id,
        lambda value: (
            f"The link names the run “{value}”, which is not here or keeps no probe batch. "
            f"{usual.run_id} is shown."
        ),
    )
    urls.show_notices("run")
    run_id = urls.selectbox("Run", list(by_id), key="run", help="Runs that keep a probe batch.")
    run = by_id[run_id]
    show.note(f"{run.label} · {run.sizes}")
    return run


def show_run(run: Run, probes: Probes, arms: Sequence[Arm]) -> None:
    """The batch, the token and the expert in one fragment; then what belongs to the layer as a whole."""
    step, layer = _controls(run, probes)
    with show.steady("microscope"):
        st.fragment(_view)(run, probes, step, layer)
    microscope_domains.section(arms, layer)
    microscope_domains.settling(run, layer)


def usual_probe(probes: Probes, last_step: int) -> int:
    """The latest probe with a bias and a training step after it, whose update can be told; else the last."""
    told = [step for step, has_bias in probes if has_bias and step <= last_step]
    return told[-1] if told else probes[-1][0]


def _view(run: Run, probes: Probes, step: int, layer: int) -> None:
    """What follows a click; figures here take other rows and are not drawn anew."""
    view = load_view(run, step, layer)
    if view is None:
        sentence = (
            f"Layer {layer} has no readable probe after {counted(step, 'update')}; "
            "choose another probe or layer."
        )
        st.info(show.plain(sentence), icon=":material/inbox:")
        return
    st.subheader("Who gets which token?", help=tip("probe_batch"))
    st.markdown(show.plain(microscope_words.batch(view)))
    token, expert, colour_by = _choices(run, view, _usual_token(run, probes))
    _text(run, view, token, expert, colour_by)
    microscope_token.section(run, view, token, expert)
    # Not that of the token: six figures would be drawn anew with every token.
    shown = expert if expert is not None else microscope_words.favourite(view)[0]
    microscope_expert.section(run, view, shown, is_marked=expert is not None)


def _controls(run: Run, probes: Probes) -> tuple[int, int]:
    """Probe and layer, on which the whole page depends."""
    steps = [step for step, _ in probes]
    usual = usual_probe(probes, run.last_step)
    urls.settle(
        "probe",
        steps,
        usual,
        lambda value: (
            f"The link names the probe after {value} updates; this run was probed after "
            f"{microscope_words.join([str(s) for s in steps])}. The one after {usual} is shown."
        ),
    )
    layers.settle(run.layers, "this run")
    urls.show_notices("probe", "layer")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        step = st.segmented_control(
            "After updates",
            steps,
            key="probe",
            bind="query-params",
            required=True,
            help=tip("probe_batch"),
        )
        layer = layers.control(run.layers, "Each layer has its own router and its own experts.")
    return int(step or 0), layer


def load_view(run: Run, step: int, layer: int) -> View | None:
    """Everything about the batch in this layer; None where it was not recorded."""
    probe = cached_probe.layer_probe(run.version, step, layer)
    if probe is None:
        return None
    settings = settings_of(json.loads(run.config), top_k=run.top_k, step=step)
    return view_of(probe, settings, _text_of(run, len(probe.logits)), step=step, layer=layer)


def _text_of(run: Run, num_tokens: int) -> ProbeText:
    return probe_text(cached_probe.document(run.version, run.path), num_tokens)


def _usual_token(run: Run, probes: Probes) -> int:
    """The first whole word to which the bias gave other experts in the first layer, whatever is chosen."""
    view = load_view(run, usual_probe(probes, run.last_step), run.layers[0])
    moved = None if view is None else view.moved
    if view is None or moved is None or not moved.any():
        return 0
    for token in np.flatnonzero(moved).tolist():
        word = view.text.texts[token]
        if word.startswith(" ") and word[1:].isalpha() and len(word) > 3:
            return int(token)
    return int(np.argmax(moved))


def _choices(run: Run, view: View, usual: int) -> tuple[int, int | None, str]:
    """Token, marked expert and colours: widgets whose keys the text and the URL share."""
    last, experts = view.num_tokens - 1, [NOBODY, *map(str, range(view.num_experts))]
    usual = min(usual, last)
    urls.settle_number(
        "token",
        0,
        last,
        usual,
        lambda value: (
            f"The link names token {value}; the tokens of this probe are 0 to {last}. Token {usual} is shown."
        ),
    )
    urls.settle(
        "expert",
        experts,
        NOBODY,
        lambda value: (
            f"The link names expert {value}; the experts of this layer are 0 to {view.num_experts - 1}. "
            "None is marked."
        ),
    )
    urls.settle(
        "colour",
        COLOURS,
        FIRST,
        lambda value: f"The link names the colours “{value}”; they are {FIRST} or {ALL}. {FIRST} is shown.",
    )
    urls.show_notices("token", "expert", "colour")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        urls.number_input("Token", 0, last, usual, key="token", width=150)
        st.selectbox(
            "Mark expert",
            experts,
            key="expert",
            bind="query-params",
            width=150,
            help="Its tokens stand out in the text. A click on its number above the text does the same.",
        )
        colour_by = st.segmented_control(
            "Colour by choice",
            COLOURS,
            key="colour",
            bind="query-params",
            required=True,
            help="The expert that a token calls first, or all of its experts as stripes.",
        )
    return int(st.session_state["token"]), _expert(), str(colour_by or FIRST)


def _expert() -> int | None:
    chosen = st.session_state["expert"]
    return None if chosen == NOBODY else int(chosen)


def _text(run: Run, view: View, token: int, expert: int | None, colour_by: str) -> None:
    if not view.text.is_known:
        show.note(
            "The run folder has no readable probe.json with the texts of these tokens, so they are called by "
            "number."
        )
    token_text(
        text_payload(
            view.text.texts, view.text.sequences, view.after, view.gates, view.moved, view.num_experts
        ),
        key=f"text-{run.run_id}",
        token=token,
        expert=expert,
        colour_by=colour_by,
        label=f"Probe batch of {run.label}, layer {view.layer}, after {counted(view.step, 'update')}",
        on_pick=partial(_picked, view.num_tokens, view.num_experts),
    )


def _picked(num_tokens: int, num_experts: int, pick: TokenPick) -> None:
    if pick.token is not None and pick.token < num_tokens:
        st.session_state["token"] = pick.token
    elif pick.expert is not None and pick.expert < num_experts:
        st.session_state["expert"] = str(pick.expert)
    elif pick.cleared:
        st.session_state["expert"] = NOBODY
