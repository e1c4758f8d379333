"""`compare`: every arm with every seed, two runs at a time, each in its own process."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.cli.extras import need_extra
from explorer.cli.progress import progress_bar
from explorer.cli.report import comparison_table, counted_tokens
from explorer.cli.settings import arm_names, config_from_options, parse_arms
from explorer.config.presets import recorded_preset
from explorer.config.run import RunConfig
from explorer.config.seeds import parse_seeds, with_seed
from explorer.errors import ConfigError, RunFolderError, TrainingError
from explorer.recording import RunFolder, make_run_id
from explorer.running.jobs import Job, is_already_finished
from explorer.running.run_queue import RunQueue
from explorer.wording import counted


def compare_command(options: argparse.Namespace) -> int:
    base = config_from_options(options)
    arms = parse_arms(base, options.arms, options.preset)
    limit = jobs_at_once(options.jobs)
    seeds = parse_seeds("--seeds", options.seeds)
    # The table over seeds comes last, and its missing library would be noticed only then.
    need_extra("train")
    jobs = [_make_job(with_seed(arm, seed), options) for seed in seeds for arm in arms]
    prepare(base, options.runs)
    run_jobs(jobs, options, limit)
    rows = [job_figures(job) for job in jobs]
    print(json.dumps(rows, indent=1) if options.json else comparison_table(rows, base))
    return 0


def _make_job(config: RunConfig, options: argparse.Namespace) -> Job:
    preset = recorded_preset(config, options.preset)
    run_id = make_run_id(options.runs, preset=preset, family=config.arm, seed=config.seed)
    if options.plain_ids:
        run_id = run_id.split(f"-seed{config.seed}-")[0] + f"-seed{config.seed}"
    return Job(config=config, run_id=run_id, runs=options.runs, preset=options.preset)


def prepare(config: RunConfig, runs: Path) -> None:
    """Read the text and train its tokenizer once, so that children do not do it in parallel."""
    from explorer.corpus import load_corpus

    corpus = load_corpus(config.corpus)
    corpus.held_out(
        num_tokens=config.training.final_eval_tokens, sequence_length=config.training.sequence_length
    )
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"--runs = {str(runs)!r}: cannot be made a folder ({error.strerror}); choose another one."
        ) from error


def jobs_at_once(jobs: int | None) -> int:
    """The value of `--jobs`, or one run per core and at most 2."""
    if jobs is None:
        return min(2, os.cpu_count() or 1)
    if jobs < 1:
        raise ConfigError("--jobs", jobs, "must be at least 1", "leave it out or give 1 or 2")
    return jobs


def run_jobs(jobs: Sequence[Job], options: argparse.Namespace, limit: int) -> None:
    """Run the jobs, `limit` at a time. Ctrl-C stops them and leaves readable runs.

    A failed run does not affect the others. Raises TrainingError with its reason once all have ended.
    """
    queued = [job for job in jobs if not (options.plain_ids and is_already_finished(job))]
    total = sum(job.config.training.num_steps for job in queued)
    with (
        progress_bar(total, counted(len(queued), "run"), quiet=options.json) as bar,
        RunQueue(limit) as queue,
    ):

        def show_progress() -> None:
            bar.update(sum(_steps_done(job) for job in queued) - bar.n)

        failures = [job.failure for job in queue.run(queued, show_progress) if job.failure]
    if failures:
        raise TrainingError(_failed(failures, len(jobs)))


def _steps_done(job: Job) -> int:
    return job.steps_done if job.is_open else job.config.training.num_steps


def _failed(failures: Sequence[str], num_runs: int) -> str:
    """The first reason, and the number of failed runs if there are several runs."""
    if num_runs == 1:
        return failures[0]
    return f"{failures[0]} ({len(failures)} of {counted(num_runs, 'run')} failed; the others are recorded.)"


def job_figures(job: Job) -> dict[str, Any]:
    """The `--json` output for a run, read from its folder."""
    folder = RunFolder(job.path)
    status, config = folder.status, job.config
    return {
        "run_id": job.run_id,
        "path": str(job.path.resolve()),
        "balancer": arm_names(config.arm),
        "arm": config.arm,
        "label": config.label,
        "count_scope": config.count_scope,
        "seed": config.seed,
        **status.results,
        **counted_tokens(folder, config.model.top_k),
        "tokens_per_second": status.tokens_per_second,
        "wall_time_s": status.wall_time_s,
    }
