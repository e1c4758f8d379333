"""`train`: one run."""

import argparse
import json
from dataclasses import replace
from typing import Any

from explorer.cli.control import Control
from explorer.cli.live_health import HealthLines
from explorer.cli.progress import progress_bar
from explorer.cli.settings import arm_names, config_from_options
from explorer.config.presets import RULE_DEFAULTS, arm_config, recorded_preset
from explorer.config.run import RunConfig
from explorer.config.seeds import parse_seed, with_seed
from explorer.recording import RunFolder
from explorer.running.into_folder import TrainedRun, resume_run, train_run
from explorer.training.ranks import is_first_process
from explorer.wording import counted


def train_command(options: argparse.Namespace) -> int:
    config = None if options.resume else _config(options)
    is_first = is_first_process()
    control = Control(options.control_stdin and is_first)
    preset = RunFolder(options.resume).info.preset if options.resume else options.preset
    control.defaults = RULE_DEFAULTS.get(preset or "")
    steps = config.training.num_steps if config else 0
    with progress_bar(steps, "training", quiet=options.json or not is_first) as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        # A program that controls the training reads other lines on standard error.
        on_loads = None if options.control_stdin or not is_first else HealthLines()
        if config is None:
            run = resume_run(
                options.resume,
                should_stop=control,
                on_step=on_step,
                switches=control,
                on_loads=on_loads,
                keep_model=options.keep_model,
            )
        else:
            run = train_run(
                config,
                options.runs,
                run_id=options.run_id,
                name=options.run_name or "",
                preset=recorded_preset(config, options.preset),
                should_stop=control,
                on_step=on_step,
                switches=control,
                on_loads=on_loads,
                keep_model=options.keep_model,
            )
    if is_first:
        print(json.dumps(run_figures(run)) if options.json else _in_words(run))
    return 0


def _config(options: argparse.Namespace) -> RunConfig:
    config = config_from_options(options)
    if options.seed is not None:
        config = with_seed(config, parse_seed("--seed", options.seed))
    set_by_setting = any(setting.startswith("balancer") for setting in options.settings)
    if options.balancer or not (options.config or set_by_setting):
        default = "loss_free" if config.model.routing == "token_choice" else "none"
        arm = arm_config(config, options.balancer or default, options.preset)
        # Keep a schedule set by --set.
        if set_by_setting:
            balancer = replace(arm.balancer, schedule=config.balancer.schedule)
            arm = replace(arm, balancer=balancer)
        config = arm
    return config


def run_figures(run: TrainedRun) -> dict[str, Any]:
    """The `--json` output for a run."""
    config = run.config
    return {
        "run_id": run.run_id,
        "path": str(run.path),
        "state": run.result.state,
        "balancer": arm_names(config.arm),
        "arm": config.arm,
        "count_scope": config.count_scope,
        "seed": config.seed,
        "steps": run.result.last_step,
        **run.result.figures,
        "tokens_per_second": run.result.tokens_per_second,
        "wall_time_s": run.result.wall_time_s,
    }


def _in_words(run: TrainedRun) -> str:
    figures = run.result.figures
    lines = [f"{run.run_id}: {run.result.state} after {counted(run.result.last_step, 'step')}, in {run.path}"]
    if figures:
        parts = [f"perplexity {figures['perplexity']:.2f}"]
        if figures["max_vio_global"] is not None:
            parts += [
                f"MaxVio batch {figures['max_vio_batch']:.3f}",
                f"global {figures['max_vio_global']:.3f} (worst layer {figures['worst_layer']}: "
                f"{figures['worst_max_vio']:.3f})",
            ]
        lines.append(", ".join([*parts, f"{run.result.tokens_per_second:,.0f} tokens/s"]))
    return "\n".join(lines)
