"""`evaluate` on the command line, and the registry behind it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from sentences import pattern
from small_corpus import use_small_corpus

from explorer.cli import main
from explorer.cli.evaluate import lines
from explorer.config.presets import tiny
from explorer.running.child_process import train_arguments
from explorer.running.into_folder import train_run
from explorer.running.jobs import Job
from explorer.tasks.registry import TASKS, Task
from explorer.tasks.result import TaskResult, not_run, ratio


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_small_corpus(monkeypatch)
    config = tiny().with_settings({"training.num_steps": 2, "training.warmup_steps": 1})
    train_run(config, tmp_path / "runs", run_id="kept", keep_model=True)
    return tmp_path / "runs"


def test_tasks_of_a_kept_model_as_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that need another corpus the status says so; the code is 0."""
    names = ["two_hop", "library", "fill_in", "programs", "long_context"]
    tasks = [part for name in names for part in ("--task", name)]
    code = main(["evaluate", "kept", "--runs", str(runs), "--problems", "2", "--json", *tasks])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["run_id"]) == (0, "kept")
    results = {result["task"]: result for result in document["results"]}
    assert list(results) == names
    assert [results[name]["status"] for name in names] == ["done", "done", "not run", "not run", "done"]
    assert results["two_hop"]["counts"]["two_hop_questions"] == 2
    assert results["fill_in"]["metrics"] == {}


def test_a_task_in_words(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs / "kept"), "--task", "two_hop", "--problems", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("two_hop:\n")
    assert "two_hop_exact_match 0\n" in printed


def test_train_keeps_the_model_on_request(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "training.num_steps=2", "--set", "training.warmup_steps=1"]
    for name, more in (("with", ["--keep-model"]), ("without", [])):
        train = ["train", "--preset", "tiny", "--runs", str(runs), "--run-id", name, *settings, *more]
        assert main(train) == 0
        assert (runs / name / "model.pt").exists() == bool(more)


def test_the_list_names_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == list(TASKS)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_has_its_function(task: Task) -> None:
    module = __import__(task.module, fromlist=[task.function])
    assert callable(getattr(module, task.function))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["kept", "--task", "poetry"], pattern("tasks.unknown_task")),
        (["kept", "--problems", "0"], pattern("errors.whole_number_of_at_least")),
        (["elsewhere"], pattern("tasks.no_run")),
        ([], pattern("tasks.no_run")),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], expected: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "--runs", str(runs)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(expected, error)


def test_results_in_words() -> None:
    result = TaskResult(task="t", metrics={"a": 0.25, "b": None}, rows=[{"k": 1, "counts": [1, 2]}])
    assert lines(result) == ["t:", "  a 0.25", "  b not measured", "  k 1"]
    assert lines(not_run("t", "No sandbox here.")) == ["t: not run. No sandbox here."]
    assert (ratio(1, 4), ratio(0, 0)) == (0.25, None)


def test_a_queued_job_may_keep_its_model(tmp_path: Path) -> None:
    job = Job(config=tiny(), run_id="a", runs=tmp_path)
    assert "--keep-model" not in train_arguments(job, tmp_path / "config.json")
    for one in (replace(job, keep_model=True), replace(job, keep_model=True, resume=True)):
        assert "--keep-model" in train_arguments(one, tmp_path / "config.json")
