"""`evaluate`: tasks on the kept model of a finished run."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.cli.run_paths import run_paths
from explorer.config.checks import check_int
from explorer.tasks.registry import TASKS, get_task
from explorer.tasks.result import DONE, TaskResult
from explorer.wording import counted

if TYPE_CHECKING:
    from explorer.tasks.trained import TrainedModel

PROMPTS = 16
"""Texts of every domain that `--routes` continues."""


def evaluate_command(options: argparse.Namespace) -> int:
    """Print each task's metrics. A task that cannot be run here says why, and the code stays 0."""
    if options.list:
        print("\n".join(f"{task.name}: {task.summary}" for task in TASKS.values()))
        return 0
    tasks = [get_task(name) for name in options.task or ([] if options.routes else TASKS)]
    if options.problems is not None:
        check_int("--problems", options.problems, least=1)
    (path,) = run_paths([options.run], options.runs)

    from explorer.tasks.trained import load_trained  # torch, which --list does without
    from explorer.training.devices import quiet_cpu

    trained = load_trained(path)
    with quiet_cpu(trained.config.training.num_threads):
        written = _write_routes(trained, options)
        results = [task(trained, options.problems) for task in tasks]
    if options.json:
        document = {"run_id": trained.name, "results": [result.to_dict() for result in results]}
        print(json.dumps({**document, **({"routes": options.routes} if written else {})}, allow_nan=False))
    else:
        if written:
            print(written)
        for result in results:
            print("\n".join(lines(result)))
    return 0


def _write_routes(trained: "TrainedModel", options: argparse.Namespace) -> str:
    """Write the file that --routes names; a sentence that says how to import it, "" without the option."""
    if not options.routes:
        return ""
    from explorer.tasks.served_routes import write_responses

    number = write_responses(trained, Path(options.routes), options.problems or PROMPTS)
    dense = trained.config.model.num_dense_layers
    offset = f" --option layer_offset={dense}" if dense else ""
    return (
        f"{options.routes}: {counted(number, 'response')}; import it with python -m explorer import "
        f"{options.routes} --option num_experts={trained.config.model.num_experts} --option split=phases"
        f"{offset} --option tokens_per_step=512 --option warm_up=keep"
    )


def lines(result: TaskResult) -> list[str]:
    """The metrics of a task, then its rows."""
    if result.status != DONE:
        return [f"{result.task}: {result.status}. {result.reason}"]
    metrics = [f"  {name} {_number(value)}" for name, value in result.metrics.items()]
    rows = [
        # Lists of counts are for --json.
        "  "
        + ", ".join(f"{name} {_number(value)}" for name, value in row.items() if not isinstance(value, list))
        for row in result.rows
    ]
    return [f"{result.task}:", *metrics, *rows]


def _number(value: object) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
