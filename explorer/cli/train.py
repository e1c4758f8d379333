"""`train`: one run."""

import argparse
import json
from dataclasses import replace
from typing import Any

from explorer.cli.progress import progress_bar
from explorer.cli.settings import config_from_options, rule_names, with_arm
from explorer.cli.stopping import StopSignal
from explorer.config import RunConfig
from explorer.presets import preset_balancer
from explorer.running import TrainedRun, resume_run, train_run
from explorer.training.ranks import is_first_process


def train_command(options: argparse.Namespace) -> int:
    config = None if options.resume else _config(options)
    speaks = is_first_process()
    stop = StopSignal(options.control_stdin and speaks)
    steps = config.training.num_steps if config else 0
    with progress_bar(steps, "training", quiet=options.json or not speaks) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if config is None:
            run = resume_run(options.resume, should_stop=stop, on_step=on_step)
        else:
            run = train_run(
                config,
                options.runs,
                run_id=options.run_id,
                name=options.run_name or "",
                preset=options.preset,
                should_stop=stop,
                on_step=on_step,
            )
    if speaks:
        print(json.dumps(run_figures(run)) if options.json else _in_words(run))
    return 0


def _config(options: argparse.Namespace) -> RunConfig:
    config = config_from_options(options)
    if options.seed is not None:
        config = with_arm(config, config.balancer, options.seed)
    set_by_setting = any(setting.startswith("balancer") for setting in options.settings)
    if options.balancer or not (options.config or set_by_setting):
        balancer = preset_balancer(options.preset, options.balancer or "loss_free")
        # A schedule given by --set stays.
        if set_by_setting:
            balancer = replace(balancer, schedule=config.balancer.schedule)
        config = replace(config, balancer=balancer)
    return config


def run_figures(run: TrainedRun) -> dict[str, Any]:
    """What `--json` prints of a run."""
    balancer = run.config.balancer
    return {
        "run_id": run.run_id,
        "path": str(run.path),
        "state": run.result.state,
        "balancer": rule_names(balancer),
        "arm": str(balancer),
        "count_scope": balancer.count_scope,
        "seed": run.config.seed,
        "steps": run.result.last_step,
        **run.result.figures,
        "tokens_per_second": run.result.tokens_per_second,
        "wall_time_s": run.result.wall_time_s,
    }


def _in_words(run: TrainedRun) -> str:
    figures = run.result.figures
    lines = [f"{run.run_id}: {run.result.state} after {run.result.last_step} steps, in {run.path}"]
    if figures:
        lines.append(
            f"perplexity {figures['perplexity']:.2f}, MaxVio batch {figures['max_vio_batch']:.3f}, "
            f"global {figures['max_vio_global']:.3f} (worst layer {figures['worst_layer']}: "
            f"{figures['worst_max_vio']:.3f}), {run.result.tokens_per_second:,.0f} tokens/s"
        )
    return "\n".join(lines)
