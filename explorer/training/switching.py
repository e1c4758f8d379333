"""Other rules while a run trains: asked for between steps, part of the schedule before they act.

A switch at step s becomes a change in `balancer.schedule`, exactly as if it had been planned. So a run
that was trained with somebody at the button is repeated by its configuration alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from explorer.config.rule_text import Defaults, Rule, label_rules, parse_rules
from explorer.config.run import RunConfig
from explorer.errors import ConfigError
from explorer.records.records import EventRecord, Recorder
from explorer.training.ranks import Ranks, check_shares

REFUSED = "switch_refused"
"""Kind of the event that keeps a switch which was not made, with the reason."""


@dataclass(frozen=True, kw_only=True)
class SwitchRequest:
    """Rules that somebody asks for now."""

    text: str
    """In the text form of `explorer.config.rule_text`."""
    defaults: Defaults | None = None
    """What the preset gives to a rule that leaves it open."""

    def rules(self) -> tuple[Rule, ...]:
        """Raises ConfigError for a text that is no rule."""
        return parse_rules(self.text, self.defaults)


class Switches(Protocol):
    """Whoever may ask a run to change its rules. The loop looks here between steps, in one process only."""

    def waiting(self) -> bool:
        """Whether there is a request; asked before every step, so it must cost nothing."""

    def take(self) -> Sequence[SwitchRequest]:
        """The requests since the last call, in order."""

    def answer(self, sentence: str) -> None:
        """What became of one of them, for the person who asked."""


class NoSwitches:
    """Nobody asks."""

    def waiting(self) -> bool:
        return False

    def take(self) -> Sequence[SwitchRequest]:
        return ()

    def answer(self, sentence: str) -> None:
        pass


NO_SWITCHES = NoSwitches()


def switched(config: RunConfig, step: int, switches: Switches, recorder: Recorder, ranks: Ranks) -> RunConfig:
    """The configuration after what was asked for before `step`; recorded already if it is another one.

    Of several requests the last that can be followed counts. One that cannot be followed changes nothing
    and leaves a sentence and an event. Every rank calls this and gets the same.
    """
    if not ranks.is_first:
        return RunConfig.from_dict(ranks.tell(None))
    after: RunConfig = config
    accepted: SwitchRequest | None = None
    for request in switches.take():
        try:
            wanted = config.switched(step, request.rules())
            check_shares(wanted, ranks)
        except ConfigError as error:
            refuse(request, str(error), step, switches, recorder)
            continue
        if accepted:
            switches.answer(f"switch to {accepted.text!r}: overtaken by {request.text!r} before step {step}.")
        after, accepted = wanted, request
    if after != config:
        recorder.rules_changed(after)
    if accepted:
        # Whoever hears this may look into the record at once.
        switches.answer(_outcome(config, after, step, accepted.text))
    ranks.tell(after.to_dict())
    return after


def refuse(request: SwitchRequest, why: str, step: int, switches: Switches, recorder: Recorder) -> None:
    """Change nothing, and say so to the person and in the run."""
    sentence = f"switch to {request.text!r} refused: {why}"
    switches.answer(sentence)
    recorder.record(EventRecord(step=step, kind=REFUSED, detail=sentence))


def _outcome(before: RunConfig, after: RunConfig, step: int, text: str) -> str:
    if after == before:
        return f"switch to {text!r}: these rules are in force already, nothing changes."
    return f"switch to {text!r}: from step {step} on {label_rules(after.balancer.rules_at(step))}."


def refuse_the_rest(step: int, why: str, switches: Switches, recorder: Recorder) -> None:
    """Requests that came too late: the run takes no step any more."""
    for request in switches.take():
        refuse(request, f"{why}.", step, switches, recorder)
