"""Runs become rows: every experiment at `tiny`, resumption, retries, and a runner that is killed."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from finished_child import Finished

from explorer.cli import main
from explorer.config.run import RunConfig
from explorer.evidence import plan, runner
from explorer.evidence.evaluated import EVALUATIONS
from explorer.evidence.examined import EXAMINATIONS
from explorer.evidence.experiment import Experiment
from explorer.evidence.launch_text import commands
from explorer.evidence.pairs import PAIR_MEASURES, ROW_MEASURES
from explorer.evidence.registry import CLAIMS, EXPERIMENTS
from explorer.evidence.results import FILE, EvidenceError, append_row, read_rows
from explorer.running import run_queue
from explorer.running.into_folder import train_run
from explorer.running.jobs import Job

ROOT = Path(__file__).parents[2]
IN_CHILDREN = {experiment.id for experiment in (*EXAMINATIONS, *EVALUATIONS)}
IN_PROCESS = [e for e in EXPERIMENTS.values() if e.id not in IN_CHILDREN]


class Dead(Finished):
    """A training run that died."""

    def __init__(self, job: Job) -> None: ...

    def poll(self) -> int:
        return -signal.SIGKILL


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_queue, "POLL_S", 0.005)


@pytest.fixture
def settings(tmp_path: Path) -> runner.Settings:
    return runner.Settings(
        scale="tiny", runs=tmp_path / "runs", results=tmp_path / "rows" / FILE, seeds=1, launch=Finished
    )


@pytest.fixture(scope="module")
def common_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of all experiments, which share runs."""
    return tmp_path_factory.mktemp("rows") / FILE


