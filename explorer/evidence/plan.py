"""From an experiment to its runs: configurations, tuning first, and what is still missing."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from explorer.config.presets import arm_config, get_preset
from explorer.config.run import RunConfig, digest_of
from explorer.config.seeds import with_seed
from explorer.errors import one_of
from explorer.evidence.experiment import SCALES, Arm, Experiment, Run, Times
from explorer.evidence.results import EvidenceError, Row

LONG_STEPS = 2400
BALANCED = 0.5
"""MaxVio global up to which a candidate counts as balanced: the best loss is often that of a rule that barely
balances, and two such arms would compare nothing."""
Rows = Mapping[str, Row]
Settings = tuple[tuple[str, Any], ...]


@lru_cache(maxsize=8)
def base_config(scale: str) -> RunConfig:
    """The preset of a scale, recorded lightly: no probes, no router gradients, no rows by sequence."""
    one_of("--preset", scale, SCALES)
    base = get_preset("standard" if scale == "long" else scale)
    steps = LONG_STEPS if scale == "long" else base.training.num_steps
    return base.with_settings(
        {
            "training.num_steps": steps,
            "training.sequence_load_interval": steps,
            "training.gradient_probe_interval": 0,
            "training.device": "cpu",
            "training.num_threads": 1,
        }
    )


@lru_cache(maxsize=1024)
def _plain_config(settings: Settings, arm: Arm, scale: str, text: str) -> dict[str, Any]:
    return config_of(settings, arm, scale, 0, text).to_dict()


def config_of(settings: Settings, arm: Arm, scale: str, seed: int, text: str) -> RunConfig:
    """The configuration of one training. settings: those of the experiment."""
    base = base_config(scale)
    values = {**dict(settings), **dict(arm.settings)}
    config = base.with_settings({name: _value(base, name, value) for name, value in values.items()})
    steps = config.training.num_steps
    text = re.sub(r"\{(\d+)%\}", lambda share: str(max(1, steps * int(share[1]) // 100)), text)
    return with_seed(arm_config(config, text), seed)


def _value(base: RunConfig, name: str, value: Any) -> Any:
    if not isinstance(value, Times):
        return value
    section, _, field = name.partition(".")
    return max(1, round(getattr(getattr(base, section), field) * value.factor))


def run_of(
    experiment: Experiment, arm: Arm, scale: str, seed: int, text: str | None = None, *, tuning: bool = False
) -> Run:
    """One run of an arm; text: that of the arm, or the candidate to try."""
    text = arm.text if text is None else text
    if experiment.trial is None:
        shared = _plain_config(experiment.settings, arm, scale, text)
        data = {**shared, "training": {**shared["training"], "seed": seed}}
    else:
        data = {"trial": experiment.id, **dict(experiment.settings), **dict(arm.settings)}
        data |= {"scale": scale, "seed": seed}
    return Run(
        experiment=experiment.id,
        arm=arm.key,
        scale=scale,
        seed=seed,
        text=text,
        digest=digest_of(data),
        config=data,
        tuning=tuning,
    )


def seeds_of(experiment: Experiment, scale: str, most: int | None = None) -> range:
    """The seeds of the comparison: those fixed in advance, or the first `most`, or more of them."""
    return range(experiment.pairs.get(scale, 0) if most is None else most)


def tuning_runs(experiment: Experiment, scale: str) -> list[Run]:
    """The runs that choose among candidates."""
    return [
        run_of(experiment, arm, scale, seed, text, tuning=True)
        for seed in experiment.tuning_seeds
        for arm in experiment.arms
        for text in arm.candidates
    ]


def tuned_text(experiment: Experiment, arm: Arm, scale: str, rows: Rows) -> str | None:
    """The text of an arm, or its best candidate; None while tuning runs are missing.

    The best is the one with the lowest mean held-out loss on the tuning seeds among the balanced ones, or the
    most balanced one where none is.
    """
    if not arm.candidates:
        return arm.text
    means: dict[str, tuple[float, float]] = {}
    for text in arm.candidates:
        runs = [run_of(experiment, arm, scale, seed, text) for seed in experiment.tuning_seeds]
        if any(run.digest not in rows for run in runs):
            return None
        means[text] = (_mean(runs, rows, "lm_loss"), _mean(runs, rows, "max_vio_global"))
    balanced = [text for text, (_, violation) in means.items() if violation <= BALANCED]
    if balanced:
        return min(balanced, key=lambda text: means[text][0])
    return min(means, key=lambda text: means[text][1])


def _mean(runs: Sequence[Run], rows: Rows, metric: str) -> float:
    """Mean over runs; infinite where one has no such metric, so that its candidate loses."""
    values = [rows[run.digest].metrics.get(metric) for run in runs]
    return float(np.mean([math.inf if value is None else value for value in values]))


def comparison_runs(experiment: Experiment, scale: str, rows: Rows, seeds: Sequence[int]) -> list[Run]:
    """The runs of the comparison, seed by seed, so that pairs are complete early; without untuned arms."""
    texts = {arm.key: tuned_text(experiment, arm, scale, rows) for arm in experiment.arms}
    return [
        run_of(experiment, arm, scale, seed, texts[arm.key])
        for seed in seeds
        for arm in experiment.arms
        if texts[arm.key] is not None
    ]


def missing_runs(experiment: Experiment, scale: str, rows: Rows, seeds: Sequence[int]) -> list[Run]:
    """The next runs to make: tuning first, then the comparison; [] when everything is there."""
    clash = set(seeds) & set(experiment.tuning_seeds)
    if clash:
        raise EvidenceError(
            f"--seeds = {len(seeds)}: seed {min(clash)} of {experiment.id} is used for tuning; ask for fewer."
        )
    tuning = _missing(tuning_runs(experiment, scale), rows)
    return tuning or _missing(comparison_runs(experiment, scale, rows, seeds), rows)


def _missing(runs: Sequence[Run], rows: Rows) -> list[Run]:
    return list({run.digest: run for run in runs if run.digest not in rows}.values())


def number_left(experiment: Experiment, scale: str, rows: Rows, seeds: Sequence[int]) -> int:
    """How many runs are still to be made in all, those after the tuning included."""
    tuning = len(_missing(tuning_runs(experiment, scale), rows))
    waiting = sum(tuned_text(experiment, arm, scale, rows) is None for arm in experiment.arms)
    comparing = len(_missing(comparison_runs(experiment, scale, rows, seeds), rows))
    return tuning + comparing + waiting * len(seeds)
