"""Experiments that evaluate tasks run at `tiny`: train, keep the model, evaluate, measure, one row each."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from explorer.cli import main
from explorer.evidence import plan, runner, trained_tasks
from explorer.evidence.evaluated import ANSWERS, CODE, EVALUATIONS
from explorer.evidence.experiment import Experiment
from explorer.evidence.registry import CLAIMS
from explorer.evidence.results import FILE, EvidenceError, read_rows
from explorer.evidence.trained_tasks import training_of


def in_this_process(*arguments: str) -> dict[str, Any]:
    """The same command line without starting an interpreter."""
    output = io.StringIO()
    with redirect_stdout(output):
        assert main(list(arguments)) == 0
    document: dict[str, Any] = json.loads(output.getvalue())
    return document


@pytest.mark.parametrize("experiment", EVALUATIONS, ids=lambda experiment: experiment.id)
def test_every_experiment_runs_at_tiny(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_tasks, "_child", in_this_process)
    settings = runner.Settings(scale="tiny", runs=tmp_path / "runs", results=tmp_path / FILE, seeds=1)
    ended = list(runner.run_experiment(experiment, settings))
    assert [outcome.problem for outcome in ended if outcome.row is None] == []
    rows = read_rows(settings.results)
    for run in plan.comparison_runs(experiment, "tiny", rows, [0]):
        metrics = rows[run.digest].metrics
        assert metrics["lm_loss"] is not None
        for claim in CLAIMS:
            for one in claim.comparisons:
                if one.experiment == experiment.id and run.arm in one.arms:
                    assert one.metric in metrics
    assert list(runner.run_experiment(experiment, settings)) == []


def test_a_quarter_of_the_data_has_as_many_evaluations() -> None:
    configs = {
        arm.key: training_of(dict(CODE.settings) | dict(arm.settings), 3, "quick").training
        for arm in CODE.arms
    }
    assert (configs["none"].num_steps, configs["none"].eval_interval) == (200, 10)
    assert (configs["none_quarter"].num_steps, configs["none_quarter"].eval_interval) == (50, 2)
    assert configs["none_quarter"].warmup_steps == 5
    assert {config.seed for config in configs.values()} == {3}


def test_longer_sequences_keep_the_tokens_of_a_step() -> None:
    settings = dict(ANSWERS.settings) | dict(ANSWERS.arms[0].settings)
    quick, tiny = (training_of(settings, 0, scale) for scale in ("quick", "tiny"))
    assert (quick.training.sequence_length, quick.training.micro_batch_size) == (256, 4)
    assert (quick.corpus.name, quick.corpus.vocab_size) == ("two_hop", 580)
    assert tiny.corpus.vocab_size == 256
    assert (quick.model.num_experts, quick.model.top_k) == (8, 2)


def test_a_child_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"explorer evaluate failed: .*nothing"):
        trained_tasks._child("evaluate", "nothing", "--runs", str(tmp_path))