@pytest.fixture
def half_as_long(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training runs of `tiny` take ten steps: how an arm trains is seen in the first, and arms are many."""
    if experiment.id == "data-scales":  # its shares of the steps need all twenty
        yield
        return
    whole = plan.base_config

    @cache
    def half(scale: str) -> RunConfig:
        steps = whole(scale).training.num_steps // 2
        return whole(scale).with_settings(
            {"training.num_steps": steps, "training.sequence_load_interval": steps}
        )

    monkeypatch.setattr(plan, "base_config", half)
    plan._plain_config.cache_clear()
    yield
    plan._plain_config.cache_clear()


def outcomes(experiment: Experiment, settings: runner.Settings) -> list[runner.Outcome]:
    return list(runner.run_experiment(experiment, settings))


FROM_SERIES = {*PAIR_MEASURES, *ROW_MEASURES}
"""Computed from the series of finished rows, so no row has them among its metrics."""


@pytest.mark.usefixtures("half_as_long")
@pytest.mark.parametrize("experiment", IN_PROCESS, ids=lambda experiment: experiment.id)
def test_every_experiment_runs_at_tiny(
    experiment: Experiment, settings: runner.Settings, common_results: Path
) -> None:
    settings = replace(settings, results=common_results)
    # One seed to tune on is enough to see that tuning comes first.
    experiment = replace(experiment, tuning_seeds=experiment.tuning_seeds[:1])
    ended = outcomes(experiment, settings)
    assert [outcome.problem for outcome in ended if outcome.row is None] == []
    rows = read_rows(settings.results)
    wanted = plan.comparison_runs(experiment, "tiny", rows, [0])
    assert {run.digest for run in wanted} <= set(rows)
    for claim in CLAIMS:
        for one in claim.comparisons:
            if one.experiment == experiment.id and one.metric not in FROM_SERIES:
                for run in (run for run in wanted if run.arm in one.arms):
                    assert one.metric in rows[run.digest].metrics
    assert outcomes(experiment, settings) == []
    assert not list(settings.runs.glob("tiny-*"))


def test_the_budget_counts_what_is_left(settings: runner.Settings) -> None:
    experiment = EXPERIMENTS["normalisation"]
    before = runner.budget(experiment, settings)
    assert (before.runs, before.done, before.measured) == (2, 0, False)
    outcomes(experiment, settings)
    after = runner.budget(experiment, settings)
    assert (after.runs, after.done, after.measured) == (0, 2, True)
    assert "0 runs to make, 2 there" in str(after)
    assert runner.budget(EXPERIMENTS["code"], settings).seconds == runner.SECONDS["tiny"]
    assert runner.budget(EXPERIMENTS["bf16-bias"], settings).seconds == runner.TRIAL_SECONDS
    assert runner.budget(EXPERIMENTS["loss-free"], replace(settings, seeds=None)).runs == 8 * 3 + 2 * 2


def test_a_finished_folder_is_measured_and_not_trained_again(settings: runner.Settings) -> None:
    experiment = EXPERIMENTS["normalisation"]
    outcomes(experiment, replace(settings, keep=True))
    settings.results.unlink()

    def refuse(job: Job) -> Finished:
        raise AssertionError(job.run_id)

    again = outcomes(experiment, replace(settings, launch=refuse))
    assert all(outcome.row is not None for outcome in again)


def test_a_training_that_dies_is_tried_again(settings: runner.Settings) -> None:
    started: list[str] = []

    def launch(job: Job) -> Finished:
        started.append(job.run_id)
        return Dead(job) if started.count(job.run_id) == 1 else Finished(job)

    ended = outcomes(EXPERIMENTS["normalisation"], replace(settings, launch=launch))
    assert [outcome.problem for outcome in ended] == ["", ""]
    assert sorted(started) == sorted(2 * list(set(started)))


def test_a_run_that_fails_does_not_stop_the_others(settings: runner.Settings) -> None:
    def launch(job: Job) -> Finished:
        return Dead(job) if "raw" in job.run_id else Finished(job)

    ended = outcomes(EXPERIMENTS["normalisation"], replace(settings, launch=launch))
    assert sorted(outcome.row is None for outcome in ended) == [False, True]
    assert "SIGKILL" in next(outcome.problem for outcome in ended if outcome.row is None)


def test_seeds_of_the_tuning_are_refused(settings: runner.Settings) -> None:
    with pytest.raises(EvidenceError, match="is used for tuning"):
        outcomes(EXPERIMENTS["loss-free"], replace(settings, seeds=1001))


RUNNER = """
import shutil, sys
from pathlib import Path
from explorer.evidence import registry, runner

class Copied:
    # The first training takes no time, and the second one has no end.
    pid, started = 0, []
    def __init__(self, job):
        self.is_first = not Copied.started
        Copied.started.append(job.run_id)
        if self.is_first:
            shutil.copytree(Path(sys.argv[1]) / job.run_id, job.runs / job.run_id)
    def poll(self):
        return 0 if self.is_first else None
    def hang_up(self): ...
    def release(self): ...

settings = runner.Settings(
    scale="tiny", runs=Path(sys.argv[2]), results=Path(sys.argv[3]), seeds=1, at_once=1, launch=Copied
)
for outcome in runner.run_experiment(registry.EXPERIMENTS["normalisation"], settings):
    print(outcome.run.run_id, outcome.problem, flush=True)
"""


def test_a_killed_runner_loses_no_row_and_repeats_none(
    settings: runner.Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = replace(settings, runs=tmp_path / "made", results=tmp_path / "other" / FILE, keep=True)
    outcomes(EXPERIMENTS["normalisation"], made)
    arguments = [str(made.runs), str(settings.runs), str(settings.results)]
    first = subprocess.Popen(
        [sys.executable, "-c", RUNNER, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline().strip().startswith("tiny-")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = read_rows(settings.results)
    assert len(kept) == 1
    options = {"--preset": "tiny", "--seeds": "1", "--runs": settings.runs, "--results": settings.results}
    words = [str(word) for pair in options.items() for word in pair]
    capsys.readouterr()
    assert main(["experiment", "run", "normalisation", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("tiny-")]) == 1
    rows = read_rows(settings.results)
    assert len(rows) == 2
    assert {digest: row.finished_at for digest, row in rows.items() if digest in kept} == {
        digest: row.finished_at for digest, row in kept.items()
    }


def test_printed_commands_train_what_is_missing(settings: runner.Settings) -> None:
    runs = runner.missing(EXPERIMENTS["normalisation"], settings)
    line, slurm = commands(runs, settings.runs)[0], commands(runs, settings.runs, slurm=True)[0]
    words = shlex.split(line)
    assert words[0] == "torchrun"
    config = json.loads(Path(words[words.index("--config") + 1]).read_text())
    assert config == runs[0].config
    assert shlex.split(slurm)[-1] == line
    given = words[words.index("-m") :]
    assert given[:2] == ["-m", "explorer"]
    assert main(given[2:]) == 0
    ended = outcomes(EXPERIMENTS["normalisation"], replace(settings, launch=Dead))
    assert {outcome.run.run_id for outcome in ended if outcome.row} == {words[words.index("--run-id") + 1]}


def test_rows_come_back_as_they_were(settings: runner.Settings) -> None:
    (outcome, *_) = outcomes(EXPERIMENTS["bias-forms"], settings)
    assert outcome.row is not None
    assert read_rows(settings.results) == {outcome.row.digest: replace(outcome.row, series=[])}
    append_row(settings.results, replace(outcome.row, seconds=9.0))
    assert [row.seconds for row in read_rows(settings.results).values()] == [9.0]


@pytest.mark.parametrize("content", [b"", b"not a table", b"PAR1"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(EvidenceError, match=r"is not a table of results .*restore it"):
        read_rows(tmp_path)
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / FILE)
    with pytest.raises(EvidenceError, match="is not a table of results"):
        read_rows(tmp_path)


def test_recorded_runs_are_collected_without_training(settings: runner.Settings, tmp_path: Path) -> None:
    experiments = [EXPERIMENTS["normalisation"], EXPERIMENTS["interference"]]
    config = plan.config_of((), EXPERIMENTS["normalisation"].arm("global_1"), "tiny", 0, "aux_loss:coeff=1")
    more = {"training.sequence_load_interval": 2, "training.gradient_probe_interval": 5}
    train_run(config.with_settings(more), tmp_path / "shipped", run_id="theirs")
    train_run(config.with_setting("training.learning_rate", 1e-3), tmp_path / "shipped", run_id="other")
    collected = list(runner.collect(experiments, settings, tmp_path / "shipped"))
    assert [(outcome.run.arm, outcome.problem) for outcome in collected] == [("global_1", "")]
    rows = read_rows(settings.results)
    (trained,) = outcomes(EXPERIMENTS["normalisation"], settings)
    assert trained.run.arm == "raw_1"
    again = {**settings.__dict__, "results": tmp_path / "again" / FILE}
    made = {o.run.arm: o.row for o in outcomes(EXPERIMENTS["normalisation"], runner.Settings(**again))}
    (row,) = rows.values()
    assert made["global_1"] is not None
    # What else a run records changes nothing of its training.
    assert {k: v for k, v in made["global_1"].metrics.items() if "gradient" not in k} == {
        k: v for k, v in row.metrics.items() if "gradient" not in k
    }
