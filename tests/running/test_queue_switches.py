"""Telling a training run to change its rule: the caller never waits, and a dead run is not its error."""

import json
import os
import signal
from pathlib import Path

import pytest
import trainers
from forked import launched, needs_fork_server
from sentences import pattern, sentence
from waiting import wait_for

from explorer.config.presets import get_preset
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, TrainingError
from explorer.recording.info import read_info
from explorer.running.jobs import Job
from explorer.running.run_queue import RunQueue


def commands(runs: Path) -> list[dict]:
    """What the stand-in of run a was told."""
    return json.loads((runs / "a.commands").read_text(encoding="utf-8"))


def ask_often(queue: RunQueue) -> None:
    for _ in range(100_000):
        queue.switch_rules("a", "loss_free")


def test_a_training_hears_the_rule_as_typed_and_its_answer_is_kept(queue: RunQueue, runs: Path) -> None:
    queue.add([trainers.job(runs, "a"), trainers.job(runs, "b")])
    queue.switch_rules("a", "loss_free:u=0.01")
    queue.switch_rules("a", "none")
    wait_for(lambda: len(queue.answers("a")) == 2)
    assert queue.answers("a") == [
        sentence("control.switch_accepted_short", rules="'loss_free:u=0.01'", step=7),
        sentence("control.switch_accepted_short", rules="'none'", step=7),
    ]
    sent_commands = commands(runs)
    assert sent_commands == [
        {"command": "switch", "rules": "loss_free:u=0.01"},
        {"command": "switch", "rules": "none"},
    ]
    assert queue.answers("b") == queue.answers("nobody") == []
    assert queue.jobs()[0].sent_rules == ["loss_free:u=0.01", "none"]


@pytest.mark.parametrize(
    ("arm", "text", "field"),
    [
        ("none", "loss_fre", "balancer"),
        ("none", "loss_free:speed=1", "loss_free.speed"),
        ("none", "aux_loss:coeff=-1", "aux_loss.coeff"),
        ("expert_choice", "loss_free", "balancer"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_before_it_is_sent(
    queue: RunQueue, runs: Path, arm: str, text: str, field: str
) -> None:
    queue.add([trainers.job(runs, "a", arm)])
    with pytest.raises(ConfigError) as refused:
        queue.switch_rules("a", text)
    assert refused.value.field == field
    assert queue.jobs()[0].sent_rules == []
    assert not (runs / "a.commands").exists()


def test_only_a_run_that_trains_can_be_told(queue: RunQueue, runs: Path) -> None:
    queue.add([trainers.job(runs, "a"), trainers.job(runs, "b"), trainers.job(runs, "c")])
    with pytest.raises(TrainingError, match=pattern("jobs.waiting", run="c")):
        queue.switch_rules("c", "loss_free")
    queue.stop_job("a")
    with pytest.raises(TrainingError, match=r"a is (stopping|ended)"):
        queue.switch_rules("a", "loss_free")
    wait_for(lambda: queue.jobs()[0].state == "ended")
    with pytest.raises(TrainingError, match=pattern("jobs.ended", run="a")):
        queue.switch_rules("a", "loss_free")
    with pytest.raises(TrainingError, match=pattern("jobs.not_of_this_server")):
        queue.switch_rules("z", "loss_free")


def test_a_training_that_does_not_listen_holds_nobody_up_and_can_still_be_stopped(
    queue: RunQueue,
    runs: Path,
) -> None:
    """The pipe of a sleeping process fills up: the next command is refused at once, a stop closes it."""
    queue.add([trainers.job(runs, "a")])
    wait_for((runs / "a.json").exists)
    child = queue.jobs()[0].child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(TrainingError, match=pattern("jobs.try_again")):
        ask_often(queue)
    sent = len(queue.jobs()[0].sent_rules)
    assert sent > 100
    queue.stop_job("a")
    os.kill(child.pid, signal.SIGCONT)
    wait_for(lambda: queue.jobs()[0].state == "ended")
    sent_commands = commands(runs)
    assert len(sent_commands) == sent, "every command arrived whole"


def test_a_training_that_has_just_died_is_refused_in_a_sentence(queue: RunQueue, runs: Path) -> None:
    queue.add([trainers.job(runs, "a")])
    wait_for((runs / "a.json").exists)
    child = queue.jobs()[0].child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(TrainingError):
        ask_often(queue)


@needs_fork_server
def test_a_real_training_switches_and_its_record_says_so(runs: Path) -> None:
    config = get_preset("tiny").with_setting("training.num_steps", 100_000)
    queue = RunQueue(1, launch=launched)
    queue.add([Job(run_id="run", config=config, runs=runs, preset="tiny")])
    try:
        wait_for((runs / "run").exists)
        queue.switch_rules("run", "loss_free")
        wait_for(lambda: queue.answers("run"))
        recorded = RunConfig.from_dict(read_info(runs / "run").config).balancer
        (change,) = recorded.schedule
        assert change.rules == queue.jobs()[0].rules_of("loss_free")
        assert sentence("jobs.from_step", step=change.step) in queue.answers("run")[0]
    finally:
        queue.close()
    assert queue.jobs()[0].state == "ended"
