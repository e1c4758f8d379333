"""The Train page: a form, a start button, and what is training now."""

import logging
from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer.config.presets import PRESETS, RULE_DEFAULTS, get_preset
from explorer.config.rule_text import RULES, format_rules, make_rule
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, ExplorerError
from explorer.figures import live
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import MOST, Arm, Run
from explorer.figures.panel import Question
from explorer.figures.rule_names import legend_of, short_name
from explorer.recording.status import RunStatus
from explorer.running.jobs import Job
from explorer.ui.server.jobs import READ_ONLY
from explorer.ui.server.services import services
from explorer.ui.shared import cached, links, show, state, switching
from explorer.ui.train import experiments as train_experiments
from explorer.ui.train import form, rule_list
from explorer.ui.train.labels import error_text, rule_title
from explorer.ui.train.orders import job_of, make_configs, writable
from explorer.wording import counted

TICK_S = 0.5
STARTED = state.Slot[tuple[str, ...]]("train_started", ())
"""Run ids that this browser tab has started."""
WAS_CHANGING = state.Slot("was_changing", default=False)
"""Whether something changed by itself when the page was drawn last."""


def introduction() -> None:
    """The page, or a notice where the app is read-only."""
    if services().settings.read_only:
        st.info(READ_ONLY, icon=":material/visibility:")
        return
    st.markdown(
        "Choose a preset and one or more balancing rules, then start. Two runs train at a time; the rest are "
        "queued. You may close this tab; stopping the app stops training and keeps what was recorded."
    )


def order_form() -> None:
    """The rules, the button that starts them, below it what trains, and every field of the configuration.

    The fields stand last: they would push progress out of sight.
    """
    if services().settings.read_only:
        now_training()
        return
    with st.container(key="keep_order"):
        preset, arms, seeds = _rules()
    start, running = st.container(), st.container()
    st.subheader("Configuration")
    _builder(preset)
    base = get_preset(preset)
    sections = form.config_form(base, f"train_{preset}")
    with start:
        if st.button("Start training", key="start", type="primary", icon=":material/play_arrow:"):
            _start(preset, sections, arms, seeds)
        if changes := form.changes(base, sections):
            show.note(f"Changed from the preset {preset}: {changes}.")
    with running:
        now_training()


def _rules() -> tuple[str, list[str], str]:
    """Preset, rules and seeds: the part of the form that lecture mode shows."""
    train_experiments.choose(rule_list.KEY)
    preset = st.selectbox(
        "Preset", list(PRESETS), key="preset", format_func=_preset_words,
        help="A complete configuration to start from; every field can be changed below.",
    )  # fmt: skip
    show.note(_preset_note(preset))
    left, right = st.columns([3, 1])
    with left:
        arms = rule_list.selected_rules(preset)
    with right:
        seeds = st.text_input("Seeds", "0", key="train_seeds", help="Whole numbers, e.g. 0,1,2 or 0-4. Rules "
                              "of one seed share initial weights and data: fair pairs.")  # fmt: skip
    return preset, arms, seeds


def _preset_words(name: str) -> str:
    """Name and size: short enough for a list on a phone."""
    config = get_preset(name)
    return f"{name} · {config.model.num_layers} layers, {config.training.num_steps:,} steps"


def _preset_note(name: str) -> str:
    """What the preset is for."""
    return (PRESETS[name].__doc__ or "").strip().splitlines()[0]


def _builder(preset: str) -> None:
    """Build a rule field by field; the result is in the text form of the field above and the command line."""
    with st.expander("Build a rule", icon=":material/construction:"):
        names = st.multiselect("Rules to combine", list(RULES), default=["loss_free"], key="build_rules",
                               format_func=rule_title)  # fmt: skip
        rules = []
        for name in names:
            kind = RULES[name]
            values = kind(**RULE_DEFAULTS.get(preset, {}).get(name, {}))
            st.markdown(f"**{rule_title(name)}**: {(kind.__doc__ or '').strip().splitlines()[0]}")
            fields = form.fields_of(name, kind, values)
            settings = {field.name: value for field, value in form.in_rows(fields, f"build_{preset}")}
            try:
                rules.append(make_rule(name, settings))
            except ConfigError as error:
                st.error(show.plain(error_text(error)))
        text = format_rules(rules)
        show.note("As text, for the field above and the command line:")
        st.code(text, language=None)
        st.button(
            "Add this rule", key="add_rule", on_click=rule_list.add, args=(text,), icon=":material/add:"
        )


def _start(preset: str, sections: dict[str, dict[str, Any]], arms: Sequence[str], seeds: str) -> None:
    """Check everything, then queue the runs; an invalid value queues none."""
    settings = services().settings
    try:
        configs = make_configs(preset, sections, arms, seeds, settings.limits)
        new = _not_yet_training(configs)
        if not new:
            st.info(
                "These runs are training already; they stand below. Change a seed to train them once more.",
                icon=":material/info:",
            )
            return
        folder = writable(settings.own_runs)
        jobs = [job_of(config, preset, folder) for config in new]
        services().jobs.add(jobs)
    except ExplorerError as error:
        st.error(show.plain(error_text(error)), icon=":material/error:")
        return
    STARTED.put((*STARTED.get(), *(job.run_id for job in jobs)))
    st.toast(show.plain(f"{counted(len(new), 'run')} started or queued."), icon=":material/check:")
    # The picker's list was drawn before they were there.
    st.rerun()


