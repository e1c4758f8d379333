"""Recorded runs by preset, balancing rule and seed, as lessons and experiments name them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from explorer.config.checks import read_int
from explorer.config.presets import arm_config, get_preset
from explorer.errors import ExplorerError
from explorer.figures.arms import Arm, Run, arms_of
from explorer.figures.rule_names import short_name
from explorer.figures.store import Store

R = TypeVar("R")
PRESET = "standard"


class MissingRun(ExplorerError):
    """A lesson refers to a run that does not exist here."""


@dataclass(frozen=True)
class RecordedRuns:
    """The runs of the index and the store that answers for them."""

    store: Store
    runs: tuple[Run, ...]

    def ask(self, query: Callable[..., R], runs: Run | Sequence[Run], *args: Any) -> R:
        """The value of one query; see `figures.store.Store.answer`."""
        return self.store.answer(query, runs, *args).value

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm that the run picker offers."""
        return tuple(arms_of(self.runs))

    def find(self, text: str, seed: int | None = None, preset: str = PRESET) -> Arm:
        """All seeds of a balancing rule or routing, or one of them; shipped runs before own ones.

        Raises MissingRun if no such run has finished, ConfigError for a text that names no rule.
        """
        balancer = canonical(text, preset)
        finished = [run for run in self.runs if _is_finished(run, balancer, preset)]
        finished = [run for run in finished if run.shipped] or finished
        if not finished:
            raise MissingRun(
                f"There is no finished run of {short_name(balancer)} with the preset {preset}. "
                "A full checkout has it in data/runs, and the Train page can train it."
            )
        by_seed: dict[int, Run] = {}
        for run in sorted(finished, key=lambda run: run.created_at):
            by_seed[run.seed or 0] = run
        if seed is not None and seed not in by_seed:
            raise MissingRun(f"There is no finished run of {short_name(balancer)} with seed {seed}.")
        runs = tuple(by_seed[s] for s in sorted(by_seed) if seed in (None, s))
        return Arm(token=self._token(runs), label=runs[0].label, runs=runs)

    def find_all(self, texts: Sequence[str], seed: int | None = None, preset: str = PRESET) -> list[Arm]:
        """Several arms, in the order of their texts."""
        return [self.find(text, seed, preset) for text in texts]

    def _token(self, runs: Sequence[Run]) -> str:
        """The run picker's name of these runs."""
        if len(runs) == 1:
            return runs[0].run_id
        run_ids = {run.run_id for run in runs}
        groups = (arm.token for arm in self.arms if arm.is_group and set(arm.run_ids) == run_ids)
        return next(groups, runs[0].run_id)


def canonical(text: str, preset: str = PRESET) -> str:
    """The text form under which a run of this arm is recorded."""
    return arm_config(get_preset(preset), text, preset).arm


def _is_finished(run: Run, balancer: str, preset: str) -> bool:
    return (
        run.is_readable
        and run.state == "finished"
        and run.preset == preset
        and run.balancer == balancer
        and run.has_steps
    )


def seed_of(text: str) -> int:
    """`0` or `seed 0` -> 0."""
    return read_int("training.seed", text.removeprefix("seed"), least=0, remedy="write seed 0")
