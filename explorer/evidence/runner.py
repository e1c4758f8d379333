"""Make the missing runs of an experiment and keep one row of each.

A row is written as soon as its run has finished; a runner that is killed loses at most the runs in progress.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from explorer.config.run import RunConfig, digest_of
from explorer.errors import ExplorerError
from explorer.evidence import plan
from explorer.evidence.experiment import Experiment, Run
from explorer.evidence.measures import measure
from explorer.evidence.results import Row, append_row, read_rows, row_of
from explorer.recording import RunFolder, list_runs
from explorer.recording.status import read_status
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Child, Job
from explorer.running.run_queue import RunQueue
from explorer.wording import counted

SECONDS = {"tiny": 5.0, "quick": 30.0, "standard": 160.0, "long": 480.0}
"""Wall time of one training, two at a time on two cores; until rows say how long it takes."""
ATTEMPTS = 2
"""A training run that is killed is retried once; one that fails on its own fails twice."""
TRIAL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How runs are made."""

    scale: str
    runs: Path
    """Folder of the run folders; each is removed once its row is written."""
    results: Path
    """File that gets the rows."""
    seeds: int | None = None
    at_once: int = 2
    keep: bool = False
    """Keep the run folders."""
    launch: Callable[[Job], Child] = LocalProcess


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an experiment will cost, before it starts."""

    runs: int
    done: int
    seconds: float
    """Of one run."""
    at_once: int
    measured: bool
    """Whether `seconds` comes from rows of this experiment."""

    def __str__(self) -> str:
        seconds_to_go = self.runs * self.seconds / self.at_once
        source = "measured" if self.measured else "estimated"
        return (
            f"{counted(self.runs, 'run')} to make, {self.done:,} there; {self.runs:,} × {self.seconds:.1f} s "
            f"({source}), {self.at_once} at a time: about {duration(seconds_to_go)}"
        )


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def budget(experiment: Experiment, settings: Settings) -> Budget:
    """The cost of an experiment's missing runs, from the wall times of rows at the same scale."""
    rows = known_rows(settings)
    seeds = plan.seeds_of(experiment, settings.scale, settings.seeds)
    same = [row for row in rows.values() if row.scale == settings.scale]
    mine = [row.seconds for row in same if row.experiment == experiment.id]
    is_simulated = experiment.trial is not None and not experiment.trains
    default = TRIAL_SECONDS if is_simulated else SECONDS[settings.scale]
    num_left = plan.number_left(experiment, settings.scale, rows, seeds)
    everything = plan.number_left(experiment, settings.scale, {}, seeds)
    return Budget(
        runs=num_left,
        done=everything - num_left,
        seconds=median(mine) if mine else default,
        at_once=1 if experiment.trial else settings.at_once,
        measured=bool(mine),
    )


def known_rows(settings: Settings) -> dict[str, Row]:
    """Rows of all files beside the one that is written."""
    return read_rows(settings.results.parent) | read_rows(settings.results)


