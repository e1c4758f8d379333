"""A scripted user who requests rule changes before given steps."""

from collections.abc import Mapping, Sequence

from explorer.training.switching import SwitchRequest


class ScheduledSwitches:
    """`ScheduledSwitches({4: "loss_free"})` asks before step 4, a list for several.

    The trainer gets its `on_step`.
    """

    def __init__(self, by_step: Mapping[int, str | Sequence[str]], start: int = 0) -> None:
        self.by_step = {step: [t] if isinstance(t, str) else list(t) for step, t in by_step.items()}
        self.step = start
        self.answers: list[str] = []

    def on_step(self, done: int, total: int) -> None:
        self.step = done

    def waiting(self) -> bool:
        return any(step <= self.step for step in self.by_step)

    def take(self) -> list[SwitchRequest]:
        due = sorted(step for step in self.by_step if step <= self.step)
        return [SwitchRequest(text=text) for step in due for text in self.by_step.pop(step)]

    def answer(self, sentence: str) -> None:
        self.answers.append(sentence)
