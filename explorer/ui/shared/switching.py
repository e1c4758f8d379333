"""The rule in force in a training run, and buttons to switch it.

Buttons with callbacks and nothing else: the fragment around them runs again twice a second, and a widget
that holds a value would be sent its old one with a tick that is under way.
"""

from dataclasses import dataclass
from functools import partial

import streamlit as st

from explorer.config.rule_text import Rule, label_rules
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, ExplorerError, UnreadableRunError
from explorer.figures.rule_names import short_rules
from explorer.recording.info import read_info
from explorer.running.jobs import Job
from explorer.ui.server.services import services
from explorer.ui.shared import show, state

OFFERED = {"none": "No balancing", "loss_free": "Loss-free", "aux_loss": "Auxiliary loss"}
HELP = (
    "The rule changes before the next step. The change becomes part of the run's configuration, so training "
    "with it reproduces the run without a manual switch."
)
PROBLEM, TYPED = "switch_problem", "switch_text"


@dataclass(frozen=True, kw_only=True)
class InForce:
    """The rules that a training run uses."""

    rules: tuple[Rule, ...]
    since: int
    """The first step under them."""
    next_step: int | None
    """When the next planned change comes, if there is one."""
    next_rules: tuple[Rule, ...] = ()


def recorded_config(job: Job) -> RunConfig:
    """The configuration as run.json has it by now, with every switch; before there is one, as ordered."""
    try:
        return RunConfig.from_dict(read_info(job.path).config)
    except (UnreadableRunError, ConfigError):
        return job.config


def in_force(job: Job, config: RunConfig, last_step: int) -> InForce:
    """What acts in the step after `last_step`. A change that was not ordered with the run was made by hand,
    and is recorded only just before it acts; `last_step` may be a second old."""
    schedule = config.balancer.schedule
    by_hand = [c.step for c in schedule if c not in job.config.balancer.schedule]
    now = max([last_step + 1, *by_hand])
    later = [c for c in schedule if c.step > now]
    return InForce(
        rules=config.balancer.rules_at(now),
        since=max((c.step for c in schedule if c.step <= now), default=0),
        next_step=later[0].step if later else None,
        next_rules=later[0].rules if later else (),
    )


def has_rules(config: RunConfig) -> bool:
    """Whether there is a rule to switch: only under token choice."""
    return config.model.routing == "token_choice" and config.model.num_moe_layers > 0


def controls(job: Job) -> None:
    """The rule in force and the buttons, for a training; nothing for one that waits or has ended."""
    if job.state != "training" or not has_rules(job.config):
        return
    now = in_force(job, recorded_config(job), job.steps_done - 1)
    waiting = _waiting(job, now)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"switch_{job.run_id}"):
        # The buttons first: words of another length must not move them under somebody's pointer.
        for text, name in OFFERED.items():
            st.button(
                name,
                key=f"switch_{text}_{job.run_id}",
                on_click=_ask,
                args=(job.run_id, text),
                disabled=waiting is None and job.rules_of(text) == now.rules,
                help=f"Switch to {label_rules(job.rules_of(text))}",
            )
        # In a lecture, too: what is inside is of no use without its field.
        with (
            st.popover("Another rule", help="Any rule in its text form"),
            st.container(key=f"keep_switch_{job.run_id}"),
        ):
            _other(job.run_id)
        st.markdown(_words(job, now, waiting), help=HELP, width="content")
    _say(job, waiting)


def of_run(run_id: str) -> None:
    """The same on another page, while this server trains that run."""
    job = next((job for job in services().jobs.open_jobs() if job.run_id == run_id), None)
    if job is not None:
        controls(job)


def _other(run_id: str) -> None:
    key = f"{TYPED}_{run_id}"
    st.text_input(
        "Switch to",
        key=key,
        placeholder="loss_free:u=0.001+seq_aux",
        help="As on the command line: a rule with its settings, several rules joined by `+`, or `none`.",
    )
    st.button("Switch", key=f"switch_other_{run_id}", on_click=partial(_ask_typed, run_id), type="primary")


def _ask_typed(run_id: str) -> None:
    text = str(state.value(f"{TYPED}_{run_id}") or "").strip()
    if text:
        _ask(run_id, text)
    else:
        state.put(f"{PROBLEM}_{run_id}", "Type a rule first, e.g. loss_free:u=0.001.")


def _ask(run_id: str, text: str) -> None:
    key = f"{PROBLEM}_{run_id}"
    state.forget(key)
    try:
        services().jobs.switch_rules(run_id, text)
    except ExplorerError as error:
        state.put(key, str(error))


def _waiting(job: Job, now: InForce) -> str | None:
    """The rule requested last, while the training has not answered."""
    if not job.sent_rules or len(services().jobs.answers(job.run_id)) >= len(job.sent_rules):
        return None
    return None if job.rules_of(job.sent_rules[-1]) == now.rules else job.sent_rules[-1]


def _words(job: Job, now: InForce, waiting: str | None) -> str:
    words = f"Rule in force: **{_name(now.rules)}**, since step {now.since:,}"
    if waiting is not None:
        return f"{words} · :material/hourglass_top: {_name(job.rules_of(waiting))} requested"
    if now.next_step is not None:
        words += f" · planned from step {now.next_step:,}: {_name(now.next_rules)}"
    return words


def _name(rules: tuple[Rule, ...]) -> str:
    return show.plain(short_rules(rules)) if rules else "no balancing"


def _say(job: Job, waiting: str | None) -> None:
    """Why a switch was refused. Its place is always reserved, so that what follows does not move."""
    place = st.container()
    problem = state.value(f"{PROBLEM}_{job.run_id}")
    answers = services().jobs.answers(job.run_id)
    if not problem and waiting is None and answers and " refused: " in answers[-1]:
        problem = answers[-1][0].upper() + answers[-1][1:]
    if problem:
        place.warning(show.plain(problem), icon=":material/block:")
