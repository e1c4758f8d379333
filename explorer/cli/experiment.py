"""`experiment`: list, run and report."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from explorer.cli.compare import jobs_at_once, prepare
from explorer.cli.console import say
from explorer.cli.extras import need_extra
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, TrainingError, one_of
from explorer.evidence import plan, registry, report, runner
from explorer.evidence.experiment import SCALES, Experiment
from explorer.evidence.launch_text import commands
from explorer.evidence.results import FILE, FOLDER, read_rows
from explorer.running.forked_process import ForkedProcess, forking, is_available
from explorer.wording import counted

LAUNCHERS = ("local", "ray", "print")


def experiment_command(options: argparse.Namespace) -> int:
    if options.action == "report":
        return _report(options)
    if options.action == "examine":
        return _examine(options)
    one_of("--preset", options.scale, SCALES)
    if options.action == "collect":
        return _collect(options)
    return _list(options) if options.action == "list" else _run(options)


def _settings(options: argparse.Namespace) -> runner.Settings:
    seeds, jobs = getattr(options, "seeds", None), getattr(options, "jobs", None)
    if seeds is not None and seeds < 1:
        raise ConfigError(
            "--seeds", seeds, "must be at least 1", "leave it out for the number fixed in advance"
        )
    results = options.results or FOLDER / FILE
    if results.suffix != ".parquet":
        raise ConfigError("--results", str(results), "is not a Parquet file", "end its name in .parquet")
    return runner.Settings(
        scale=options.scale,
        runs=getattr(options, "runs", FOLDER),
        results=results,
        seeds=seeds,
        at_once=jobs_at_once(jobs),
        keep=getattr(options, "keep", False),
    )


def _list(options: argparse.Namespace) -> int:
    settings = _settings(options)
    for experiment in registry.EXPERIMENTS.values():
        print(f"{experiment.id:<14} priority {experiment.priority}  {experiment.title}")
        print(f"{'':<14} {runner.budget(experiment, settings)}")
    return 0


def _collect(options: argparse.Namespace) -> int:
    outcomes = list(runner.collect(registry.experiments(["all"]), _settings(options), options.folder))
    for outcome in outcomes:
        print(f"{outcome.run.run_id}: {outcome.problem or 'collected'}")
    print(f"{counted(sum(outcome.row is not None for outcome in outcomes), 'row')} from {options.folder}")
    return 0


def _run(options: argparse.Namespace) -> int:
    one_of("--launcher", options.launcher, LAUNCHERS)
    settings, experiments = _settings(options), registry.experiments(options.experiment)
    for experiment in experiments:
        print(f"{experiment.id}, {settings.scale}: {runner.budget(experiment, settings)}", flush=True)
    if options.dry_run:
        return 0
    if options.launcher == "print":
        for experiment in experiments:
            print("\n".join(commands(runner.missing(experiment, settings), settings.runs, options.slurm)))
        return 0
    is_trained = any(experiment.trial is None for experiment in experiments)
    if is_trained:
        need_extra("train")
        prepare(plan.base_config(settings.scale), settings.runs)
    with _launcher(options, settings, is_trained) as ready:
        failures = [sentence for experiment in experiments for sentence in _make(experiment, ready)]
    if failures:
        raise TrainingError(
            f"{failures[0]} ({counted(len(failures), 'run')} failed; the others have their rows.)"
        )
    return 0


@contextmanager
def _launcher(
    options: argparse.Namespace, settings: runner.Settings, is_trained: bool
) -> Iterator[runner.Settings]:
    """The settings with the function that starts a training run, and as many at once as there is room for."""
    if options.launcher != "ray":
        with _forks(settings) if is_trained and is_available() else nullcontext(settings) as ready:
            yield ready
        return
    need_extra("ray")
    from explorer.running.ray_child import RayProcess, cluster

    with cluster() as cpus:
        yield replace(settings, launch=RayProcess, at_once=options.jobs or cpus)


@contextmanager
def _forks(settings: runner.Settings) -> Iterator[runner.Settings]:
    """Training runs forked from one process that has torch loaded: they all import the same."""
    with forking():
        yield replace(settings, launch=ForkedProcess)


def _make(experiment: Experiment, settings: runner.Settings) -> Iterator[str]:
    """Make the runs, one line per run; yields the reasons of failures."""
    for outcome in runner.run_experiment(experiment, settings):
        if outcome.row is None:
            say(f"explorer experiment: {outcome.problem}")
            yield outcome.problem
            continue
        loss = outcome.row.metrics.get("lm_loss")
        result = "" if loss is None else f", held-out loss {loss:.4f}"
        print(f"{outcome.run.run_id}: {outcome.row.seconds:.1f} s{result}", flush=True)


def _report(options: argparse.Namespace) -> int:
    results = report.evaluate(read_rows(options.results or FOLDER))
    if options.json:
        print(json.dumps([result.to_dict() for result in results], indent=1, allow_nan=False))
        return 0
    for result in results:
        print("\n".join(_lines(result)))
    total = ", ".join(f"{number} {verdict}" for verdict, number in report.counts(results).items())
    print(f"{counted(len(results), 'claim')}: {total}")
    return 0


def _lines(result: report.ClaimResult) -> Iterator[str]:
    """A claim, its verdict, and one line per comparison."""
    interim = " (interim: seeds are missing)" if result.is_interim else ""
    yield f"{result.claim.id:<4} {result.verdict}{interim}: {result.claim.text}"
    if reason := result.claim.not_testable:
        yield f"     {reason}"
    for one in result.results:
        words = f"     {one.comparison.words}: "
        if one.effect is None:
            yield words + "no runs"
            continue
        paper = "" if one.comparison.published is None else f", paper {one.comparison.published:+.4f}"
        yield (
            f"{words}{one.effect.mean:+.4f} ± {one.effect.half_width:.4f} ({one.effect.pairs} pairs, "
            f"{one.scale}{paper}; holds if {one.comparison.region}: {one.verdict})"
        )


def _examine(options: argparse.Namespace) -> int:
    """Train one model and print what its examination measures, as JSON."""
    from explorer.training.examination import examine

    config = RunConfig.from_dict(json.load(sys.stdin))
    print(json.dumps(examine(config, options.what)))
    return 0