def missing(experiment: Experiment, settings: Settings) -> list[Run]:
    """The next runs to make."""
    seeds = plan.seeds_of(experiment, settings.scale, settings.seeds)
    return plan.missing_runs(experiment, settings.scale, known_rows(settings), seeds)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run that has ended: with a row, or with the reason why there is none."""

    run: Run
    row: Row | None = None
    problem: str = ""


def run_experiment(experiment: Experiment, settings: Settings) -> Iterator[Outcome]:
    """Make all missing runs; tuning first. Yields each run as it ends.

    A run that fails is left out until the next call, and the others are made.
    """
    failed: set[str] = set()
    while runs := [run for run in missing(experiment, settings) if run.digest not in failed]:
        outcomes = _trials(experiment, runs) if experiment.trial else _trainings(runs, settings)
        for outcome in outcomes:
            if outcome.row is None:
                failed.add(outcome.run.digest)
            else:
                append_row(settings.results, outcome.row)
                if not settings.keep:
                    shutil.rmtree(settings.runs / outcome.run.run_id, ignore_errors=True)
            yield outcome


def _trials(experiment: Experiment, runs: Sequence[Run]) -> Iterator[Outcome]:
    assert experiment.trial is not None
    for run in runs:
        start = time.monotonic()
        settings = dict(experiment.settings) | dict(experiment.arm(run.arm).settings)
        try:
            metrics = experiment.trial(settings, run.seed, run.scale)
        except ExplorerError as error:
            yield Outcome(run=run, problem=f"{run.run_id}: {error}")
            continue
        seconds = time.monotonic() - start
        yield Outcome(run=run, row=row_of(run, metrics, seconds=seconds, finished_at=_now()))


def _trainings(runs: Sequence[Run], settings: Settings) -> Iterator[Outcome]:
    """Train the runs in child processes. Finished folders without a row are only measured."""
    settings.runs.mkdir(parents=True, exist_ok=True)
    by_id = {run.run_id: run for run in runs}
    open_runs = []
    for run in runs:
        folder = settings.runs / run.run_id
        if _is_finished(folder):
            yield _measured(run, folder)
        else:
            open_runs.append(run)
    for attempt in range(1, ATTEMPTS + 1):
        jobs = [_job(run, settings) for run in open_runs]
        open_runs = []
        with RunQueue(settings.at_once, settings.launch) as queue:
            for job in queue.run(jobs):
                run = by_id[job.run_id]
                if not job.failure:
                    yield _measured(run, job.path)
                elif attempt < ATTEMPTS:
                    open_runs.append(run)
                else:
                    yield Outcome(run=run, problem=job.failure)


def _job(run: Run, settings: Settings) -> Job:
    # What a killed training left has no checkpoint to go on from.
    shutil.rmtree(settings.runs / run.run_id, ignore_errors=True)
    return Job(config=RunConfig.from_dict(run.config), run_id=run.run_id, runs=settings.runs)


NEUTRAL = (
    "sequence_load_interval",
    "gradient_probe_interval",
    "probe_tokens",
    "checkpoint_interval",
    "device",
    "num_threads",
)
"""Fields of the training section that decide what is recorded, and never what is trained."""


def collect(experiments: Sequence[Experiment], settings: Settings, folder: Path) -> Iterator[Outcome]:
    """Rows of finished runs in `folder` that an experiment would train in the same way; nothing is trained.

    They may record more than an experiment asks for. A measurement that only the experiment's own settings
    make, such as router gradients, counts as missing.
    """
    finished_runs = {
        _trained_as(run.info.config): run
        for run in (RunFolder(listing.path) for listing in list_runs(folder) if not listing.problem)
        if run.status.state == "finished" and run.info.config
    }
    for experiment in (one for one in experiments if one.trial is None):
        for run in missing(experiment, settings):
            folder_run = finished_runs.get(_trained_as(run.config))
            if folder_run is not None and not run.config["training"]["gradient_probe_interval"]:
                outcome = _measured(run, folder_run.path, same_digest=False)
                if outcome.row is not None:
                    append_row(settings.results, outcome.row)
                yield outcome


def _trained_as(config: Mapping[str, Any]) -> str:
    """Digest of what determines a training run."""
    training = {name: value for name, value in config.get("training", {}).items() if name not in NEUTRAL}
    return digest_of({**config, "training": training})


def _is_finished(folder: Path) -> bool:
    return folder.exists() and read_status(folder).state == "finished"


def _measured(run: Run, path: Path, *, same_digest: bool = True) -> Outcome:
    try:
        folder = RunFolder(path)
        metrics, series = measure(folder)
        info, status = folder.info, folder.status
        if same_digest and info.config_digest != run.digest:
            return Outcome(
                run=run, problem=f"{run.run_id}: the folder holds another configuration; delete it."
            )
    except ExplorerError as error:
        return Outcome(run=run, problem=str(error))
    return Outcome(
        run=run,
        row=row_of(
            run,
            metrics,
            series=series,
            # From the creation of the folder to the last sign of life: evaluations included.
            seconds=status.heartbeat - datetime.fromisoformat(info.created_at).timestamp(),
            versions=info.versions,
            device=info.device,
            finished_at=_now(),
        ),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