def _not_yet_training(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Those that no open run of this visitor has: pressing the button again does not train twice."""
    mine = STARTED.get()
    here = [job.config for job in services().jobs.open_jobs() if job.run_id in mine]
    return [config for config in configs if config not in here]


def now_training() -> None:
    """Progress and live charts; ticks by itself only while something trains."""
    jobs = services().jobs.jobs()
    if not jobs:
        return
    if _is_changing(jobs):
        st.fragment(_live, run_every=TICK_S)()
    else:
        # Not a fragment: a button in one reruns it alone, and with all runs cleared its heading would stay.
        _live()


def _live() -> None:
    services().ingest.wake()
    jobs = services().jobs.jobs()
    st.subheader("Training now" if any(job.is_open for job in jobs) else "Trained here")
    with show.steady("live"):
        # The newest first: it would begin out of sight below those that have ended.
        for job in reversed(jobs):
            _one(job)
        _buttons(jobs)
        _charts(jobs)
    is_changing = _is_changing(jobs)
    if WAS_CHANGING.get() and not is_changing:
        # The last one has ended: draw the page once more, without the clock and with the new runs.
        WAS_CHANGING.put(False)
        st.rerun()
    WAS_CHANGING.put(is_changing)


def _is_changing(jobs: Sequence[Job]) -> bool:
    """Whether a run trains, or has ended a moment ago and the index does not know it yet."""
    if any(job.is_open for job in jobs):
        return True
    ended = {run.run_id for run in cached.list_runs() if not run.is_running}
    return any(_has_ended(job.status) and job.run_id not in ended for job in jobs)


def _has_ended(status: RunStatus | None) -> bool:
    """Whether the run itself says so: one that was killed does not."""
    return status is not None and status.state != "running"


def _one(job: Job) -> None:
    """Progress and controls of a training run. One that cannot be drawn leaves those of the others alone."""
    try:
        _progress(job)
        switching.controls(job)
    except Exception as error:  # whatever its folder holds by now
        logging.getLogger(__name__).exception("%s could not be drawn", job.run_id)
        st.error(
            show.plain(f"{job.run_id} cannot be shown ({type(error).__name__}: {error}). The others go on."),
            icon=":material/error:",
        )


def _progress(job: Job) -> None:
    done, state = _how_far(job)
    total = job.config.training.num_steps
    rules = switching.recorded_config(job).arm
    label = f"{legend_of(short_name(rules), rules)}, seed {job.config.seed}"
    left, right = st.columns([8, 1], vertical_alignment="center")
    with left:
        st.progress(
            min(1.0, done / total), text=f"**{show.plain(label)}** · {state} · step {done:,} of {total:,}"
        )
        if job.problem:
            st.error(show.plain(job.problem), icon=":material/error:")
    with right:
        if job.is_open:
            st.button(
                "Stop", key=f"stop_{job.run_id}", on_click=services().jobs.stop_job, args=(job.run_id,),
                disabled=job.state == "stopping", width="stretch",
            )  # fmt: skip
        elif job.state == "ended":
            if job.config.model.num_moe_layers:
                links.page("replay", "Replay", run=job.run_id)
            else:
                links.page("compare", "Compare", runs=job.run_id)


def _how_far(job: Job) -> tuple[int, str]:
    """Steps done and the state in a word, from the run's own status."""
    if job.state == "waiting":
        return 0, "queued"
    status = job.status
    if status is None:
        return 0, {"training": "starting", "stopping": "stopping"}.get(job.state, job.state)
    words = status.state if job.state == "ended" else job.state
    return status.last_step + 1, "training" if words == "running" else words


def _buttons(jobs: Sequence[Job]) -> None:
    with st.container(horizontal=True):
        if sum(job.is_open for job in jobs) > 1:
            st.button("Stop all", on_click=services().jobs.stop_all, icon=":material/stop:")
        ended = [job.run_id for job in jobs if job.state == "ended"]
        if len(ended) > 1:
            links.page("compare", "Compare these runs", runs=ended[-MOST:])
        if any(not job.is_open for job in jobs):
            st.button("Clear ended runs", on_click=services().jobs.forget_ended, icon=":material/clear_all:")


def _charts(jobs: Sequence[Job]) -> None:
    """MaxVio and language loss of the latest runs, as far as they have come."""
    ids = [job.run_id for job in jobs][-6:]
    by_id = {run.run_id: run for run in cached.list_runs()}
    runs = [by_id[run_id] for run_id in ids if run_id in by_id and by_id[run_id].has_steps]
    if not runs:
        show.note("The first steps appear here in a moment.")
        return
    arms = [Arm(token=run.run_id, label=_with_seed(run, runs), runs=(run,)) for run in runs]
    arm_set = ArmSet.of(arms)
    left, right = show.in_columns(2)
    with left:
        show.question(Question(key="live_max_vio", build=live.max_vio, arms=arm_set), live=True)
    with right:
        show.question(Question(key="live_loss", build=live.language_loss, arms=arm_set), live=True)


def _with_seed(run: Run, runs: Sequence[Run]) -> str:
    return f"{run.label}, seed {run.seed}" if len({r.seed for r in runs}) > 1 else run.label
