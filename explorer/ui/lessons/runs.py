"""The runs that lessons name: by preset, balancer and seed, found among the runs that are here."""

from collections.abc import Sequence

from explorer.config.bounds import read_whole
from explorer.config.presets import arm_config, get_preset
from explorer.errors import ExplorerError
from explorer.figures.arms import Arm, Run, short_balancer
from explorer.ui.shared import picker

PRESET = "standard"


class MissingRun(ExplorerError):
    """A run that a lesson tells its story with is not here."""


def find(text: str, seed: int | None = None, preset: str = PRESET) -> Arm:
    """All seeds of a balancer or routing, or one of them; shipped runs before own ones.

    Raises MissingRun if there is none that has finished, ConfigError for a text that names no rule.
    """
    wanted = canonical(text, preset)
    fitting = [run for run in picker.all_runs() if _fits(run, wanted, preset)]
    fitting = [run for run in fitting if run.shipped] or fitting
    if not fitting:
        raise MissingRun(
            f"There is no finished run of {short_balancer(wanted)} with the preset {preset}; in a full "
            "checkout it lies in data/runs."
        )
    together: dict[int, Run] = {}
    for run in sorted(fitting, key=lambda run: run.created_at):
        together[run.seed or 0] = run
    if seed is not None and seed not in together:
        raise MissingRun(f"There is no finished run of {short_balancer(wanted)} with seed {seed}.")
    chosen = tuple(together[s] for s in sorted(together) if seed in (None, s))
    return Arm(token=_token(chosen), label=chosen[0].label, runs=chosen)


def find_all(texts: Sequence[str], seed: int | None = None, preset: str = PRESET) -> list[Arm]:
    """Several arms, in the order of their texts."""
    return [find(text, seed, preset) for text in texts]


def canonical(text: str, preset: str = PRESET) -> str:
    """The text form under which a run of this arm is recorded."""
    return arm_config(get_preset(preset), text, preset).arm


def _fits(run: Run, wanted: str, preset: str) -> bool:
    return (
        run.is_readable
        and run.state == "finished"
        and run.preset == preset
        and run.balancer == wanted
        and run.has_steps
    )


def _token(runs: Sequence[Run]) -> str:
    """What the run picker calls these runs."""
    if len(runs) == 1:
        return runs[0].run_id
    for arm in picker.all_arms():
        if arm.is_group and set(arm.run_ids) == {run.run_id for run in runs}:
            return arm.token
    return runs[0].run_id


def seed_of(text: str) -> int:
    """`0` or `seed 0` -> 0."""
    return read_whole("training.seed", text.removeprefix("seed"), least=0, remedy="write seed 0")
