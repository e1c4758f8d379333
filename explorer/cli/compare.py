"""`compare`: every arm with every seed, two runs at a time, each in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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
from explorer.last_words import reason
from explorer.recording import RunFolder, make_run_id, read_json
from explorer.wording import counted

POLL_S = 0.1


@dataclass
class Job:
    """One run of the comparison."""

    config: RunConfig
    run_id: str
    path: Path
    process: "subprocess.Popen[bytes] | None" = None
    errors: Path | None = None
    """The file of its standard error."""
    returncode: int | None = None

    @property
    def steps_done(self) -> int:
        try:
            return int(read_json(self.path / "status.json").get("last_step", -1)) + 1
        except RunFolderError:
            return 0


def compare_command(options: argparse.Namespace) -> int:
    base = config_from_options(options)
    arms = parse_arms(base, options.arms, options.preset)
    limit = jobs_at_once(options.jobs)
    seeds = parse_seeds("--seeds", options.seeds)
    # The table of several seeds is made last, and its library would only be missed then.
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
    return Job(config, run_id, options.runs / run_id)


def prepare(config: RunConfig, runs: Path) -> None:
    """Read the text and train its tokenizer once, before two children would do it at the same time."""
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


def jobs_at_once(given: int | None) -> int:
    """What `--jobs` says, or one run per core and at most 2."""
    if given is None:
        return min(2, os.cpu_count() or 1)
    if given < 1:
        raise ConfigError("--jobs", given, "must be at least 1", "leave it out or give 1 or 2")
    return given


def run_jobs(jobs: list[Job], options: argparse.Namespace, limit: int) -> None:
    """Run the jobs, `limit` at a time; a failure or Ctrl-C stops the others, which stay readable."""
    waiting = [job for job in jobs if not (options.plain_ids and _is_finished(job))]
    total = sum(job.config.training.num_steps for job in waiting)
    running: list[Job] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar(total, counted(len(waiting), "run"), quiet=options.json) as bar,
    ):
        done = 0
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    running.append(_start(waiting.pop(0), options, Path(folder)))
                time.sleep(POLL_S)
                for job in [job for job in running if job.process and job.process.poll() is not None]:
                    running.remove(job)
                    _check(job)
                    done += job.config.training.num_steps
                bar.update(done + sum(job.steps_done for job in running) - bar.n)
        finally:
            _stop(running)


def _is_finished(job: Job) -> bool:
    if not job.path.exists():
        return False
    folder = RunFolder(job.path)
    if folder.status.state != "finished":
        raise RunFolderError(
            f"{job.run_id}: exists and is {folder.status.state}; resume it with train --resume, or delete it."
        )
    if folder.info.config_digest != job.config.digest:
        raise RunFolderError(
            f"{job.run_id}: exists with another configuration; delete it or choose another --runs folder."
        )
    return True


def _start(job: Job, options: argparse.Namespace, folder: Path) -> Job:
    file = folder / f"{job.run_id}.json"
    job.errors = folder / f"{job.run_id}.err"
    file.write_text(json.dumps(job.config.to_dict()), encoding="utf-8")
    command = [sys.executable, "-m", "explorer", "train", "--json", "--control-stdin"]
    command += ["--config", str(file), "--run-id", job.run_id]
    command += ["--preset", options.preset, "--runs", str(options.runs)]
    with job.errors.open("wb") as errors:
        job.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # Ctrl-C reaches the parent alone, which then closes the pipes.
            start_new_session=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(job.config.training.num_threads),
                # What it says on standard error is read below.
                "PYTHONIOENCODING": "utf-8",
            },
        )
    return job


def _check(job: Job) -> None:
    assert job.process is not None
    assert job.process.stdin is not None
    job.process.stdin.close()
    if job.process.returncode == 0 and RunFolder(job.path).status.state == "finished":
        return
    said = job.errors.read_text("utf-8", "replace") if job.errors else ""
    raise TrainingError(f"{job.run_id}: {reason(said, job.process.returncode)}")


def _stop(running: list[Job]) -> None:
    """Close the pipes, which asks the children to stop, and wait for them to write what they have."""
    for job in running:
        if job.process and job.process.stdin:
            job.process.stdin.close()
    for job in running:
        if job.process:
            try:
                job.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                job.process.kill()


def job_figures(job: Job) -> dict[str, Any]:
    """What `--json` prints of a run, read back from its folder."""
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
