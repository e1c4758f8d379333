"""Telling a training of the app to change its rule: the page never waits and never breaks."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sentences import pattern, sentence
from waiting import wait_for

from explorer.config.limits import GB, Limits, memory_of
from explorer.config.presets import arm_config, get_preset
from explorer.config.run import RunConfig
from explorer.errors import ConfigError, TrainingError
from explorer.recording.info import read_info
from explorer.ui.server.jobs import Job, JobManager

# It writes down what it hears and answers as a trainer does, between other words.
TRAINER = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--runs") + 1])
name = sys.argv[sys.argv.index("--run-id") + 1]
(folder / (name + ".up")).touch()
print("a warning of somebody else", file=sys.stderr, flush=True)
heard = []
for line in sys.stdin:
    heard.append(json.loads(line))
    (folder / (name + ".json")).write_text(json.dumps(heard))
    if heard[-1]["command"] == "stop":
        break
    print("control: switch to %r: from step 7 on." % heard[-1]["rules"], file=sys.stderr, flush=True)
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[JobManager]:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    (tmp_path / "runs").mkdir()
    made = JobManager(tmp_path / "runs", command=[sys.executable, str(script)])
    yield made
    made.stop()


def job(run_id: str, arm: str = "none", preset: str = "tiny") -> Job:
    return Job(run_id=run_id, config=arm_config(get_preset("tiny"), arm), preset=preset)


def ask_often(manager: JobManager) -> None:
    for _ in range(100_000):
        manager.switch_rule("a", "loss_free")


def test_a_training_hears_the_rule_as_typed_and_its_answer_is_kept(manager: JobManager) -> None:
    manager.add([job("a"), job("b")])
    manager.switch_rule("a", "loss_free:u=0.01")
    manager.switch_rule("a", "none")
    wait_for(lambda: len(manager.answers("a")) == 2)
    assert manager.answers("a") == [
        sentence("control.switch_accepted_short", rules="'loss_free:u=0.01'", step=7),
        sentence("control.switch_accepted_short", rules="'none'", step=7),
    ]
    heard = json.loads((manager.runs_dir / "a.json").read_text(encoding="utf-8"))
    assert heard == [
        {"command": "switch", "rules": "loss_free:u=0.01"},
        {"command": "switch", "rules": "none"},
    ]
    assert manager.answers("b") == manager.answers("nobody") == []
    assert manager.jobs()[0].asked == ["loss_free:u=0.01", "none"]


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
    manager: JobManager, arm: str, text: str, field: str
) -> None:
    manager.add([job("a", arm)])
    with pytest.raises(ConfigError) as refused:
        manager.switch_rule("a", text)
    assert refused.value.field == field
    assert manager.jobs()[0].asked == []
    assert not (manager.runs_dir / "a.json").exists()


def test_a_switch_goes_by_the_limits_of_the_host(manager: JobManager) -> None:
    """A rule may keep distributions of its own, so that the run takes more than when it was started."""
    small, large = "mqb:num_bins=64", "mqb:num_bins=1000000"
    one = job("a")
    limit = memory_of(one.under(one.rules_of(small)))
    manager.limits = Limits(memory_gb=limit / GB)
    manager.add([one])
    with pytest.raises(ConfigError, match=pattern("control.most_on_this_machine")):
        manager.switch_rule("a", large)
    assert one.asked == []
    manager.switch_rule("a", small)
    assert one.asked == [small]


def test_only_a_run_that_trains_can_be_told(manager: JobManager) -> None:
    manager.add([job("a"), job("b"), job("c")])
    with pytest.raises(TrainingError, match=pattern("jobs.waiting", run="c")):
        manager.switch_rule("c", "loss_free")
    manager.stop_job("a")
    with pytest.raises(TrainingError, match=r"a is (stopping|ended)"):
        manager.switch_rule("a", "loss_free")
    wait_for(lambda: manager.jobs()[0].state == "ended")
    with pytest.raises(TrainingError, match=pattern("jobs.ended", run="a")):
        manager.switch_rule("a", "loss_free")
    with pytest.raises(TrainingError, match=pattern("jobs.not_of_this_server")):
        manager.switch_rule("z", "loss_free")


def test_a_training_that_does_not_listen_holds_nobody_up_and_can_still_be_stopped(
    manager: JobManager,
) -> None:
    """The pipe of a sleeping process fills up: the next command is refused at once, a stop closes it."""
    manager.add([job("a")])
    wait_for((manager.runs_dir / "a.up").exists)
    process = manager.jobs()[0].process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(TrainingError, match=pattern("jobs.try_again")):
        ask_often(manager)
    sent = len(manager.jobs()[0].asked)
    assert sent > 100
    manager.stop_job("a")
    os.kill(process.pid, signal.SIGCONT)
    wait_for(lambda: manager.jobs()[0].state == "ended")
    heard = json.loads((manager.runs_dir / "a.json").read_text(encoding="utf-8"))
    assert len(heard) == sent, "every command arrived whole"


def test_a_training_that_has_just_died_is_no_error_of_the_page(manager: JobManager) -> None:
    manager.add([job("a")])
    wait_for((manager.runs_dir / "a.up").exists)
    process = manager.jobs()[0].process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(TrainingError):
        ask_often(manager)


def test_a_real_training_switches_and_its_record_says_so(tmp_path: Path) -> None:
    config = get_preset("tiny").with_setting("training.num_steps", 100_000)
    manager = JobManager(tmp_path / "runs")
    manager.add([Job(run_id="run", config=config, preset="tiny")])
    try:
        wait_for((tmp_path / "runs" / "run").exists)
        manager.switch_rule("run", "loss_free")
        wait_for(lambda: manager.answers("run"))
        recorded = RunConfig.from_dict(read_info(tmp_path / "runs" / "run").config).balancer
        (change,) = recorded.schedule
        assert change.rules == manager.jobs()[0].rules_of("loss_free")
        assert sentence("jobs.from_step", step=change.step) in manager.answers("run")[0]
    finally:
        manager.stop()
    assert manager.jobs()[0].state == "ended"
