"""Runs that train a model, keep it, and evaluate tasks on it: torch stays in the child processes.

Its metrics are those of every training (`measures.measure`) and what `task_measures` takes from the tasks.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from explorer.config.run import RunConfig
from explorer.evidence.experiment import Arm, Metrics, Times
from explorer.evidence.measures import measure
from explorer.evidence.plan import base_config, config_of
from explorer.evidence.results import EvidenceError
from explorer.recording import RunFolder

Results = Mapping[str, Mapping[str, Any]]
"""Task -> `tasks.TaskResult.to_dict`."""
RUN = "run"


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """A task with its number of problems (for `long_context`: tokens)."""

    name: str
    problems: int
    at_tiny: int = 4

    def at(self, scale: str) -> int:
        """Problems at a scale."""
        return self.at_tiny if scale == "tiny" else self.problems


def trained_and_evaluated(
    settings: Mapping[str, Any],
    seed: int,
    scale: str,
    *,
    tasks: Sequence[TaskPlan],
    measures: Callable[[RunFolder, Results, str], Metrics],
) -> Metrics:
    """A `Trial`: train one model, evaluate the tasks on it, measure. Raises EvidenceError.

    measures: from the run's folder, the results of the tasks and the scale to further metrics.
    """
    config = training_of(settings, seed, scale)
    with TemporaryDirectory(prefix="explorer-evidence-") as place:
        runs, file = Path(place), Path(place) / "config.json"
        file.write_text(json.dumps(config.to_dict()), encoding="utf-8")
        where = ("--runs", str(runs), "--json")
        _child("train", "--config", str(file), "--run-id", RUN, "--keep-model", *where)
        results: dict[str, Mapping[str, Any]] = {}
        for problems in sorted({task.at(scale) for task in tasks}):
            names = [f"--task={task.name}" for task in tasks if task.at(scale) == problems]
            document = _child("evaluate", RUN, *names, "--problems", str(problems), *where)
            results |= {result["task"]: result for result in document["results"]}
        folder = RunFolder(runs / RUN)
        metrics, _ = measure(folder)
        return metrics | measures(folder, results, scale)


def training_of(settings: Mapping[str, Any], seed: int, scale: str) -> RunConfig:
    """The training of a trial: `text` names the rule, `data_share` the share of the steps, `evaluations` how
    many there are, `longer` the factor of the sequence length at as many tokens per step; everything else is
    `section.field`, of which bytes at `tiny` leave out the vocabulary."""
    values = dict(settings)
    text, share = values.pop("text", "none"), values.pop("data_share", 1)
    evaluations = values.pop("evaluations", None)
    if base_config(scale).corpus.tokenizer == "bytes":
        values.pop("corpus.vocab_size", None)
    longer = values.pop("longer", 1)
    if longer != 1:
        values |= {
            "training.sequence_length": Times(longer),
            "training.micro_batch_size": Times(1 / longer),
        }
    if share != 1:
        values |= {"training.num_steps": Times(share), "training.warmup_steps": Times(share)}
    config = config_of(tuple(values.items()), Arm(key="", label=""), scale, seed, text)
    if evaluations is None:
        return config
    return config.with_settings({"training.eval_interval": max(1, config.training.num_steps // evaluations)})


def _child(*arguments: str) -> dict[str, Any]:
    """What `python -m explorer` prints as JSON, with one thread."""
    result = subprocess.run(
        [sys.executable, "-m", "explorer", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise EvidenceError(f"explorer {arguments[0]} failed: {reason}")
    document: dict[str, Any] = json.loads(result.stdout)
    return document
