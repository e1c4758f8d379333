"""Rule changes while a run trains: requested between steps, scheduled before they take effect.

A switch at step s becomes a change in `balancer.schedule`, exactly as if it had been planned. So a run
with interactive rule changes can be reproduced from its configuration alone.
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
"""Kind of the event that records a rejected switch, with the reason."""


@dataclass(frozen=True, kw_only=True)
class SwitchRequest:
    """A request to change the rules now."""

    text: str
    """Rules in the text form of `explorer.config.rule_text`."""
    defaults: Defaults | None = None
    """Preset settings for those that a rule omits."""

    def rules(self) -> tuple[Rule, ...]:
        """Parse the rules. Raises ConfigError for an invalid text."""
        return parse_rules(self.text, self.defaults)


class Switches(Protocol):
    """Source of requests to change a run's rules. The loop polls it between steps, on rank 0 only."""

    def waiting(self) -> bool:
        """Whether there is a request; polled before every step, so it must be cheap."""

    def take(self) -> Sequence[SwitchRequest]:
        """The requests since the last call, in order."""

    def answer(self, sentence: str) -> None:
        """Report the outcome of one request to its sender."""


class NoSwitches:
    """No requests."""

    def waiting(self) -> bool:
        return False

    def take(self) -> Sequence[SwitchRequest]:
        return ()

    def answer(self, sentence: str) -> None:
        pass


NO_SWITCHES = NoSwitches()


def switched(config: RunConfig, step: int, switches: Switches, recorder: Recorder, ranks: Ranks) -> RunConfig:
    """The configuration after the requests made before `step`; a changed one is already recorded.

    Of several requests the last valid one counts. An invalid one changes nothing and leaves a message
    and an event. Every rank calls this and gets the same result.
    """
    if not ranks.is_first:
        return RunConfig.from_dict(ranks.broadcast(None))
    after: RunConfig = config
    accepted: SwitchRequest | None = None
    for request in switches.take():
        try:
            candidate = config.switched(step, request.rules())
            check_shares(candidate, ranks)
        except ConfigError as error:
            refuse(request, str(error), step, switches, recorder)
            continue
        if accepted:
            switches.answer(f"switch to {accepted.text!r}: overtaken by {request.text!r} before step {step}.")
        after, accepted = candidate, request
    if after != config:
        recorder.rules_changed(after)
    if accepted:
        # The sender may read the record as soon as it gets this answer.
        switches.answer(_outcome(config, after, step, accepted.text))
    ranks.broadcast(after.to_dict())
    return after


def refuse(request: SwitchRequest, why: str, step: int, switches: Switches, recorder: Recorder) -> None:
    """Reject a request: report it to the sender and record an event."""
    sentence = f"switch to {request.text!r} refused: {why}"
    switches.answer(sentence)
    recorder.record(EventRecord(step=step, kind=REFUSED, detail=sentence))


def _outcome(before: RunConfig, after: RunConfig, step: int, text: str) -> str:
    if after == before:
        return f"switch to {text!r}: these rules are in force already, nothing changes."
    return f"switch to {text!r}: from step {step} on {label_rules(after.balancer.rules_at(step))}."


def reject_pending(step: int, why: str, switches: Switches, recorder: Recorder) -> None:
    """Reject requests that came too late: the run takes no further step."""
    for request in switches.take():
        refuse(request, f"{why}.", step, switches, recorder)
