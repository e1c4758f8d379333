"""The Microscope page: controls of one probe batch, layer, token and expert, and their panels."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from explorer.figures import probe_sentences as sentences
from explorer.figures.arms import Arm, Run
from explorer.figures.probe import not_recorded
from explorer.figures.probe_batch import RoutedBatch, routed_batch
from explorer.figures.store import Trace
from explorer.figures.views.microscope import (
    KEYS,
    NO_EXPERT,
    MicroscopeSettings,
    Probes,
    default_probe,
    default_token,
)
from explorer.figures.views.selection import default_run, run_names
from explorer.metrics.glossary import tip
from explorer.ui.components.token_text import TokenPick, token_text
from explorer.ui.components.token_text.component import ALL, FIRST
from explorer.ui.components.token_text.payload import text_payload
from explorer.ui.microscope import following
from explorer.ui.microscope import token as token_section
from explorer.ui.microscope.parts import Parts, settings_now
from explorer.ui.shared import layers, panels, show, state, urls
from explorer.ui.shared.store import STORE
from explorer.wording import and_list, counted

COLOURS = (FIRST, ALL)
TEXT, TOKENS = "microscope_text", "microscope_tokens"
"""The fragments of the text with everything above it, and of its controls with the selected token."""


def choose_run(runs: Sequence[Run]) -> Run:
    """The run selector, bound to `?run=` as in Replay."""
    by_id = {run.run_id: run for run in runs}
    default = default_run(runs)
    urls.prepare_choice(
        "run",
        list(by_id),
        default.run_id,
        lambda value: (
            f"The link names the run “{value}”, which does not exist or keeps no probe batch. "
            f"{default.run_id} is shown."
        ),
    )
    urls.show_notices("run")
    run_id = urls.selectbox(
        "Run",
        list(by_id),
        key="run",
        format_func=run_names(runs).__getitem__,
        help="Runs that keep a probe batch.",
    )
    run = by_id[run_id]
    show.note(f"{run.run_id} · {run.label} · {run.sizes}")
    return run


def show_run(run: Run, probes: dict[str, Probes], arms: Sequence[Arm], runs: Sequence[Run]) -> None:
    """The text with its token, then the parts that follow its controls (`following`).

    probes: by run id; runs: all that keep a probe. While the run trains another probe or layer reruns the
    whole page, which then finds its new probes.
    """
    panels.bind(*KEYS)
    following.style_parts()
    if run.is_running:
        _text_and_token(run, probes[run.run_id])
    else:
        st.fragment(_text_and_token, key=TEXT)(run, probes[run.run_id])
    parts = Parts(run=run, probes=probes, arms=tuple(arms), runs=tuple(runs))
    parts.draw()


def _text_and_token(run: Run, probes: Probes) -> None:
    """The controls that the whole page depends on, the text, and the panels of the selected token."""
    step, layer = _probe_and_layer(run, probes, None if run.is_running else _follow_layer)
    with show.steady("microscope"):
        batch = routed_batch(Trace(STORE), run, step, layer)
        if batch is None:
            st.info(show.plain(not_recorded(step, layer)), icon=":material/inbox:")
            return
        st.subheader("Tokens by expert", help=tip("probe_batch"))
        st.markdown(show.plain(sentences.overview(batch)))
        _tokens(run, batch, default_token(STORE, run, probes))


def _probe_and_layer(run: Run, probes: Probes, on_change: Callable[[], None] | None) -> tuple[int, int]:
    """The controls that the whole page depends on."""
    steps = [step for step, _ in probes]
    default = default_probe(probes, run.last_step)
    urls.prepare_choice(
        "probe",
        steps,
        default,
        lambda value: (
            f"The link names the probe after {value} updates; this run was probed after "
            f"{and_list([str(s) for s in steps])}. The one after {default} is shown."
        ),
    )
    layers.prepare(run.layers, "this run")
    urls.show_notices("probe", "layer")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        step = st.segmented_control(
            "After updates",
            steps,
            key="probe",
            bind="query-params",
            required=True,
            help=tip("probe_batch"),
            on_change=on_change,
        )
        layer = layers.control(run.layers, on_change)
    layers.show_names([run], layer)
    return int(step or 0), layer


def _follow_layer() -> None:
    """Another layer or probe: everything follows."""
    following.follow(TEXT)


def follow_expert() -> None:
    """Another marked expert: the text, its token, and the panels of the expert follow."""
    following.follow(TOKENS, parts=[following.EXPERT])


@st.fragment(key=TOKENS)
def _tokens(run: Run, batch: RoutedBatch, default: int) -> None:
    """The text with the selected token below it; another token reruns this and no panel of an expert."""
    _controls(batch, default)
    settings = settings_now(run, batch)
    _text(run, batch, settings)
    token_section.section(run, batch, settings)


def _controls(batch: RoutedBatch, default: int) -> None:
    """Token, marked expert and colours: widgets whose keys the text and the URL share."""
    last, experts = batch.num_tokens - 1, [NO_EXPERT, *map(str, range(batch.num_experts))]
    default = min(default, last)
    _prepare(last, experts, default)
    urls.show_notices("token", "expert", "colour")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        urls.number_input("Token", 0, last, default, key="token", width=150)
        st.selectbox(
            "Mark expert",
            experts,
            key="expert",
            bind="query-params",
            on_change=follow_expert,
            width=150,
            help="Its tokens are highlighted in the text. Clicking its number above the text does the same.",
        )
        st.segmented_control(
            "Colour by choice",
            COLOURS,
            key="colour",
            bind="query-params",
            required=True,
            help="A token's first choice, or all of its experts as stripes. The first choice has the highest "
            "score plus bias. Its gate comes from the score alone, so it may be the smaller one.",
        )


def _prepare(last: int, experts: Sequence[str], default: int) -> None:
    """Read token, expert and colour from the URL before their widgets are made."""
    urls.prepare_number(
        "token",
        0,
        last,
        default,
        lambda value: (
            f"The link names token {value}; the tokens of this probe are 0 to {last}. "
            f"Token {default} is shown."
        ),
    )
    urls.prepare_choice(
        "expert",
        experts,
        NO_EXPERT,
        lambda value: (
            f"The link names expert {value}; the experts of this layer are 0 to {len(experts) - 2}. "
            "None is marked."
        ),
    )
    urls.prepare_choice(
        "colour",
        COLOURS,
        FIRST,
        lambda value: f"The link names the colours “{value}”; they are {FIRST} or {ALL}. {FIRST} is shown.",
    )


def _text(run: Run, batch: RoutedBatch, settings: MicroscopeSettings) -> None:
    """The tokens as text, coloured by expert; a click selects a token or marks an expert."""
    text = batch.text
    if text.note:
        show.note(text.note)
    token_text(
        text_payload(text.texts, text.spans, batch.after, batch.gates, batch.moved, batch.num_experts),
        key=f"text-{run.run_id}",
        token=settings.token,
        expert=settings.expert,
        colour_by=settings.colour,
        label=f"Probe batch of {run.label}, layer {batch.layer}, after {counted(batch.step, 'update')}",
        on_pick=partial(_pick, batch.num_tokens, batch.num_experts),
    )


def _pick(num_tokens: int, num_experts: int, pick: TokenPick) -> None:
    """Copy what a click leaves to the widgets."""
    if pick.token >= num_tokens or (pick.expert is not None and pick.expert >= num_experts):
        return
    state.put("token", pick.token)
    marked = NO_EXPERT if pick.expert is None else str(pick.expert)
    if marked != state.text("expert"):
        state.put("expert", marked)
        follow_expert()
