"""From the form of the Train page to the runs that it queues: checked as a whole, before anything is made."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.config.limits import Limits
from explorer.config.presets import arm_config, recorded_preset
from explorer.config.run import RunConfig
from explorer.config.seeds import parse_seeds, with_seed
from explorer.errors import ConfigError, RunFolderError
from explorer.recording import make_run_id
from explorer.running.jobs import Job


def job_of(config: RunConfig, preset: str, folder: Path) -> Job:
    """The training of this configuration into a new run folder in `folder`, under an id of its own."""
    run_id = make_run_id(folder, preset=recorded_preset(config, preset), family=config.arm, seed=config.seed)
    return Job(run_id=run_id, config=config, runs=folder, preset=preset)


def make_configs(
    preset: str,
    sections: dict[str, dict[str, Any]],
    arms: Sequence[str],
    seeds: str,
    limits: Limits | None = None,
) -> list[RunConfig]:
    """One configuration per seed and rule. Raises ConfigError for anything that breaks a rule or a limit."""
    limits = limits or Limits()
    if not arms:
        raise ConfigError(
            "balancer", "", "names no rule", "choose one, e.g. loss_free; none is also a choice"
        )
    base = RunConfig.from_dict(sections)
    chosen_arms = [arm_config(base, arm, preset) for arm in arms]
    for config, arm in zip(chosen_arms, arms, strict=True):
        if chosen_arms.count(config) > 1:
            raise ConfigError("balancer", arm, "is named twice", "keep one; use the seeds to repeat")
    numbers = parse_seeds("training.seed", seeds)
    runs = len(numbers) * len(chosen_arms)
    if runs > limits.runs_per_start:
        raise ConfigError(
            "seeds",
            seeds,
            f"make {runs} runs; at most {limits.runs_per_start} can be started at a time",
            "choose fewer",
        )
    for config in chosen_arms:
        limits.check(config)
    return [with_seed(config, seed) for seed in numbers for config in chosen_arms]


def writable(folder: Path) -> Path:
    """The runs folder, made where it is missing. Raises RunFolderError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A unique file name: two visitors may press Start at the same moment.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(
            f"runs folder = {str(folder)!r}: cannot be written ({error.strerror}); start the app with "
            "another one."
        ) from error
    return folder
