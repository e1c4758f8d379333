"""`evaluate`: tasks on the kept model of a finished run."""

import argparse
import json

from explorer.cli.run_paths import run_paths
from explorer.config.checks import check_int
from explorer.tasks.registry import TASKS, get_task
from explorer.tasks.result import DONE, TaskResult


def evaluate_command(options: argparse.Namespace) -> int:
    """Print each task's metrics. A task that cannot be run here says why, and the code stays 0."""
    if options.list:
        print("\n".join(f"{task.name}: {task.summary}" for task in TASKS.values()))
        return 0
    tasks = [get_task(name) for name in options.task or TASKS]
    if options.problems is not None:
        check_int("--problems", options.problems, least=1)
    (path,) = run_paths([options.run], options.runs)

    from explorer.tasks.trained import load_trained  # torch, which --list does without
    from explorer.training.devices import quiet_cpu

    trained = load_trained(path)
    with quiet_cpu(trained.config.training.num_threads):
        results = [task(trained, options.problems) for task in tasks]
    if options.json:
        document = {"run_id": trained.name, "results": [result.to_dict() for result in results]}
        print(json.dumps(document, allow_nan=False))
    else:
        for result in results:
            print("\n".join(lines(result)))
    return 0


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
