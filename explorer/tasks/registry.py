"""The tasks by name. Heavy modules are loaded by the task that needs them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.errors import one_of
from explorer.tasks.result import TaskResult

if TYPE_CHECKING:
    from explorer.tasks.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: a function from a trained model and a number of problems to a result."""

    name: str
    summary: str
    module: str
    function: str
    problems: int
    """Problems (functions, questions, programs; tokens for `long_context`) unless told otherwise."""

    def __call__(self, trained: "TrainedModel", problems: int | None = None) -> TaskResult:
        run: Callable[..., TaskResult] = getattr(importlib.import_module(self.module), self.function)
        return run(trained, self.problems if problems is None else problems)


TASKS = {
    task.name: task
    for task in (
        Task(
            name="human_eval",
            summary="HumanEval: bits per byte of the canonical solutions",
            module="explorer.tasks.code",
            function="human_eval",
            problems=164,
        ),
        Task(
            name="human_eval_pass",
            summary="HumanEval: pass@1 of greedy completions, executed in the sandbox",
            module="explorer.tasks.programs",
            function="human_eval_pass",
            problems=164,
        ),
        Task(
            name="library",
            summary="held-out standard-library functions: next tokens, line match, parse rate",
            module="explorer.tasks.code",
            function="library",
            problems=100,
        ),
        Task(
            name="fill_in",
            summary="fill-in-the-middle line match on held-out functions (corpus code)",
            module="explorer.tasks.code",
            function="fill_in_lines",
            problems=100,
        ),
        Task(
            name="programs",
            summary="generated programs: pass@k of completions executed in the sandbox (corpus code)",
            module="explorer.tasks.programs",
            function="generated_programs",
            problems=50,
        ),
        Task(
            name="two_hop",
            summary="generated two-hop questions: exact match and F1",
            module="explorer.tasks.questions",
            function="questions",
            problems=200,
        ),
        Task(
            name="selection",
            summary="static top-k, OEA and Lynx over batch sizes: distinct experts, time, KL, loss, answers",
            module="explorer.tasks.batch_experts",
            function="selection",
            problems=64,
        ),
        Task(
            name="specialisation",
            summary="loads by domain, their distance, effective experts and co-activation",
            module="explorer.tasks.specialisation",
            function="specialisation",
            problems=64,
        ),
        Task(
            name="long_context",
            summary="loads, imbalance over its floor and loss at 1 to 8 times the training length",
            module="explorer.tasks.long_context",
            function="long_context",
            problems=32_768,
        ),
    )
}


def get_task(name: str) -> Task:
    """A task by name; an unknown one raises ConfigError that lists the known ones."""
    one_of("--task", name, TASKS)
    return TASKS[name]
